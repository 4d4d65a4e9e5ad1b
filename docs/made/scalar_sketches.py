"""Drawings of the scalar detectors: what comes in, how strong the detector finds it, and where it speaks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from alerting.backtest import series_of
from alerting.rules import parse_rule
from docs.made.sketch import Panel, sketch
from domain.readings import Float64

T0_US = 1_700_006_400_000_000
DAY_S = 86_400


def day(n: int, every_s: float) -> Float64:
    """Hours of the city's day."""
    hours: Float64 = ((np.arange(n) * every_s) / 3600 + 8) % 24
    return hours


def jumping(every_s: float) -> Float64:
    """A level that is left for two hours, once."""
    v = 20 + np.random.default_rng(1).normal(0, 0.4, 1_728)
    v[1_400:1_424] += 6
    return np.asarray(v)


def rising(every_s: float) -> Float64:
    """Water that rises by itself, and once by a jump."""
    rng = np.random.default_rng(2)
    v = 0.5 + 0.1 * np.sin(np.arange(1_728) / 130) + rng.normal(0, 0.004, 1_728)
    v[1_400:] += 0.12
    return np.asarray(v)


def daily(every_s: float) -> Float64:
    """A day like others, with a quiet rush hour on the last."""
    hour = day(2_016, every_s)
    v = 46 + 14 * np.exp(-0.5 * ((hour - 18) / 2) ** 2) + np.random.default_rng(3).normal(0, 0.8, 2_016)
    v[1_930:1_960] = 46
    return np.asarray(v)


def leaning(every_s: float) -> Float64:
    """A wall that follows the sun, and from the thirtieth day on goes its own way."""
    hour = day(1_080, every_s)
    v = 0.1 + 0.006 * np.cos((hour - 15) / 24 * 2 * np.pi) + np.random.default_rng(4).normal(0, 5e-4, 1_080)
    return np.asarray(v + 0.012 * np.clip((np.arange(1_080) - 720) / 240, 0, 1))


def repeating(every_s: float) -> Float64:
    """A machine's cycle, once broken."""
    v = 10 + 3 * np.sin(np.arange(2_400) / 6) + np.random.default_rng(5).normal(0, 0.15, 2_400)
    v[2_000:2_040] = 10 + 3 * np.sign(np.sin(np.arange(40) / 1.5))
    return np.asarray(v)


def unknown(every_s: float) -> Float64:
    """Nobody knows what: a daily wave, a burst of noise, a pause."""
    hour, rng = day(2_016, every_s), np.random.default_rng(6)
    v = 300 + 80 * np.sin(hour / 24 * 2 * np.pi) + rng.normal(0, 6, 2_016)
    v[1_200:1_230] += rng.normal(0, 60, 30)
    v[1_700:1_800] = v[1_700]
    return np.asarray(v)


INPUTS: dict[str, tuple[Callable[[float], Float64], float, dict[str, Any]]] = {
    "level": (jumping, 300.0, {"learn_s": DAY_S}), "change": (rising, 300.0, {"learn_s": DAY_S}),
    "season": (daily, 600.0, {}), "drift": (leaning, 3_600.0, {"compensate": ""}),
    "shape": (repeating, 600.0, {"learn_s": DAY_S}), "auto": (unknown, 600.0, {}),
}  # fmt: skip


def drawn(name: str) -> str:
    """One detector's sketch: the input with what is told, and the score with its limit."""
    make, every_s, more = INPUTS[name]
    value = make(every_s)
    settings: dict[str, Any] = {"metric": "value", "title": {"zh": "-", "en": "-"}, **more}
    rule = parse_rule({"id": name, "detector": name, "kind": "anomaly.value", "settings": settings})
    at = np.arange(len(value))
    found = series_of(rule).run(T0_US + (at * every_s * 1e6).astype(np.int64), value)
    days = at * every_s / DAY_S
    told = [(float(days[i]), "told") for i in np.flatnonzero(found.alert)]
    panels = [
        Panel("value", days, [value], marks=told),
        Panel("score", days, [found.score], levels=[(0.5, "limit")], y_range=(0.0, 1.0)),
    ]
    return sketch(f"{name}: a series, its score, and where it is told", panels, "days")


SCALAR_SKETCHES = {f"scalar-{name}": partial(drawn, name) for name in INPUTS}
