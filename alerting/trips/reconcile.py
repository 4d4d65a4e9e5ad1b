"""What a vehicle's track says now against what has been told before. Pure.

Late points change the past: a trip keeps its id as long as its time overlaps, a
border crossing stays the same while its time moves by less than ``SAME_US``.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerting.trips.ports import StoredCrossing, StoredTrip
from alerting.trips.trip import Trip
from geo.tracks import Crossing

SAME_US = 600_000_000


def match_trips(
    trips: Sequence[Trip], stored: Sequence[StoredTrip]
) -> tuple[list[StoredTrip | None], list[StoredTrip]]:
    """For each trip its stored one (None: it is new), and the stored ones that nothing supports."""
    left = list(stored)
    found: list[StoredTrip | None] = []
    for trip in trips:
        same = [s for s in left if s.from_us <= trip.to_us and s.to_us >= trip.from_us]
        best = min(same, key=lambda s: abs(s.from_us - trip.from_us), default=None)
        if best is not None:
            left.remove(best)
        found.append(best)
    return found, left


def match_crossings(
    crossings: Sequence[Crossing], told: Sequence[StoredCrossing]
) -> tuple[list[Crossing], list[StoredCrossing]]:
    """The crossings nobody was told of, and the told ones that did not happen."""
    left = list(told)
    fresh: list[Crossing] = []
    for crossing in crossings:
        pair, at_us = (crossing.left.code, crossing.entered.code), crossing.entered.from_us
        same = [c for c in left if (c.left, c.entered) == pair and abs(c.at_us - at_us) <= SAME_US]
        if same:
            left.remove(min(same, key=lambda c: abs(c.at_us - at_us)))
        else:
            fresh.append(crossing)
    return fresh, left
