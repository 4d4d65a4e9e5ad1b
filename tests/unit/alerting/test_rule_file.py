from __future__ import annotations

import pytest

from alerting.rule_file import parse_rule_file
from domain.errors import ImportFileError

GOOD = """# rules of the brigade
[[rule]]
id = "heat"
detector = "threshold"
kind = "fire.temperature"
applies_to = { kinds = ["smoke"] }
  [rule.settings]
  metric = "temperature_c"
  unit = "°C"
  levels = { 3 = 60 }
  clear = 55
  title = { zh = "热", en = "Hot" }
"""


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse_rule_file(text.encode(), toml=True).problems]


def test_a_good_rule_and_times_of_the_city() -> None:
    text = GOOD.replace("applies_to", "valid_from = 2027-01-01\nvalid_to = 2027-02-01T08:00:00\napplies_to")
    [rule] = parse_rule_file(text.encode(), toml=True).rules
    assert rule.applies_to.kinds == ("smoke",)
    assert rule.valid_from_us == 1_798_732_800_000_000
    assert rule.valid_to_us == 1_801_440_000_000_000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("levels = { 3 = 60 }", "levels = { 3 = 60, 2 = 50 }", "line 7: rule heat: settings"),
        ('unit = "°C"', 'unit = "F"', "line 9: rule heat: unit: 'F' does not fit"),
        ("clear = 55", 'clear = "x"', "line 11: rule heat: clear"),
        ('"smoke"', '"Smoke"', "line 6: rule heat: applies_to: kinds.0"),
        ("threshold", "thresold", "line 4: rule heat: unknown detector 'thresold' (did you mean threshold?)"),
        ('kind = "fire', 'kind = "Fire', "line 5: rule heat: kind 'Fire.temperature'"),
        ("applies_to", "aplies_to", "line 6: rule heat: aplies_to is not known here, did you mean applies_to?"),
        ("applies_to", "valid_from = 2027-01-01\nvalid_to = 2026-01-01\napplies_to",
         "line 7: rule heat: valid_to must"),
        ('id = "heat"', 'id = "he at"', "line 3: rule 'he at': an id is"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, said: str) -> None:
    [problem] = problems(GOOD.replace(old, new))
    assert problem.startswith(said)


def test_a_bad_rule_does_not_hide_the_good_ones_and_an_id_is_used_once() -> None:
    parsed = parse_rule_file((GOOD + GOOD.replace("60", "6000").replace("heat", "bad") + GOOD).encode(), toml=True)
    assert [rule.id for rule in parsed.rules] == ["heat"]
    assert [problem.where for problem in parsed.problems] == ["line 22", "line 27"]


def test_csv_is_taken_too() -> None:
    text = (
        'id,detector,kind,settings\nr1,threshold,a.b,"{""metric"": ""m"", ""clear"": 1, '
        '""levels"": {""3"": 2}, ""title"": {""zh"": ""x"", ""en"": ""x""}}"\n'
    )
    [rule] = parse_rule_file(text.encode(), toml=False).rules
    assert (rule.id, rule.settings.metrics()) == ("r1", ("m",))


@pytest.mark.parametrize("text", ["[[rule]", "[[rulse]]\nid = 1", "rule = 3", "rule = [3]"])
def test_a_file_that_holds_no_rules_is_refused_whole(text: str) -> None:
    with pytest.raises(ImportFileError):
        parse_rule_file(text.encode(), toml=True)
