"""Blocks, rules and devices for the tests of alerting, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Rule
from alerting.rules import parse_rule, parse_rules
from domain.alerts import Detection
from domain.devices import Device
from domain.readings import Block, CameraEvent, Position, Readings, Waveforms

T0 = 1_700_000_000_000_000
S = 1_000_000
METRICS = ("", "temperature_c", "smoke_ppm", "ppv_mm_s", "freq_hz")
TEMPERATURE, SMOKE, PPV, FREQ = 1, 2, 3, 4


def default_rule(rule_id: str, **settings: Any) -> Rule:
    row = next(r for r in DEFAULT_RULES if r["id"] == rule_id)
    return parse_rule({**row, "settings": {**row["settings"], **settings}})


def default_rules() -> list[Rule]:
    return parse_rules(DEFAULT_RULES)


def readings(rows: Iterable[tuple[int, int, int, float]], late: Sequence[bool] = (), delay_us: int = 0) -> Readings:
    """Rows of (device, metric, time_us, value)."""
    given = list(rows)
    time_us = np.array([r[2] for r in given], np.int64)
    return Readings(
        np.array([r[0] for r in given], np.int32), np.array([r[1] for r in given], np.int32), time_us,
        np.array([r[3] for r in given], np.float64), np.full(len(given), -1, np.int64), time_us + delay_us,
        np.array(late if len(late) else [False] * len(given), bool),
    )  # fmt: skip


def packets(
    device: Sequence[int], start_us: Sequence[int], samples: NDArray[Any], rate_hz: float, unit: str = "m/s2"
) -> Waveforms:
    n = len(device)
    start = np.array(start_us, np.int64)
    return Waveforms(
        np.array(device, np.int32), start, rate_hz, unit, samples.astype(np.float32), np.ones((n, 3), bool),
        np.full(n, -1, np.int64), start + round(samples.shape[2] / rate_hz * 1e6), np.zeros(n, bool),
    )  # fmt: skip


def cut(signal: NDArray[Any], rate_hz: float, n: int, device: int = 1, unit: str = "m/s2") -> Waveforms:
    """A signal ``(3, samples)`` as one device's packets of ``n`` samples."""
    count = signal.shape[1] // n
    body = signal[:, : count * n].reshape(3, count, n).transpose(1, 0, 2)
    start = [T0 + round(i * n / rate_hz * 1e6) for i in range(count)]
    return packets([device] * count, start, body, rate_hz, unit)


def some(w: Waveforms, take: Any) -> Waveforms:
    return Waveforms(
        w.device[take], w.start_us[take], w.rate_hz, w.unit, w.samples[take], w.axes[take], w.seq[take],
        w.received_us[take], w.late[take],
    )  # fmt: skip


def some_readings(r: Readings, take: Any) -> Readings:
    return r.take(take)


def block(
    r: Readings | None = None,
    waveforms: tuple[Waveforms, ...] = (),
    events: tuple[CameraEvent, ...] = (),
    positions: tuple[Position, ...] = (),
    committed_us: int = T0,
) -> Block:
    return Block(readings([]) if r is None else r, waveforms, (), events, positions, committed_us)


def devices(**more: Any) -> Any:
    """A registry in which every key is a house with the same properties."""
    return lambda key: Device(key, f"VB-{key:04d}", "vibration", lon=113.75, lat=23.02, **more)


def told(found: Iterable[Detection]) -> list[tuple[Any, ...]]:
    """Detections as plain rows, ordered by device and time."""
    rows = [
        (
            d.device,
            d.sampled_us,
            d.phase,
            d.at_us,
            d.episode_us,
            d.severity,
            round(d.value, 6),
            round(d.limit, 6),
        )
        for d in found
    ]
    return sorted(rows, key=lambda row: (row[0], row[1]))
