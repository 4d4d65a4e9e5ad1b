"""What an OpenEEW recording holds, read without any of our own code."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

AT_REST_S = 60.0
GONE_S_MIN = 300.0


@dataclass(frozen=True)
class Station:
    """One station: packets and distinct packets; peak and resting acceleration, gal."""

    packets: int
    distinct: int
    peak_gal: float
    rest_gal: float

    @property
    def shook(self) -> bool:
        """Clearly: over 2 gal, which people feel, and ten times what it shows at rest."""
        return self.peak_gal > 2.0 and self.peak_gal > 10 * self.rest_gal

    @property
    def still(self) -> bool:
        """Clearly not: nothing above three times its rest."""
        return self.peak_gal < 3 * self.rest_gal


def stations(path: Path) -> dict[str, Station]:
    """The stations of a recording by id."""
    packets: dict[str, list[tuple[float, np.ndarray]]] = defaultdict(list)
    with gzip.open(path, "rt") as lines:
        for line in lines:
            body = json.loads(line)
            packets[body["device_id"]].append(
                (body["device_t"], np.array([body["x"], body["y"], body["z"]], dtype=float))
            )
    return {name: station(rows) for name, rows in packets.items()}


def station(rows: list[tuple[float, np.ndarray]]) -> Station:
    """Peak of the vector about the mean of the first minute; its 99th percentile then is the rest."""
    times = np.array([t for t, _ in rows])
    order = np.argsort(times, kind="stable")
    samples = np.concatenate([rows[i][1] for i in order], axis=1)
    quiet = samples[:, : round(AT_REST_S * 31.25)]
    vector = np.linalg.norm(samples - quiet.mean(axis=1, keepdims=True), axis=0)
    rest = float(np.percentile(vector[: quiet.shape[1]], 99))
    return Station(len(rows), len(set(times.tolist())), float(vector.max()), rest)
