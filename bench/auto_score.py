"""How well ``backtest --detector auto`` finds what was planted in series of unknown kind.

    python -m bench.auto_score [--seeds 12] [--families all|tuned|kept-out] [--folder RECORDINGS]

Series, anomalies and windows come from ``bench/labelled.py``; the score is that of the
Numenta benchmark (``bench/nab_score.py``). The constants of the detector were chosen on
seeds below 1,000 of the first families; the figures here are for seeds from 1,000 on, and
for families that were not looked at while choosing. With ``--folder`` recorded series
(``bench/recorded.py``) take the place of generated ones. Two simple detectors stand
beside it, so that a figure says something.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.rows import NEVER, newer
from alerting.detectors.scalar import ScalarDetector
from alerting.detectors.values import Values
from alerting.rules import parse_rule
from bench.labelled import FAMILIES, KEPT_OUT, Labelled, make
from bench.nab_score import Tally, tally
from bench.recorded import cuts
from domain.readings import Bool, Float64
from domain.sorting import begins

FIRST_SEED = 1_000
Told = tuple[list[Float64], list[Bool]]


def detector(name: str, **settings: object) -> ScalarDetector[Any]:
    """A detector with no settings but those given."""
    given = {"metric": "value", "title": {"zh": "异常", "en": "Unusual"}, **settings}
    row = {"id": name, "detector": name, "kind": "anomaly.value", "settings": given}
    made = DETECTORS[name].make(parse_rule(row), lambda key: None)
    assert isinstance(made, ScalarDetector)
    return made


def told(made: ScalarDetector[Any], series: Sequence[Labelled]) -> Told:
    """Strengths and alerts of each series, all fed side by side."""
    row = np.repeat(np.arange(len(series)), [len(s.value) for s in series])
    time_us = np.concatenate([s.time_us for s in series])
    key = made.row_of(np.arange(1, len(series) + 1, dtype=np.int32))[row]
    values = Values(key, time_us, np.concatenate([s.value for s in series]), time_us, begins(row), None)
    strength, alert = np.zeros(len(row)), np.zeros(len(row), bool)
    new = np.flatnonzero(newer(values.first, time_us, np.full(len(row), NEVER)))  # a repeated time is not looked at
    taken = made.take_in(values)
    assert taken is not None
    strength[new] = taken.found.strength
    said = {(d.device - 1, d.sampled_us) for d in taken.said if d.phase != "clear"}
    alert[new] = [where in said for where in zip(row[new].tolist(), time_us[new].tolist(), strict=True)]
    cuts = np.flatnonzero(begins(row))[1:]
    return np.split(strength, cuts), np.split(alert, cuts)


def windowed_gaussian(series: Sequence[Labelled]) -> Told:
    """The classical baseline: |value - mean| / deviation of the last 200 rows, held off for 100 rows."""
    return [], [_held(_gaussian(s.value) > 5.0, 100) for s in series]


def rolling_median(series: Sequence[Labelled]) -> Told:
    """Distance to the median of the last 100 rows over their mean distance, limit 8, held off for 100 rows."""
    return [], [_held(_median(s.value) > 8.0, 100) for s in series]


def _windows(v: Float64, n: int) -> NDArray[np.float64]:
    return np.lib.stride_tricks.sliding_window_view(v, n)[: len(v) - n]


def _gaussian(v: Float64, n: int = 200) -> Float64:
    past = _windows(v, n)
    z = np.abs(v[n:] - past.mean(axis=1)) / np.maximum(past.std(axis=1), 1e-9)
    return np.concatenate([np.zeros(n), z])


def _median(v: Float64, n: int = 100) -> Float64:
    past = _windows(v, n)
    middle = np.median(past, axis=1)
    spread = np.abs(past - middle[:, None]).mean(axis=1)
    return np.concatenate([np.zeros(n), np.abs(v[n:] - middle) / np.maximum(spread, 1e-9)])


def _held(over: Bool, rows: int) -> Bool:
    out, last = np.zeros(len(over), bool), -rows
    for i in np.flatnonzero(over):
        if i - last >= rows:
            out[i] = True
            last = int(i)
    return out


def tallies(series: Sequence[Labelled], alert: Sequence[Bool]) -> dict[str, Tally]:
    """By family."""
    out: dict[str, Tally] = {}
    for s, a in zip(series, alert, strict=True):
        whole = out.setdefault(s.family, Tally())
        whole += tally(a, s.windows)
    return out


def total(parts: dict[str, Tally]) -> Tally:
    out = Tally()
    for part in parts.values():
        out += part
    return out


def line(name: str, t: Tally) -> str:
    false = 1000 * t.false / max(t.rows, 1)
    delay = t.delay / max(t.found, 1)
    scores = f"{t.score:.1f} | {t.quiet_score:.1f} | {t.found}/{t.windows} | {t.recall:.2f}"
    return f"| {name} | {scores} | {t.precision:.2f} | {false:.2f} | {delay:.2f} |"


HEAD = (
    "| | score | with false alarms at twice the cost | windows found | recall | precision "
    "| false alarms per 1,000 rows | delay in windows |"
)


def kinds_table(series: Sequence[Labelled], alert: Sequence[Bool]) -> None:
    found: dict[str, list[bool]] = {}
    for s, a in zip(series, alert, strict=True):
        for (first, last), kind in zip(s.windows, s.kinds, strict=True):
            found.setdefault(kind, []).append(bool(a[first : last + 1].any()))
    print("\n| planted | found |\n|---|---|")
    for kind, hits in sorted(found.items()):
        print(f"| {kind} | {sum(hits)}/{len(hits)} |")


def report(title: str, series: Sequence[Labelled]) -> None:
    _, alert = told(detector("auto"), series)
    parts = tallies(series, alert)
    print(f"\n{title}: {len(series)} series, {sum(len(s.value) for s in series):,} rows\n")
    print(f"{HEAD}\n|---|---|---|---|---|---|---|---|")
    for family, part in parts.items():
        print(line(family, part))
    print(line("**auto**", total(parts)))
    others: dict[str, Callable[[Sequence[Labelled]], Told]] = {
        "windowed Gaussian, 5 deviations": windowed_gaussian, "rolling median, 8 deviations": rolling_median,
    }  # fmt: skip
    for name, other in others.items():
        print(line(name, total(tallies(series, other(series)[1]))))
    kinds_table(series, alert)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="series of each family")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="first seed")
    parser.add_argument("--families", choices=("all", "tuned", "kept-out"), default="all")
    parser.add_argument("--folder", type=Path, help="recordings to plant anomalies in, family__name.csv each")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    if given.folder:
        report(f"Recordings of {given.folder.name}", list(cuts(given.folder, seeds)))
        return
    if given.families != "kept-out":
        made = [make(family, seed) for family in FAMILIES for seed in seeds]
        report("Families the constants were chosen on, other seeds", made)
    if given.families != "tuned":
        report("Families kept out", [make(family, seed) for family in KEPT_OUT for seed in seeds])


if __name__ == "__main__":
    main()
