"""Which triggers belong together: travel times, neighbours, one building, and how likely chance is. Pure.

- **N stations.** A wave reaches two stations within their distance over ``V_M_S`` plus
  ``SLACK_S`` for onset and packet (GlobalQuake, and the reference of this project's
  real quakes). So many stations that all fit one another are one event as chance would not bring
  together once in ten weeks (``stations_needed``): three where the network is
  quiet, more where trucks and doors trigger all day (Poisson tail of the
  background within the same ground and time, which may just now have become more).
- **PLUM** (Cochran 2019): two neighbouring buildings that both shake strongly are
  an event, no source needed.
- **Instant.** What reaches stations kilometres apart at one instant is no wave but
  electricity (obspy #1710).
- **One building, one spot.** Several sensors of a building, or a camera, a smoke
  and a vibration sensor side by side, speak of one thing.

Positions are metres on the Earth's sphere (x, y, z from its centre), so that a network of
any width needs no projection; a chord is 0.03 % short at 500 km.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.readings import Bool, Float64

V_M_S = 5000.0
SLACK_S = 2.5
"""Slowest P wave through a city's ground, and the time onset picks and packets may be off."""

SLOW_M_S = 2000.0
TAIL_S = 10.0
"""Surface waves: by these a station may join an event late."""

REACH_M_MIN = 1000.0
REACH_OF_SIZE = 1.5
"""An event reaches this far beyond the stations it has: a blast stays local, a quake grows."""

SPAN_S_MAX = 180.0
"""An event takes no more stations this long after it was last confirmed."""

CORE_M_MAX = 200_000.0
"""Stations farther apart found no event: over such a way any two triggers of a minute fit."""

ALOOF_OF_SIZE = 6.0
"""A station this many times farther from the others than they are from one another is not of their event."""

STATIONS_MIN = 3
STATIONS_MIN_BLUNT = 4
"""Where onsets are known to a sample, three may do; a limit passed at some reading says less."""

SHARP = ("vibration.shaking", "vibration.pick")
STATIONS_MAX = 24
"""Of many fitting neighbours the nearest decide: so many are beyond any doubt, or never enough."""

CHANCE_A_WEEK_MAX = 0.1
CHANCE_A_WEEK_AT_START = 2.0
"""At a start the background is assumed. This bound holds for that hour alone: one false event in 80 starts."""

TRIES_AN_HOUR = 10.0
"""Beyond so many triggers an hour ever more neighbourhoods are tried, and each try may hit by chance."""

ASSUMED_A_DAY = 15.0
"""Picks of a station a day before its city is known: as measured on the stations of the real quakes."""

ASSUMED_S = 1800.0
"""The assumption counts like so long a time of listening, and less and less of it while the hour fills."""

WAKES, WAKING = 5.0, 0.02
"""A city wakes within minutes, and its last hour does not know: its background may be so many times
the counted one for so much of the time, half an hour a day. That it is then tried more often, too, is
left out: it would cost every real event a station or two."""

BACKGROUND_S = 3600.0
BACKGROUND_GAP_S = 60.0
"""The background is counted over an hour that ends a minute before a trigger."""

PLUM_M = 500.0
PLUM_SEVERITY = 3
INSTANT_S = 0.3
INSTANT_V_M_S = 8000.0
"""Onsets are told in steps of a quarter second; no wave crosses a city faster than this."""

BUILDING_S = 60.0
SPOT_M = 100.0
SPOT_S = 300.0
STORM_S = 10.0
STORM_PLACES = 8
"""This many places in alarm within seconds without any other explanation are one storm: an operator
can take ten alarms in ten minutes (EEMUA 191)."""

EARTH_M = 6_371_008.8

FAMILIES = {
    "vibration": "shaking", "fire": "fire", "gas": "fire", "structure": "structure",
    "camera.fire": "fire", "camera.smoke": "fire", "camera.fall": "people", "camera.crowd": "people",
}  # fmt: skip
"""What a kind of alert speaks of; kinds that are not here stay alone but in a storm."""

MAINTAINERS = ("sensor.", "device.", "maintenance.", "health.")
"""Kinds about the sensor itself: for its maintainer, never part of an incident."""


def family_of(kind: str) -> str:
    """``shaking``, ``fire``, ``structure``, ``people``, or the kind itself."""
    return FAMILIES.get(kind) or FAMILIES.get(kind.split(".")[0]) or kind


def sense_of(kind: str) -> str:
    """Which sort of sensing an alert rests on: two sorts that agree are more than two of one."""
    return kind.split(".")[0]


def goes_with_others(kind: str) -> bool:
    """Whether a kind takes part in what happens at one spot."""
    return family_of(kind) in ("shaking", "fire", "structure", "people")


def positions(lon: ArrayLike, lat: ArrayLike) -> Float64:
    """Metres from the Earth's centre, ``(n, 3)``; NaN where a coordinate is."""
    x, y = np.radians(np.asarray(lon, np.float64)), np.radians(np.asarray(lat, np.float64))
    return EARTH_M * np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def distance_m(a: Float64, b: Float64) -> Float64:
    """Metres between positions; a chord."""
    apart = a - b
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", apart, apart)))


def fits(metres: Float64, dt_us: NDArray[np.int64]) -> Bool:
    """Whether one wave can have reached both: the time between them is no more than it needs, plus slack."""
    return np.asarray(np.abs(dt_us) <= (metres / V_M_S + SLACK_S) * 1e6)


def background_an_hour(triggers: int, listened_s: float, stations: int) -> float:
    """Triggers an hour of some ground: those counted while it was listened to, and before that assumed ones.

    ``listened_s``: how much of the last ``BACKGROUND_S``; ``stations``: how many are known there. One
    trigger an hour more than counted, or at least that assumed: nothing seen is not never.
    """
    heard = min(1.0, max(0.0, listened_s / BACKGROUND_S))
    assumed = (1 - heard) * ASSUMED_S / BACKGROUND_S
    expected = max(1.0, stations * ASSUMED_A_DAY / 24)
    return (triggers + heard + assumed * expected) / (heard + assumed)


def chance_allowed(listened_s: float) -> float:
    """False events a week to be borne: more in the first hour, which does not last a week."""
    heard = min(1.0, max(0.0, listened_s / BACKGROUND_S))
    return heard * CHANCE_A_WEEK_MAX + (1 - heard) * CHANCE_A_WEEK_AT_START


def stations_needed(
    metres: float, near_an_hour: float, all_an_hour: float, allowed: float = CHANCE_A_WEEK_MAX
) -> int:
    """The fewest stations that chance brings together less than ``allowed`` times a week.

    ``near_an_hour``: background triggers within ``metres``; ``all_an_hour``: of the network. It is a
    mixture of two Poisson laws, the city as counted and the city that wakes. More than
    ``STATIONS_MAX`` is never.
    """
    expected = near_an_hour / 3600 * 2 * (metres / V_M_S + SLACK_S)
    looks = all_an_hour * 168 * max(1.0, all_an_hour / TRIES_AN_HOUR)
    awake = WAKES * expected
    # Poisson: exactly so many others, fewer than so many; where rounding has eaten a tail, its first term does.
    term, below = math.exp(-expected), 0.0
    awake_term, awake_below = math.exp(-awake), 0.0
    for others in range(STATIONS_MAX):
        chance = (1 - WAKING) * max(1.0 - below, term) + WAKING * max(1.0 - awake_below, awake_term)
        if others + 1 >= STATIONS_MIN and chance * looks < allowed:
            return others + 1
        below += term
        term *= expected / (others + 1)
        awake_below += awake_term
        awake_term *= awake / (others + 1)
    return STATIONS_MAX + 1


def is_instant(spread_s: float, size_m: float) -> bool:
    """Whether stations ``size_m`` apart began together so fast that it was no wave."""
    return spread_s <= INSTANT_S and size_m / INSTANT_V_M_S >= 2 * INSTANT_S
