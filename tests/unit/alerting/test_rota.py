"""Who is on duty: shifts, hand-over, substitutions, gaps; and the windows all tables share."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from alerting.dispatch.rota import OnDuty, Rota, Shift, Unit
from alerting.dispatch.windows import ALWAYS, Calendar, parse_window
from domain.clock import to_us

UNIT = "town:441900003:housing"
DESK = Unit(UNIT, "住建局", desk="住建值班室", contact="110")
CALENDAR = Calendar(odd_days={date(2026, 10, 1): False, date(2026, 10, 10): True})


def us(text: str) -> int:
    return to_us(datetime.fromisoformat(f"{text}+08:00"))


def shift(person: str, days: str = "", hours: str = "", instead_of: str = "", **validity: int) -> Shift:
    return Shift(UNIT, person, "", instead_of, parse_window(days, hours), **validity)


def names(found: OnDuty) -> list[str]:
    return [person.name for person in found.people]


ROTA = Rota.build(
    [DESK],
    [shift("李", "1-5", "08:00-20:00"), shift("王", "1-5", "20:00-08:00"), shift("陈", "6,7")],
    CALENDAR,
)


@pytest.mark.parametrize(
    ("at", "who", "until", "then"),
    [
        ("2026-11-23T07:59", "住建值班室", "2026-11-23T08:00", "李"),  # Monday; nobody works Sunday night
        ("2026-11-23T08:00", "李", "2026-11-23T20:00", "王"),
        ("2026-11-24T03:00", "王", "2026-11-24T08:00", "李"),
        ("2026-11-28T09:00", "陈", "2026-11-30T00:00", "住建值班室"),
    ],
)
def test_hand_over(at: str, who: str, until: str, then: str) -> None:
    found = ROTA.on_duty(UNIT, us(at))
    assert names(found) == [who]
    assert found.until_us == us(until)
    assert [person.name for person in found.then] == [then]
    assert found.desk == (who == "住建值班室")


def test_friday_night_ends_on_saturday_morning_beside_the_weekends_man() -> None:
    found = ROTA.on_duty(UNIT, us("2026-11-28T03:00"))
    assert names(found) == ["王", "陈"]
    assert found.until_us == us("2026-11-28T08:00")


def test_a_substitution_holds_while_it_is_valid() -> None:
    away = shift("赵", instead_of="李", valid_from_us=us("2026-11-24T00:00"), valid_to_us=us("2026-11-25T12:00"))
    rota = Rota.build([DESK], [shift("李", "1-5", "08:00-20:00"), away], CALENDAR)
    assert names(rota.on_duty(UNIT, us("2026-11-23T10:00"))) == ["李"]
    tuesday = rota.on_duty(UNIT, us("2026-11-24T10:00"))
    assert names(tuesday) == ["赵"]
    assert "instead of 李" in tuesday.why
    wednesday = rota.on_duty(UNIT, us("2026-11-25T10:00"))
    assert (names(wednesday), wednesday.until_us) == (["赵"], us("2026-11-25T12:00"))
    assert [person.name for person in wednesday.then] == ["李"]
    assert rota.on_duty(UNIT, us("2026-11-24T22:00")).desk, "who stands in for nobody on shift is not on duty"


def test_a_unit_without_rota_or_row_has_a_desk() -> None:
    unknown = Rota().on_duty("city:441900:desk", 0)
    assert unknown.desk
    assert unknown.people
    assert unknown.until_us is None
    plain = Rota.build([Unit(UNIT, "住建局")], []).on_duty(UNIT, 0)
    assert names(plain) == ["住建局值班台"]
    answer = ROTA.on_duty(UNIT, us("2026-11-23T08:00")).as_json()
    assert answer["until"] == "2026-11-23T12:00:00.000000Z"
    assert answer["people"] == [{"name": "李", "contact": ""}]


@pytest.mark.parametrize(
    ("days", "hours", "at", "holds"),
    [
        ("workday", "", "2026-10-01T10:00", False),  # Thursday, National Day
        ("workday", "", "2026-10-10T10:00", True),  # a Saturday that is worked
        ("节假日", "", "2026-10-01T10:00", True),
        ("workday", "18:00-08:30", "2026-10-02T03:00", False),  # begun on the holiday
        ("workday", "18:00-08:30", "2026-10-01T03:00", True),  # begun on Wednesday
        ("5", "22:00-24:00", "2026-11-27T23:59", True),
        ("1-3,7", "", "2026-11-26T12:00", False),
        ("", "00:00-12:00", "2026-11-26T12:00", False),
    ],
)
def test_windows(days: str, hours: str, at: str, holds: bool) -> None:
    assert parse_window(days, hours).holds(CALENDAR.moment(us(at))) == holds


@pytest.mark.parametrize(
    ("days", "hours"),
    [("0", ""), ("8", ""), ("5-1", ""), ("monday", ""), ("", "8-18"), ("", "08:00-08:00"), ("", "08:00-24:30"),
     ("", "25:00-26:00")],
)  # fmt: skip
def test_windows_that_cannot_be_read_say_how_to_write_them(days: str, hours: str) -> None:
    with pytest.raises(ValueError, match=r"write|must differ|backwards"):
        parse_window(days, hours)


def test_no_words_is_always() -> None:
    assert parse_window("", "") is ALWAYS
    assert parse_window("", "18:00-08:30").minutes < ALWAYS.minutes
