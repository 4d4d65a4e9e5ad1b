"""Who is not heard any more, by the time of those who are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.detectors.silence import TICK_US, Silence
from domain.alerts import Detection
from domain.devices import Device
from domain.readings import Block, DeviceStatus
from tests.unit.alerting.blocks import T0, S, block, default_rule, readings

DeviceOf = Callable[[int], Device | None]
GATEWAY = 100


def city(**more: Device) -> DeviceOf:
    known = {int(key[1:]): device for key, device in more.items()}
    return lambda key: known.get(key, Device(key, f"D-{key}", "sensor"))


def silence(device: DeviceOf | None = None, **given: object) -> Silence:
    return Silence(default_rule("device.silent", **given), device or city())


def messages(heard: Iterable[tuple[int, float]]) -> Block:
    """(device, second) of arrivals."""
    rows = sorted(heard, key=lambda row: row[1])
    return block(readings([(device, 1, T0 + round(at * S), 1.0) for device, at in rows]))


def regular(device: int, every_s: float, until_s: float, start_s: float = 0.0) -> list[tuple[int, float]]:
    return [(device, start_s + i * every_s) for i in range(int((until_s - start_s) / every_s) + 1)]


def told(found: Sequence[Detection]) -> list[tuple[str, int, float]]:
    return sorted(((d.phase, d.device, (d.at_us - T0) / S) for d in found), key=lambda row: (row[2], row))


def test_three_periods_of_silence_are_told_and_the_return_too() -> None:
    back = regular(2, 120, 9000, 6000)
    heard = [*regular(1, 60, 9000), *regular(2, 120, 3600), *back]
    found = silence().detect(messages(heard), {})
    assert told(found) == [("onset", 2, 3600 + 360), ("clear", 2, 6000)]
    assert found[0].features["period_from"] == "itself"
    assert found[0].severity == 4


def test_the_registrys_period_counts_before_the_devices_own() -> None:
    device = city(d2=Device(2, "D-2", "sensor", period_s=600))
    heard = [*regular(1, 60, 9000), (2, 0), (2, 10)]
    assert told(silence(device).detect(messages(heard), {})) == [("onset", 2, 10 + 1800)]


def test_a_device_of_unknown_habits_and_a_disabled_one_are_not_told() -> None:
    device = city(d2=Device(2, "D-2", "sensor"), d3=Device(3, "D-3", "sensor", disabled=True))
    heard = [*regular(1, 60, 9000), (2, 0), (2, 60), *regular(3, 60, 3000)]
    assert silence(device).detect(messages(heard), {}) == []


def test_when_nobody_is_heard_we_were_deaf_and_nobody_was_silent() -> None:
    heard = [p for d in (1, 2, 3) for p in [*regular(d, 60, 3600, d), *regular(d, 60, 14_000, 9000 + 40 * d)]]
    assert silence().detect(messages(heard), {}) == []


def test_a_slow_home_is_not_deaf_all_the_time() -> None:
    heard = [*regular(1, 900, 90_000), *regular(2, 900, 45_000, 450)]
    assert [row[:2] for row in told(silence().detect(messages(heard), {}))] == [("onset", 2)]


def test_a_last_will_shortens_the_wait_and_word_from_it_ends_it() -> None:
    detector = silence()
    detector.detect(messages([*regular(1, 60, 3600), *regular(2, 60, 3590)]), {})
    gone = Block(readings([]), (), (DeviceStatus(2, T0 + 3600 * S, False, None, None, None),), (), (), T0)
    assert detector.detect(gone, {}) == []
    assert told(detector.detect(messages(regular(1, 30, 3750, 3630)), {})) == [("onset", 2, 3660)]
    assert told(detector.detect(messages([(2, 3760)]), {})) == [("clear", 2, 3760)]


def test_a_status_before_anybody_has_spoken_is_no_time_to_count_from() -> None:
    detector = silence(city(d2=Device(2, "D-2", "sensor", period_s=60)))
    for online in (True, False):
        kept = Block(readings([]), (), (DeviceStatus(2, T0, online, None, None, None),), (), (), T0)
        assert detector.detect(kept, {}) == []
    assert detector.detect(messages(regular(1, 10, 900)), {}) == []
    assert told(detector.detect(messages([(2, 901), *regular(1, 10, 2000, 910)]), {})) == [("onset", 2, 901 + 300)]


# ---------------------------------------------------------------- gateways


def behind(n: int) -> DeviceOf:
    children = {f"d{i}": Device(i, f"C-{i}", "sensor", parent=GATEWAY) for i in range(1, n + 1)}
    return city(**children, d100=Device(GATEWAY, "GW-1", "gateway"))


def test_a_gateway_that_falls_silent_explains_its_children() -> None:
    children = [p for i in range(1, 11) for p in regular(i, 60, 3660, i)]
    back = [p for i in range(1, 11) for p in regular(i, 60, 9000, 6000 + i)]
    gateway = [*regular(GATEWAY, 60, 3600), *regular(GATEWAY, 60, 9000, 6000)]
    heard = [*regular(50, 60, 9000), *gateway, *children, *back]
    found = silence(behind(10)).detect(messages(heard), {})
    assert told(found) == [("onset", GATEWAY, 3900), ("clear", GATEWAY, 6000)]


def test_a_gateway_that_never_speaks_itself_is_told_when_its_children_fall_silent_together() -> None:
    children = [p for i in range(1, 11) for p in regular(i, 60, 3660, i)]
    found = silence(behind(10)).detect(messages([*regular(50, 60, 9000), *children]), {})
    assert [row[:2] for row in told(found)] == [("onset", GATEWAY)]
    assert found[0].features["children_silent"] == found[0].features["children"] == 10


def test_one_silent_child_of_a_gateway_that_is_well_is_told_itself() -> None:
    children = [p for i in range(2, 11) for p in regular(i, 60, 9000, i)]
    heard = [*regular(GATEWAY, 60, 9000), *children, *regular(1, 60, 3600)]
    assert told(silence(behind(10)).detect(messages(heard), {})) == [("onset", 1, 3900)]


def test_a_child_that_stays_away_when_its_gateway_is_back_is_told_itself() -> None:
    children = [p for i in range(1, 6) for p in regular(i, 60, 3660, i)]
    back = [p for i in range(2, 6) for p in regular(i, 60, 12_000, 6000 + i)]
    gateway = [*regular(GATEWAY, 60, 3600), *regular(GATEWAY, 60, 12_000, 6000)]
    heard = [*regular(50, 60, 12_000), *gateway, *children, *back]
    found = told(silence(behind(5)).detect(messages(heard), {}))
    assert [row[:2] for row in found] == [("onset", GATEWAY), ("clear", GATEWAY), ("onset", 1)]


# ---------------------------------------------------------------- all of it


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 3000), max_size=40))
def test_a_stream_equals_its_blocks(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    heard: list[tuple[int, float]] = []
    for device in [*range(1, 7), 50, GATEWAY]:
        at = np.cumsum(rng.exponential(60, 150) + 20)
        quiet = rng.uniform(2000, 8000, 2)
        keep = (at < quiet.min()) | (at > quiet.max()) if device != 50 else at > 0
        heard += [(device, round(float(t), 3)) for t in at[keep]]
    heard.sort(key=lambda row: row[1])
    whole = silence(behind(4)).detect(messages(heard), {})
    parts = silence(behind(4))
    found: list[Detection] = []
    for part in np.split(np.arange(len(heard)), sorted(cuts)):
        found += parts.detect(messages([heard[i] for i in part]), {})
    assert told(found) == told(whole)
    assert TICK_US == 10 * S


def test_saved_state_goes_on_where_it_was() -> None:
    heard = [*regular(1, 60, 9000), *regular(2, 120, 3600), *regular(2, 120, 9000, 6000)]
    heard.sort(key=lambda row: row[1])
    whole = silence().detect(messages(heard), {})
    for at in (60, 92, 120):
        first, second = silence(), silence()
        found = first.detect(messages(heard[:at]), {})
        second.load(first.snapshot())
        found += second.detect(messages(heard[at:]), {})
        assert told(found) == told(whole)
