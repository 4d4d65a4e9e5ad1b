"""Which alerts somebody wants: one meaning for the REST list, the snapshot and the live feed.

``AlertFilter.matches`` is that meaning over one alert; ``sql_parameters`` hands the
same to the queries' ``ALERT_MATCHES`` (a test holds the two against each other).
A user's area is no filter: it is checked first and apart (``domain.people.Actor``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from domain.alerts import SEVERITIES
from domain.errors import PayloadError
from domain.people import Actor

VALUES_MAX = 1000
"""Most values of one field of a filter."""


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """What filters and areas look at in an alert."""

    severity: int
    kind: str
    town: str | None
    village: str | None
    grid: str | None
    lon: float | None
    lat: float | None
    exercise: str | None


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Empty fields let everything through; the fields are joined by *and*.

    ``grid``: prefixes of 15-digit cell codes (a village code is one); ``kind``: whole
    kinds, or a prefix with ``*`` at the end; ``bbox``: west, south, east, north;
    ``exercise``: None = real alerts only, ``any`` = all, else the run's own;
    ``without``: prefixes with ``*`` of kinds that are left out.
    """

    severity: tuple[int, ...] = ()
    town: tuple[str, ...] = ()
    grid: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    bbox: tuple[float, float, float, float] | None = None
    exercise: str | None = None
    without: tuple[str, ...] = ()

    def for_eyes_of(self, actor: Actor) -> AlertFilter:
        """The filter without the kinds the account is not to be bothered with, unless it asks for them by name."""
        return self if self.kind else replace(self, without=actor.blind_to)

    def matches(self, alert: AlertFacts) -> bool:
        """Whether the alert passes."""
        return (
            self.matches_exercise(alert.exercise)
            and (not self.severity or alert.severity in self.severity)
            and (not self.town or alert.town in self.town)
            and (not self.grid or (alert.grid or "").startswith(self.grid))
            and (not self.kind or any(kind_matches(alert.kind, wanted) for wanted in self.kind))
            and not any(kind_matches(alert.kind, unwanted) for unwanted in self.without)
            and (self.bbox is None or inside(self.bbox, alert.lon, alert.lat))
        )

    def matches_exercise(self, exercise: str | None) -> bool:
        """Whether things of this run (None = real) are wanted."""
        return self.exercise == "any" or self.exercise == exercise

    def sql_parameters(self) -> dict[str, Any]:
        """The parameters of ``ALERT_MATCHES``: None where a field is empty."""
        west, south, east, north = self.bbox or (None, None, None, None)
        return {
            "severity": list(self.severity) or None,
            "town": list(self.town) or None,
            "grid": list(self.grid) or None,
            "kind": [k for k in self.kind if not k.endswith("*")] or ([] if self.kind else None),
            "kind_prefix": [k[:-1] for k in self.kind if k.endswith("*")],
            "without_prefix": [k.removesuffix("*") for k in self.without],
            "west": west, "south": south, "east": east, "north": north,
            "exercise": self.exercise,
        }  # fmt: skip


def kind_matches(kind: str, wanted: str) -> bool:
    """``vibration.*`` takes every kind that begins with ``vibration.``."""
    return kind.startswith(wanted[:-1]) if wanted.endswith("*") else kind == wanted


def inside(bbox: tuple[float, float, float, float], lon: float | None, lat: float | None) -> bool:
    """Whether a point lies in west, south, east, north; nothing unplaced does."""
    west, south, east, north = bbox
    return lon is not None and lat is not None and west <= lon <= east and south <= lat <= north


def facts_of(alert: Mapping[str, Any]) -> AlertFacts:
    """The facts of an alert in the contract's JSON form."""
    place = alert.get("place") or {}
    location = alert.get("location") or {}
    return AlertFacts(
        severity=alert["severity"],
        kind=alert["kind"],
        town=place.get("town"),
        village=place.get("village"),
        grid=place.get("grid"),
        lon=location.get("lon"),
        lat=location.get("lat"),
        exercise=alert.get("exercise"),
    )


def parse_filter(given: Mapping[str, Any], exercise: object = None) -> AlertFilter:
    """A filter from a client's JSON.

    ``exercise``: beside the filter or in it; true = all runs, a string = that run.
    Raises: PayloadError ``bad_filter`` naming the field.
    """
    unknown = set(given) - {"severity", "town", "grid", "kind", "bbox", "exercise"}
    if unknown:
        raise PayloadError("bad_filter", f"no such field: {', '.join(sorted(map(str, unknown)))}")
    return AlertFilter(
        severity=parse_severities(given.get("severity")),
        town=texts("town", given.get("town")),
        grid=texts("grid", given.get("grid")),
        kind=texts("kind", given.get("kind")),
        bbox=parse_bbox(given.get("bbox")),
        exercise=parse_exercise(given.get("exercise", exercise)),
    )


def values(name: str, given: object) -> list[Any]:
    """A field's values: a list, one value, or nothing."""
    if given is None:
        return []
    found = list(given) if isinstance(given, list | tuple) else [given]
    if len(found) > VALUES_MAX:
        raise PayloadError("bad_filter", f"{name}: at most {VALUES_MAX} values")
    return found


def parse_severities(given: object) -> tuple[int, ...]:
    """Severities 1 to 4, as numbers."""
    found = values("severity", given)
    if any(type(value) is not int or value not in SEVERITIES for value in found):
        raise PayloadError("bad_filter", "severity: 1 (red) to 4 (blue)")
    return tuple(sorted(set(found)))


def texts(name: str, given: object) -> tuple[str, ...]:
    """Non-empty texts, sorted, so that equal filters are one view."""
    found = values(name, given)
    if any(not isinstance(value, str) or not value or len(value) > 64 or "\0" in value for value in found):
        raise PayloadError("bad_filter", f"{name}: texts of 1 to 64 characters")
    return tuple(sorted(set(found)))


def parse_bbox(given: object) -> tuple[float, float, float, float] | None:
    """``[west, south, east, north]`` in WGS-84 degrees."""
    if given is None or given == []:
        return None
    numbers = [float(v) for v in values("bbox", given) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise PayloadError("bad_filter", "bbox: four numbers, west, south, east, north")
    west, south, east, north = numbers
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise PayloadError("bad_filter", "bbox: west <= east and south <= north, in degrees")
    return west, south, east, north


def parse_exercise(given: object) -> str | None:
    """None or false = real alerts only, true or ``any`` = all, else a run."""
    if given is None or given is False:
        return None
    if given is True:
        return "any"
    if isinstance(given, str) and 0 < len(given) <= 64 and "\0" not in given:
        return given
    raise PayloadError("bad_filter", "exercise: true, `any`, or a run's name")


def from_query(
    severity: Iterable[int], town: Iterable[str], grid: Iterable[str], kind: Iterable[str],
    bbox: str | None, exercise: str | None,
) -> AlertFilter:  # fmt: skip
    """A filter from query parameters; ``bbox`` is ``w,s,e,n``. Raises: PayloadError."""
    corners: list[float] = []
    if bbox:
        try:
            corners = [float(part) for part in bbox.split(",")]
        except ValueError as error:
            raise PayloadError("bad_filter", "bbox: four numbers, west,south,east,north") from error
    given = {
        "severity": list(severity), "town": list(town), "grid": list(grid), "kind": list(kind),
        "bbox": corners or None,
    }  # fmt: skip
    return parse_filter(given, exercise or None)
