"""Which cameras can see a point, in order, and what their pictures can confirm.

A camera can see a point within its range and within half its field of view of its
bearing. That is all that is known of it: height, slope, buildings and trees in
between, and the dead ground under the mast are **ignored**, so ``can see`` means
"may be turned to first", never "has seen". Pure; many cameras at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geo.geodesy import LocalPlane
from geo.zones import ground_m

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

IGNORED = "height, slope and whatever stands in between are not known and ignored"

_ALL_ROUND_DEG = 360.0
_AT_THE_MAST_M = 1.0
VIEW_MIDDLE = 4
"""Of the points of ``ground_in_view`` the one that stands for all."""


@dataclass(frozen=True, slots=True)
class Cameras:
    """Cameras as columns ``(n,)``, WGS-84 degrees, metres; NaN = not known."""

    id: Sequence[str]
    lon: Float64
    lat: Float64
    bearing_deg: Float64
    fov_deg: Float64
    range_m: Float64

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Cameras:
        """Of registry rows with these names; None = not known."""

        def column(name: str) -> Float64:
            return np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)

        return cls(
            [str(row["id"]) for row in rows], column("lon"), column("lat"), column("bearing_deg"),
            column("fov_deg"), column("range_m"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sight:
    """How each camera stands to one point, ``(n,)``.

    ``bearing_deg``: from the camera to the point, 0..360 from north; ``off_axis_deg``:
    between that and where the camera looks, 0..180, NaN when not known; ``can_see``
    holds where ``known``; ``score`` in 0..1 orders the cameras that can see.
    """

    distance_m: Float64
    bearing_deg: Float64
    off_axis_deg: Float64
    known: Bool
    can_see: Bool
    score: Float64

    def order(self, ids: Sequence[str]) -> list[int]:
        """Cameras that can see, best first; then those nobody knows of, then the others, nearest first."""
        rank = np.where(self.can_see, 0, np.where(self.known, 2, 1))
        within = np.where(self.can_see, 1.0 - self.score, self.distance_m)
        keys = zip(rank.tolist(), within.tolist(), ids, range(len(ids)), strict=True)
        return [row for *_, row in sorted(keys)]


def look(cameras: Cameras, lon: ArrayLike, lat: ArrayLike) -> Sight:
    """How many cameras stand to a WGS-84 point, or one camera to many points.

    A camera that looks all round (360 degrees) needs no bearing. A point within a
    metre of the mast has no direction and counts as on the axis. Score = half
    nearness (1 at the camera, 0 at its range), half centredness (1 on the axis, 0 at
    the edge of the picture).
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    distance = ground_m(cameras.lon, cameras.lat, lon, lat)
    east = (lon - cameras.lon) * np.cos(np.radians((lat + cameras.lat) / 2.0))
    bearing = np.degrees(np.arctan2(east, lat - cameras.lat)) % 360.0
    off_axis = np.abs((bearing - cameras.bearing_deg + 180.0) % 360.0 - 180.0)
    free = (cameras.fov_deg >= _ALL_ROUND_DEG) | (distance <= _AT_THE_MAST_M)
    off_axis = np.where(free, 0.0, off_axis)
    in_range, in_angle = distance <= cameras.range_m, off_axis <= cameras.fov_deg / 2.0
    # What is certainly out of range or out of the picture needs no other number to be known.
    never = (distance > cameras.range_m) | (off_axis > cameras.fov_deg / 2.0)
    can_see = np.asarray(in_range & in_angle)
    with np.errstate(invalid="ignore", divide="ignore"):
        near = 1.0 - distance / cameras.range_m
        centred = 1.0 - np.where(free, 0.0, off_axis / (cameras.fov_deg / 2.0))
    score = np.where(can_see, np.round(0.5 * near + 0.5 * centred, 3), 0.0)
    return Sight(distance, bearing, off_axis, can_see | never, can_see, score)


def sight_json(sight: Sight, row: int) -> dict[str, Any]:
    """One camera's row of a Sight; ``can_see`` null = its lens is not known."""
    off_axis = float(sight.off_axis_deg[row])
    return {
        "distance_m": round(float(sight.distance_m[row]), 1),
        "bearing_deg": round(float(sight.bearing_deg[row]), 1),
        "off_axis_deg": None if np.isnan(off_axis) else round(off_axis, 1),
        "can_see": bool(sight.can_see[row]) if sight.known[row] else None,
        "score": float(sight.score[row]),
    }


def ground_in_view(
    lon: float, lat: float, bearing_deg: float, fov_deg: float, range_m: float, box: Sequence[float] | None = None
) -> tuple[Float64, Float64]:
    """Nine WGS-84 points of the ground a camera looks at, or of the part where ``box`` lies in its picture.

    Left, middle and right at a quarter, half and three quarters of the range; the
    point in the middle is row 4 and stands for all. How far away something is cannot
    be read from a picture without the mast's height and tilt, so the middle of
    the range is as good as known.
    """
    left, right = (box[0], box[2]) if box is not None else (0.0, 1.0)
    across = np.array([left, (left + right) / 2.0, right]) - 0.5
    bearing = np.radians(bearing_deg + np.tile(across, 3) * min(fov_deg, _ALL_ROUND_DEG))
    metres = np.repeat([0.25, 0.5, 0.75], 3) * range_m
    if fov_deg >= _ALL_ROUND_DEG and box is None:
        metres = np.where(np.arange(9) == VIEW_MIDDLE, 0.0, metres)  # all round: the mast itself is the middle
    return LocalPlane(lon, lat).to_lonlat(metres * np.sin(bearing), metres * np.cos(bearing))


PICTURE_SHOWS: Mapping[str, tuple[str, str]] = {
    # alert kind, with all below it: what to look for
    "fire": ("明火、烟雾、人员疏散", "flames, smoke, people leaving"),
    "camera": ("画面中的同一情形", "the same scene in the picture"),
    "flood": ("路面积水深度、被困车辆", "depth of the water, stranded vehicles"),
    "truck": ("车厢是否密闭、遗撒、车牌", "cover of the bed, spill, number plate"),
    "site": ("扬尘、施工机械", "dust, machines at work"),
    "structure": ("墙体开裂、倾斜、掉落物", "cracks, lean, debris"),
}
"""Not here: vibration (a picture shows no millimetres per second), gas, faults of devices."""


def what_a_picture_shows(kind: str) -> dict[str, str] | None:
    """What to look for in a picture to confirm an alert of this kind; None = no picture can."""
    words = PICTURE_SHOWS.get(kind.split(".")[0])
    return {"zh": words[0], "en": words[1]} if words else None


def confirmable(camera: Cameras, kinds: Sequence[str], lon: Float64, lat: Float64) -> list[tuple[int, float]]:
    """Which of many alerts (``kinds``, points ``(n,)``, NaN = no place) one camera's picture can confirm.

    Rows with their score, best first.
    """
    seen = look(camera, lon, lat)
    found = [
        (alert, float(seen.score[alert]))
        for alert in np.flatnonzero(seen.can_see).tolist()
        if what_a_picture_shows(kinds[alert]) is not None
    ]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))
