"""Everything a detector may look at, at once: readings of many metrics, packets, camera events, positions.

Made so that every detector of the catalogue has something to say: levels crossed and
left, shaking, events, a truck with its cover open, silences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.rules import parse_rule
from domain.readings import Block, CameraEvent, Position
from tests.unit.alerting.blocks import T0, S, block, packets, readings

TITLE = {"zh": "试验", "en": "Trial"}
MORE: dict[str, dict[str, Any]] = {}
"""Settings of detectors that no default rule uses: detector → settings."""


def example_rules() -> list[Rule]:
    """The default rules, and a rule of each detector that has none."""
    rules = [parse_rule(row) for row in DEFAULT_RULES]
    for name in sorted(set(DETECTORS) - {rule.detector for rule in rules}):
        wanted = DETECTORS[name].settings.model_fields
        settings = MORE.get(name, {"metric": "temperature_c"} if "metric" in wanted else {})
        row = {"id": f"trial.{name}", "detector": name, "kind": "trial", "settings": {"title": TITLE, **settings}}
        rules.append(parse_rule(row))
    return rules


METRICS = ("", *dict.fromkeys(metric for rule in example_rules() for metric in rule.settings.metrics()))


def signals(seed: int, seconds: int, devices: Sequence[int] = (1, 2, 3)) -> list[Block]:
    """A stretch of ``seconds`` in blocks of one second, the same for the same seed."""
    rng = np.random.default_rng(seed)
    level = {metric: level_of(metric) for metric in METRICS if metric}
    blocks = []
    for second in range(seconds):
        t = T0 + second * S
        phase = {d: (second + 7 * d) % 60 for d in devices}
        rows = [
            (d, METRICS.index(metric), t, value(top, phase[d]) + float(rng.normal(0, 0.01 * abs(top))))
            for d in devices
            for metric, top in level.items()
            if (second // 25) % 3 != d % 3  # a silence now and then
        ]
        time = np.arange(100) / 100.0
        shape = np.stack([np.sin(2 * np.pi * 8 * time), np.cos(2 * np.pi * 8 * time), 0.5 * np.sin(50 * time)])
        strength = [0.8 if 20 <= phase[d] < 32 else 0.0005 for d in devices]
        samples = np.array([s * shape + rng.normal(scale=0.0005, size=shape.shape) for s in strength])
        wave = packets(devices, [t] * len(devices), samples, 100.0)
        blocks.append(block(readings(rows), (wave,), tuple(events(second, t, devices)), tuple(drives(second, t))))
    return blocks


def level_of(metric: str) -> float:
    """The worst level any example rule has for a metric."""
    found = [
        float(v)
        for rule in example_rules()
        if getattr(rule.settings, "metric", None) == metric
        for v in (getattr(rule.settings, "levels", None) or {0: 10.0}).values()
    ]
    return max(found, key=abs, default=10.0)


def value(top: float, phase: int) -> float:
    """Calm, over all levels for a third of the minute, calm again."""
    return 1.2 * top if 20 <= phase < 40 else 0.2 * top


def events(second: int, t: int, devices: Sequence[int]) -> Iterable[CameraEvent]:
    """Each camera has an event of each type, from its 10th to its 30th second of a minute."""
    types = sorted({rule.settings.type for rule in example_rules() if hasattr(rule.settings, "type")})
    phases = {10: "start", 20: "update", 30: "end"}
    for d in devices:
        phase = phases.get((second + d) % 60)
        if phase is not None:
            for kind in types:
                score = 0.95 if phase == "update" else 0.7
                yield CameraEvent(
                    d, f"{kind}-{(second + d) // 60}", phase, t, t, False, kind, score, (0.1, 0.1, 0.2, 0.2)
                )


def drives(second: int, t: int) -> Iterable[Position]:
    """One truck that opens its cover for a while."""
    cover = "open" if 20 <= second % 60 < 45 else "closed"
    yield Position(1, t, -1, t, False, 113.7 + second * 1e-5, 23.0, 30.0, 90.0, "loaded", cover)
