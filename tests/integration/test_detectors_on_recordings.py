"""STA/LTA on five real earthquakes; pure, but beside the unit tests for the seconds they take."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alerting.detectors.instrument_intensity import InstrumentIntensity
from alerting.detectors.intensity import intensity_filters, jma_fft_level, samples_exceeded
from domain.alerts import Detection
from domain.readings import Waveforms
from tests.unit.alerting.blocks import default_rule, packets, some, told
from tests.unit.alerting.test_sta_lta import detector

RECORDINGS = Path(__file__).parents[2] / "../shared/data/openeew"


@cache
def recording(day: str) -> tuple[tuple[str, ...], Waveforms]:
    """All packets by arrival; the time of the last sample is ``cloud_t``, because some device clocks are off."""
    path = RECORDINGS / f"{day}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no recording {path}; the shared data folder is not here")
    with gzip.open(path, "rt") as lines:
        rows = sorted((json.loads(line) for line in lines), key=lambda p: p["cloud_t"])
    names = tuple(sorted({p["device_id"] for p in rows}))
    samples = np.array([[p[axis] for axis in "xyz"] for p in rows]) / 100
    start = [round(p["cloud_t"] * 1e6) - round(31 / 31.25 * 1e6) for p in rows]
    return names, packets([names.index(p["device_id"]) + 1 for p in rows], start, samples, 31.25)


def strongest_gal(w: Waveforms, key: int, from_us: int) -> tuple[float, float]:
    """Largest vector acceleration of one station from the quake's origin on, and before: no detector involved."""
    mine = w.device == key
    x = w.samples[mine].astype(float).transpose(1, 0, 2).reshape(3, -1) * 100
    t = (w.start_us[mine][:, None] + np.arange(32) * 32_000).ravel()
    vector = np.sqrt(((x - np.median(x, axis=1, keepdims=True)) ** 2).sum(axis=0))
    during, before = vector[t >= from_us], vector[t < from_us]
    return float(during.max(initial=0)), float(before.max(initial=0))


ORIGIN = {  # of the quakes, from the catalogue beside the recordings
    "2017-12-16": "2017-12-16T04:07:30", "2018-01-08": "2018-01-08T17:01:03", "2018-02-16": "2018-02-16T23:39:39",
    "2020-01-24": "2020-01-24T10:47:49", "2020-06-23": "2020-06-23T15:29:03",
}  # fmt: skip
SHOOK_GAL, STILL_GAL = 1.0, 0.4
"""Before the quake no station's noise passes 0.50 gal (0.21 is the quietest), so 1 gal
is at least twice any noise, and about where people begin to feel it. What stays
below 0.4 gal to the end of the recording is less than noise can do alone. Of 78 station
records 39 shook, 30 did not, and 9 lie between, where either answer is right. (The waves
need three minutes to the farthest stations, so the whole rest of a recording counts.)"""


@pytest.mark.parametrize("day", sorted(ORIGIN))
def test_real_quakes_alert_the_stations_that_shook_and_no_other(day: str) -> None:
    names, w = recording(day)
    origin_us = int(np.datetime64(ORIGIN[day], "us").astype(int))
    found = detector().feed(w)
    alerted = {d.device for d in found if d.phase == "onset"}
    shook, still = set(), set()
    for key in range(1, len(names) + 1):
        during, before = strongest_gal(w, key, origin_us)
        assert before < SHOOK_GAL / 2, f"{names[key - 1]} was quiet before"
        if during >= SHOOK_GAL:
            shook.add(key)
        elif during < STILL_GAL:
            still.add(key)
    assert shook <= alerted, f"missed {[names[k - 1] for k in shook - alerted]}"
    assert not still & alerted, f"false {[names[k - 1] for k in still & alerted]}"
    assert all(d.at_us > origin_us for d in found), "nothing before the quake"


def test_the_m72_alerts_all_thirteen_stations_with_rising_severity() -> None:
    names, w = recording("2018-02-16")
    found = detector().feed(w)
    worst = {names[k - 1]: min(d.severity for d in found if d.device == k) for k in range(1, len(names) + 1)}
    assert len(worst) == 13
    assert {name: s for name, s in worst.items() if s < 4} == {"006": 1, "008": 3, "009": 3}


def test_real_packets_in_blocks_of_any_size_give_the_same() -> None:
    _, w = recording("2018-02-16")
    whole = told(detector().feed(w))
    for size in (1000, 37):
        d, parts = detector(), list[Detection]()
        for at in range(0, len(w), size):
            parts += d.feed(some(w, slice(at, at + size)))
        assert told(parts) == whole


def record_gal(w: Waveforms, key: int) -> NDArray[Any]:
    """One station's samples as a record ``(3, n)`` about its rest."""
    mine = np.flatnonzero(w.device == key)
    mine = mine[np.argsort(w.start_us[mine], kind="stable")]
    x = w.samples[mine].astype(float).transpose(1, 0, 2).reshape(3, -1) * 100
    return np.asarray(x - np.median(x[:, :320], axis=1, keepdims=True))


def test_jma_intensity_in_real_time_is_the_fft_forms_within_a_tenth() -> None:
    """At 31.25 samples/s, where only three of six stages are stable; 34 station records of class 1 and more."""
    tree, off = intensity_filters(31.25), []
    for day in sorted(ORIGIN):
        names, w = recording(day)
        for key in range(1, len(names) + 1):
            x = record_gal(w, key)
            fft = 2 * np.log10(jma_fft_level(x, 31.25)) + 0.94
            y, _ = tree.run(x[None].astype(np.float32), np.zeros((1, 3, tree.order), np.float32))
            vector = np.sort(np.sqrt((y[0, :, 0].astype(float) ** 2).sum(axis=0)))
            if fft >= 0.5:
                off.append(2 * np.log10(vector[-samples_exceeded(31.25)]) + 0.94 - fft)
    assert len(off) > 30
    assert np.abs(off).max() < 0.1
    assert np.sqrt(np.mean(np.square(off))) < 0.05


def test_intensities_of_the_m72_fall_with_distance_from_the_quake() -> None:
    names, w = recording("2018-02-16")
    found = InstrumentIntensity(default_rule("vibration.intensity")).feed(w)
    worst = {names[k - 1]: max(d.value for d in found if d.device == k) for k in {d.device for d in found}}
    assert sorted(worst, key=lambda name: -worst[name])[:3] == ["006", "009", "008"]
    assert worst["006"] == pytest.approx(7.2, abs=0.2)
    origin_us = int(np.datetime64(ORIGIN["2018-02-16"], "us").astype(int))
    assert all(d.at_us > origin_us for d in found)
