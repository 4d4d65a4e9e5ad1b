from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.backtest import SCALARS, chosen_rule, default_rule, series_of
from alerting.detectors.base import Rule
from alerting.detectors.threshold import Threshold
from alerting.rules import parse_rule
from domain.errors import SettingsError
from domain.readings import Float64, Int64
from tests.unit.alerting.blocks import SMOKE, T0, S, readings
from tests.unit.alerting.test_scalar import waves

LEVELS = {"metric": "smoke_ppm", "levels": {"3": 24, "2": 30}, "clear": 22, "title": {"zh": "x", "en": "x"}}


def rule_of(name: str, **more: Any) -> Rule:
    given: dict[str, Any] = LEVELS if name == "threshold" else {"metric": "smoke_ppm", "title": LEVELS["title"]}
    return parse_rule({"id": name, "detector": name, "kind": "k", "settings": {**given, **more}})


def awkward(n: int, seed: int) -> tuple[Int64, Float64]:
    """Gaps, repeated and backward times, blanks, jumps."""
    rng = np.random.default_rng(seed)
    wait = rng.choice([-300, 0, 300, 600, 600, 600, 90_000], n, p=[0.02, 0.03, 0.1, 0.3, 0.3, 0.24, 0.01])
    value = waves(n, seed, 600)
    value[rng.random(n) < 0.02] = np.nan
    value[rng.random(n) < 0.02] += 30
    return T0 + np.cumsum(wait).astype(np.int64) * S, value


@pytest.mark.parametrize("name", SCALARS)
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1_000), st.integers(1, 259))
def test_the_scores_of_a_prefix_are_the_prefix_of_the_scores(name: str, seed: int, cut: int) -> None:
    time_us, value = awkward(260, seed)
    more: dict[str, Any] = {} if name == "threshold" else {"learn_s": 0, "limit_min": 1}
    whole = series_of(rule_of(name, **more)).run(time_us, value)
    prefix = series_of(rule_of(name, **more)).run(time_us[:cut], value[:cut])
    np.testing.assert_array_equal(whole.score[:cut], prefix.score)
    np.testing.assert_array_equal(whole.alert[:cut], prefix.alert)


@pytest.mark.parametrize("name", SCALARS)
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1_000), st.lists(st.integers(0, 260), max_size=6))
def test_chunks_do_not_matter(name: str, seed: int, cuts: list[int]) -> None:
    time_us, value = awkward(260, seed)
    whole = series_of(rule_of(name)).run(time_us, value)
    parted, scores, alerts = series_of(rule_of(name)), [], []
    for take in np.split(np.arange(260), sorted(cuts)):
        part = parted.run(time_us[take], value[take])
        scores.append(part.score)
        alerts.append(part.alert)
    np.testing.assert_array_equal(np.concatenate(scores), whole.score)
    np.testing.assert_array_equal(np.concatenate(alerts), whole.alert)


@pytest.mark.parametrize("name", SCALARS)
def test_scores_are_within_0_and_1_and_0_where_nothing_is_judged(name: str) -> None:
    time_us, value = awkward(600, 3)
    found = series_of(rule_of(name)).run(time_us, value)
    assert found.score.min() >= 0
    assert found.score.max() <= 1
    newest = np.maximum.accumulate(np.where(np.isfinite(value), time_us, 0))
    old = np.concatenate([[False], time_us[1:] <= newest[:-1]])
    assert not found.judged[old | np.isnan(value)].any()
    assert not found.score[~found.judged].any()


def test_a_threshold_is_an_alert_as_long_as_it_holds() -> None:
    value = np.array([20.0, 23, 24, 26, 29, 30, 50, 23, 22, 20, 31])
    found = series_of(rule_of("threshold")).run(T0 + np.arange(11) * S, value)
    assert found.alert.tolist() == [False, False, True, True, True, True, True, True, False, False, True]
    assert found.score.round(3).tolist() == [0, 0.245, 0.5, 0.667, 0.917, 1, 1, 0.245, 0, 0, 1]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"on_delay_s": 3, "off_delay_s": 2},
        {"n": 2, "of": 4},
        {"rise_over_s": 60, "levels": {"3": 1, "2": 3}, "clear": 0},
    ],
)
def test_a_threshold_says_what_the_live_detector_says(more: dict[str, Any]) -> None:
    rng = np.random.default_rng(6)
    value = rng.choice([20.0, 23, 25, 31], 500, p=[0.6, 0.2, 0.1, 0.1])
    time_us = T0 + np.cumsum(rng.choice([1, 1, 2, 900], 500, p=[0.5, 0.3, 0.19, 0.01])) * S
    rule = rule_of("threshold", **more)
    found = series_of(rule).run(time_us, value)
    active, expected = False, []
    live = Threshold(rule)
    for i, v in enumerate(value.tolist()):
        for d in live.feed(readings([(1, SMOKE, int(time_us[i]), v)]), {"smoke_ppm": SMOKE}):
            active = d.phase != "clear"
        expected.append(active)
    assert found.alert.tolist() == expected
    assert {True, False} == set(expected)


def test_auto_speaks_once_early_and_holds_off() -> None:
    value = waves(3_000, 7, 600)
    value[2_000:2_040] += 15
    found = series_of(default_rule("auto")).run(T0 + np.arange(3_000) * 600 * S, value)
    told = np.flatnonzero(found.alert[1_000:]) + 1_000
    inside = told[(told >= 2_000) & (told < 2_040)]
    assert len(inside) >= 1
    assert inside[0] <= 2_002
    assert (found.score[found.alert] >= 0.5).all()
    assert (found.score[~found.alert] < 0.5).all(), "while it holds off the score stays low"
    assert not found.score[:100].any(), "it knows nothing yet"


def test_what_a_detector_cannot_do_is_said() -> None:
    with pytest.raises(SettingsError, match="needs levels"):
        default_rule("threshold")
    with pytest.raises(SettingsError, match="no detector 'magic'"):
        default_rule("magic")
    rules = [rule_of("threshold"), rule_of("level")]
    assert chosen_rule(rules, "level").id == "level"
    assert chosen_rule(rules[:1], None).id == "threshold"
    with pytest.raises(SettingsError, match="several rules judge"):
        chosen_rule(rules, None)
    with pytest.raises(SettingsError, match="no rule judges"):
        chosen_rule(rules, "drift")
