"""Rules of one family are judged in one go and say what each would say alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.applies import AppliesTo
from alerting.detectors.bank import DetectorBank
from alerting.detectors.base import Rule
from alerting.detectors.family import Member, likeness
from alerting.rules import parse_rule
from domain.alerts import Detection
from domain.readings import Readings
from tests.unit.alerting.blocks import T0, S, block, devices, readings, some_readings, told

NAMES = ("", "temperature_c", "smoke_ppm", "crack_mm")
METRICS = NAMES[1:]
N = 900
DETECTORS = ("level", "change", "season", "drift", "shape", "auto")


def rule(detector: str, metric: str, **more: Any) -> Rule:
    base = {"metric": metric, "title": {"zh": metric, "en": metric}, "learn_s": 0, "limit_min": 1.0}
    name = f"{detector}.{metric}"
    return parse_rule({"id": name, "detector": detector, "kind": f"anomaly.{metric.replace('_', '-')}",
                       "settings": {**base, **more}})  # fmt: skip


def family(detector: str) -> list[Rule]:
    return [rule(detector, metric, severity=2 + number) for number, metric in enumerate(METRICS)]


def bank(rules: list[Rule]) -> DetectorBank:
    return DetectorBank(rules, devices(), lambda: NAMES)


def restless(seed: int, n: int = N) -> Readings:
    """Two devices that send some of three metrics, singly or in lists, with gaps and times that go back."""
    rng = np.random.default_rng(seed)
    clock = dict.fromkeys((1, 2), 0)
    rows: list[tuple[int, int, int, float]] = []
    while len(rows) < n:
        device, metric = int(rng.integers(1, 3)), int(rng.integers(1, 4))
        for _ in range(int(rng.choice([1, 1, 6]))):
            clock[device] += int(rng.choice([0, 60, 600, 1800, 20_000])) - 700 * int(rng.random() < 0.05)
            value = 20 + rng.normal() * (1 if rng.random() < 0.9 else 40)
            rows.append((device, metric, T0 + clock[device] * S, float(value)))
    return readings(rows[:n], late=(rng.random(n) < 0.03).tolist())


def fed(to: DetectorBank, r: Readings, cuts: list[int]) -> list[Detection]:
    return [d for take in np.split(np.arange(len(r)), sorted(cuts)) for d in to.feed(block(some_readings(r, take)))]


@pytest.mark.parametrize(("detector", "seed"), [("level", 1), ("change", 5)])
def test_the_streams_make_detectors_speak(detector: str, seed: int) -> None:
    found = fed(bank(family(detector)), restless(seed), [])
    assert {d.phase for d in found} >= {"onset", "clear"}


def by_rule(found: list[Detection]) -> list[str]:
    """Compared as words, in which an unknown limit equals itself."""
    return [repr(one) for one in told(sorted(found, key=lambda d: (d.rule, d.device, d.sampled_us)))]


@pytest.mark.parametrize("detector", DETECTORS)
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, N), max_size=6))
def test_a_family_says_what_its_rules_say_alone_in_any_blocks(detector: str, seed: int, cuts: list[int]) -> None:
    r, rules = restless(seed), family(detector)
    together, alone = bank(rules), [bank([one]) for one in rules]
    found = fed(together, r, cuts)
    assert by_rule(found) == by_rule([d for one in alone for d in fed(one, r, [])])
    assert {(d.rule, d.severity, d.metric) for d in found} <= {
        (one.id, one.settings.severity, one.settings.metric)  # type: ignore[attr-defined]
        for one in rules
    }
    for (_, whole), one in zip(together.snapshot(), alone, strict=True):
        [(_, own)] = one.snapshot()
        assert {name: column.tobytes() for name, column in sorted_by_key(whole).items()} == {
            name: column.tobytes() for name, column in sorted_by_key(own).items()
        }


LEVELS: tuple[dict[str, Any], ...] = (
    {"levels": {3: 40, 2: 60}, "clear": 30, "on_delay_s": 600},
    {"levels": {2: 50}, "clear": 40, "n": 2, "of": 3},
    {"levels": {4: -10, 3: -20, 1: -30}, "clear": 0, "direction": "below", "off_delay_s": 1200},
    {"levels": {3: 45}, "clear": 45, "direction": "magnitude"},
)


def threshold(number: int, title: str = "-") -> Rule:
    metric = (*METRICS, METRICS[0])[number]
    given = {"metric": metric, "title": {"zh": title, "en": title}, **LEVELS[number]}
    name, kind = f"threshold.{number}", f"anomaly.t{number}"
    return parse_rule({"id": name, "detector": "threshold", "kind": kind, "settings": given})


def thresholds() -> list[Rule]:
    """As different as rules of levels can be; two of one metric."""
    return [threshold(number) for number in range(len(LEVELS))]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, N), max_size=6))
def test_thresholds_together_say_and_remember_what_each_would_alone(seed: int, cuts: list[int]) -> None:
    r, rules = restless(seed), thresholds()
    together, alone = bank(rules), [bank([one]) for one in rules]
    assert all(isinstance(together.detectors[one.id], Member) for one in rules)
    found = fed(together, r, cuts)
    assert by_rule(found) == by_rule([d for one in alone for d in fed(one, r, cuts)])
    for (_, whole), one in zip(together.snapshot(), alone, strict=True):
        [(_, own)] = one.snapshot()
        assert {name: column.tobytes() for name, column in sorted_by_key(whole).items()} == {
            name: column.tobytes() for name, column in sorted_by_key(own).items()
        }


def test_a_threshold_that_changes_takes_its_memory_along_and_the_others_keep_theirs() -> None:
    r, rules = restless(3), thresholds()
    first, rest = some_readings(r, np.arange(600)), some_readings(r, np.arange(600, N))
    undisturbed, edited = bank(rules), bank(rules)
    assert told(undisturbed.feed(block(first))) == told(edited.feed(block(first))) != []
    changed = threshold(3, "New")
    assert edited.update([*rules[:3], changed]) == []
    found = edited.feed(block(rest))
    assert told(found) == told(undisturbed.feed(block(rest))) != []
    assert {d.title["en"] for d in found if d.rule == changed.id} == {"New"}


def test_a_rate_of_rise_stands_alone() -> None:
    rising = thresholds()[0]
    rising = replace(rising, settings=rising.settings.model_copy(update={"rise_over_s": 60.0}))
    assert likeness(rising) is None
    assert not isinstance(bank([rising, *thresholds()[1:]]).detectors[rising.id], Member)


def sorted_by_key(memory: Any) -> dict[str, Any]:
    """Rows in the order of devices, which is not that of their first appearance."""
    order = np.argsort(memory["keys"])
    return {name: column[order] for name, column in memory.items()}


def test_the_default_rules_are_judged_in_families() -> None:
    rules = [rule("season", "temperature_c"), rule("season", "smoke_ppm"), rule("level", "crack_mm")]
    made = bank(rules)
    one, other = made.detectors["season.temperature_c"], made.detectors["season.smoke_ppm"]
    assert isinstance(one, Member)
    assert isinstance(other, Member)
    assert one.family is other.family
    assert not isinstance(made.detectors["level.crack_mm"], Member)


def test_rules_of_other_settings_or_for_some_devices_stand_alone() -> None:
    some = replace(rule("level", "smoke_ppm"), applies_to=AppliesTo(devices=("D-1",)))
    made = bank([rule("level", "temperature_c"), some, rule("level", "crack_mm", hold_off_s=60)])
    assert not any(isinstance(detector, Member) for detector in made.detectors.values())
    assert likeness(rule("level", "temperature_c")) != likeness(rule("level", "crack_mm", hold_off_s=60))


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_rule_that_changes_leaves_its_family_and_the_others_go_on(detector: str) -> None:
    r, rules = restless(3), family(detector)
    first, rest = some_readings(r, np.arange(600)), some_readings(r, np.arange(600, N))
    undisturbed, edited = bank(rules), bank(rules)
    undisturbed.feed(block(first))
    edited.feed(block(first))
    changed = rule(detector, METRICS[1], severity=3, hold_off_s=60)
    assert edited.update([rules[0], changed, rules[2]]) == [changed.id], "what it learnt held under other settings"
    expected = [d for d in undisturbed.feed(block(rest)) if d.rule != changed.id]
    assert by_rule([d for d in edited.feed(block(rest)) if d.rule != changed.id]) == by_rule(expected)
    assert edited.update(rules) == [rules[1].id]
    assert isinstance(edited.detectors[changed.id], Member)


def test_rules_that_become_alike_are_all_judged() -> None:
    """The general rule loses its exception, so it is for every device now, as the other one was before."""
    general, other = rule("level", "smoke_ppm"), rule("level", "crack_mm")
    exception = replace(general, id="level.smoke_ppm.some", applies_to=AppliesTo(devices=("D-1",)))
    made, r = bank([general, exception, other]), restless(2)
    assert not isinstance(made.detectors[general.id], Member)
    assert made.update([general, other]) == []
    assert isinstance(made.detectors[general.id], Member)
    made.feed(block(r))
    assert all(len(memory["keys"]) == 2 and memory["_seen"].all() for _, memory in made.snapshot())
    assert made.update([general, exception, other]) == [exception.id]
    assert not isinstance(made.detectors[general.id], Member)
    assert all(len(made.detectors[one.id].snapshot()["keys"]) == 2 for one in (general, other))


def test_a_new_title_keeps_what_the_rule_learnt_and_is_what_alerts_say() -> None:
    rules, r = family("level"), restless(4)
    made = bank(rules)
    made.feed(block(r))
    renamed = rule("level", METRICS[0], severity=2, title={"zh": "新", "en": "New"})
    assert made.update([renamed, *rules[1:]]) == []
    at = int(r.time_us.max()) + 600 * S
    found = made.feed(block(readings([(1, 1, at, 9_000.0), (1, 2, at, 9_000.0)])))
    assert {d.rule: d.title["en"] for d in found} == {renamed.id: "New", rules[1].id: METRICS[1]}


def test_to_forget_a_device_concerns_one_rule_of_the_family() -> None:
    made, r = bank(family("level")), restless(6)
    made.feed(block(r))
    before = {one.id: memory for one, memory in made.snapshot()}
    made.forget("level.smoke_ppm", 2)
    for one, memory in made.snapshot():
        same = np.array_equal(memory["_seen"], before[one.id]["_seen"])
        assert same == (one.id != "level.smoke_ppm")
