"""Labelled series out of recorded ones: a folder of files, anomalies planted into what real sensors said.

Files are ``family__name.csv`` with ``timestamp`` and ``value``; what follows is fixed by the seed: which
stretch is cut out, what is planted where. Recordings are not part of the repository, their licences differ;
what is found in them, and is not planted, counts as a false alarm although some of it is real.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from bench.labelled import DAY_S, PLANTED, Labelled, Rng, plant, starts_apart
from domain.readings import Float64, Int64

CITY = ZoneInfo("Asia/Shanghai")
LEAST, MOST = 2_500, 9_000
"""Rows of a cut."""
MORE_PLANTED = ("dip", "phase", "context")
SEASONAL = 0.3
"""Correlation with the day before from which a series has a daily pattern to miss."""


def recordings(folder: Path) -> dict[str, list[tuple[Int64, Float64]]]:
    """By family: times in µs and values of each file."""
    out: dict[str, list[tuple[Int64, Float64]]] = {}
    for path in sorted(folder.glob("*__*.csv")):
        with path.open(newline="") as lines:
            rows = [(datetime.fromisoformat(r["timestamp"]), float(r["value"])) for r in csv.DictReader(lines)]
        seconds = np.array([t.replace(tzinfo=t.tzinfo or CITY).timestamp() for t, _ in rows])
        column = np.array([v for _, v in rows], np.float64)
        out.setdefault(path.stem.split("__")[0], []).append(((seconds * 1e6).astype(np.int64), column))
    return out


def cuts(folder: Path, seeds: range) -> Iterator[Labelled]:
    """For each family and seed one stretch of one of its recordings with anomalies planted."""
    for family, files in recordings(folder).items():
        for seed in seeds:
            rng = np.random.default_rng([seed, sum(family.encode())])
            time_us, value = files[seed % len(files)]
            n = min(len(value), int(rng.integers(LEAST, MOST)))
            first = int(rng.integers(0, len(value) - n + 1))
            yield planted(rng, family, seed, time_us[first : first + n], value[first : first + n].copy())


def planted(rng: Rng, family: str, seed: int, time_us: Int64, v: Float64) -> Labelled:
    """None to four anomalies in a recorded stretch, in windows as the generated series have them."""
    n = len(v)
    day_rows = max(4, min(round(DAY_S * 1e6 / float(np.median(np.diff(time_us)))), n // 12))
    count = int(rng.choice((0, 1, 2, 3, 4), p=(0.15, 0.3, 0.3, 0.15, 0.1)))
    width = round(0.1 * n / max(count, 1))
    starts = starts_apart(rng, count, round(0.2 * n), round(0.95 * n), max(width, 2 * day_rows))
    seasonal = float(np.corrcoef(v[day_rows:], v[:-day_rows])[0, 1]) > SEASONAL
    choices = [k for k in (*PLANTED, *MORE_PLANTED) if seasonal or k not in ("no_pattern", "phase", "context")]
    kinds = tuple(str(rng.choice(choices)) for _ in starts)
    lowest = v.min()
    for at, kind in zip(starts, kinds, strict=True):
        (plant if kind in PLANTED else plant_more)(rng, kind, v, at, day_rows)
    if lowest >= 0:
        np.maximum(v, 0, out=v)
    windows = tuple((max(0, at - width // 2), min(n - 1, at + width // 2)) for at in starts)
    return Labelled(family, seed, time_us, v, windows, kinds)


def plant_more(rng: Rng, kind: str, v: Float64, at: int, day_rows: int) -> None:
    """What only recorded series get: a dip of some hours, a day that begins late, an hour at the wrong time."""
    n = len(v)
    low, high = np.quantile(v, (0.02, 0.98))
    if kind == "dip":
        v[at : at + max(3, day_rows // 6)] -= rng.uniform(0.5, 1.2) * (high - low)
    elif kind == "phase":
        late = max(2, day_rows // 4)
        part = slice(at, min(n, at + 2 * day_rows))
        v[part] = v[at - late : part.stop - late].copy()
    elif kind == "context":
        length = max(3, day_rows // 8)
        other = at - day_rows // 2
        v[at : at + length] = v[other : other + length][: n - at]
