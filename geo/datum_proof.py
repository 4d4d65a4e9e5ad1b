"""Which datum a file is really in: the one under which its things lie where the file says they lie.

Maps hide their datum, and people fill in the wrong one. A file that names each
device's town, or outlines whose codes are known already, gives itself away: under
the right datum nearly everything lies in its declared town; GCJ-02 read as WGS-84 puts
one point in eight into another. Nothing is converted here and no datum is
chosen for anybody: the answer is a verdict with its figures.

refuse   another datum puts clearly more in place: at least ``MARGIN_MIN`` things
         and a tenth of all more than the declared one
doubt    fewer than ``FITS_SHARE`` lie in place, and no other datum is clearly better
fits     all else
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.datum import from_wgs84, to_wgs84
from geo.grids import Region
from geo.polygons import PolygonIndex

FITS_SHARE = 0.95
MARGIN_MIN = 3
MARGIN_SHARE = 0.1
OUTLINE_MARGIN = 0.02
CANDIDATES = ("wgs84", "gcj02", "bd09")
"""CGCS2000 equals WGS-84 here and stands with it."""

Verdict = Literal["fits", "doubt", "refuse"]
_SUFFIXES = ("街道", "镇", "乡", "管委会")


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing, where it was read to be (WGS-84 degrees, out of ``datum``) and the town it is said to lie in."""

    id: str
    town: str
    lon: float
    lat: float
    datum: str


@dataclass(frozen=True, slots=True)
class Proof:
    """How many of ``count`` things lie in place under each datum; ``declared`` is what the file says."""

    what: str
    count: int
    hits: Mapping[str, int]
    declared: str
    strays: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The datum that puts most in place; the declared one where it is as good."""
        return max(self.hits, key=lambda datum: (self.hits[datum], datum == self.declared))

    @property
    def verdict(self) -> Verdict:
        """See the module."""
        margin = self.hits[self.best] - self.hits[self.declared]
        in_place = self.hits[self.declared] / self.count
        if in_place < FITS_SHARE and margin >= max(MARGIN_MIN, MARGIN_SHARE * self.count):
            return "refuse"
        return "doubt" if in_place < FITS_SHARE else "fits"

    def __str__(self) -> str:
        mine = self.hits[self.declared]
        if self.best == self.declared:
            return f"{mine} of {self.count} {self.what} lie in their declared town as declared ({self.declared})"
        return (
            f"{self.hits[self.best]} of {self.count} {self.what} lie in their declared town under {self.best},"
            f" {mine} of {self.count} as declared ({self.declared})"
        )


@dataclass(frozen=True, slots=True)
class OutlineProof:
    """How much of outlines given and outlines known is the same ground (0..1), under each datum."""

    count: int
    shared: Mapping[str, float]
    declared: str

    @property
    def best(self) -> str:
        """The datum under which most ground is shared; the declared one where it is as good."""
        return max(self.shared, key=lambda datum: (self.shared[datum], datum == self.declared))

    @property
    def verdict(self) -> Verdict:
        """``refuse`` where another datum shares clearly more; borders that moved lower all of them alike."""
        return "refuse" if self.shared[self.best] - self.shared[self.declared] > OUTLINE_MARGIN else "fits"

    def __str__(self) -> str:
        other = "" if self.best == self.declared else f"{self.shared[self.best]:.1%} under {self.best}, "
        return (
            f"{self.count} outlines share with those already known {other}"
            f"{self.shared[self.declared]:.1%} of their ground as declared ({self.declared})"
        )


class Towns:
    """Outlines of towns and the ways a file may name them: code, name, name without its suffix."""

    def __init__(self, towns: Sequence[Region]) -> None:
        self.index = PolygonIndex([town.code for town in towns], [town.outline for town in towns])
        self._row = {code: row for row, code in enumerate(self.index.codes)}
        self._names = {town.code: town.name for town in towns}
        self._code_of: dict[str, str] = {}
        for town in towns:
            short = next((town.name[: -len(s)] for s in _SUFFIXES if town.name.endswith(s)), town.name)
            self._code_of.setdefault(short, town.code)
            self._code_of[town.name] = town.code

    def row(self, town: str) -> int | None:
        """The row of a town by code (9 digits, or 12 ending in 000) or name; None when it is none of ours."""
        code = town[:9] if town.isdecimal() else self._code_of.get(town, "")
        return self._row.get(code)

    def name(self, row: int) -> str:
        """The name of a row, "no town" for -1."""
        return self._names[self.index.codes[row]] if row >= 0 else "no town"


def prove_points(what: str, claims: Sequence[Claim], towns: Towns) -> list[Proof]:
    """One proof for each datum the file declares; things in towns we do not know are left out."""
    groups: dict[str, list[tuple[Claim, int]]] = {}
    for claim in claims:
        row = towns.row(claim.town)
        if row is not None:
            groups.setdefault(_plain(claim.datum), []).append((claim, row))
    return [_prove(what, datum, group, towns) for datum, group in sorted(groups.items())]


def prove_outlines(given: Sequence[Region], known: Mapping[str, Any], datum: str) -> OutlineProof | None:
    """Compare outlines with those known under the same key; None when no key is shared.

    ``given``: read as ``datum`` into WGS-84; ``known``: outlines in WGS-84 by code.
    """
    pairs = [(region.outline, known[region.code]) for region in given if region.code in known]
    if not pairs:
        return None
    declared = _plain(datum)
    theirs = shapely.make_valid(np.array([other for _, other in pairs], dtype=object))
    shared = {}
    for candidate in CANDIDATES:
        ours = shapely.make_valid(
            np.array([_reread(outline, declared, candidate) for outline, _ in pairs], dtype=object)
        )
        common = shapely.area(shapely.intersection(ours, theirs)).sum()
        shared[candidate] = float(common / (shapely.area(ours).sum() + shapely.area(theirs).sum() - common))
    return OutlineProof(len(pairs), shared, declared)


def _plain(datum: str) -> str:
    return "wgs84" if datum == "cgcs2000" else datum


def _prove(what: str, declared: str, group: Sequence[tuple[Claim, int]], towns: Towns) -> Proof:
    lon, lat = np.array([c.lon for c, _ in group]), np.array([c.lat for c, _ in group])
    wanted = np.array([row for _, row in group])
    raw = from_wgs84(lon, lat, declared)
    hits = {}
    strays: tuple[str, ...] = ()
    for candidate in CANDIDATES:
        at = to_wgs84(*raw, candidate)
        inside = _inside(towns, wanted, *at)
        hits[candidate] = int(inside.sum())
        if candidate == declared:
            found = towns.index.containing(*at)
            strays = tuple(
                f"{group[i][0].id} lies in {towns.name(int(found[i]))}, not in {towns.name(int(wanted[i]))}"
                for i in np.flatnonzero(~inside).tolist()
            )
    return Proof(what, len(group), hits, declared, strays)


def _inside(
    towns: Towns, wanted: NDArray[np.int64], lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether each point lies in its own town's outline, whichever other it may lie in too."""
    return np.asarray(shapely.intersects_xy(towns.index.outlines[wanted], lon, lat), np.bool_)


def _reread(outline: Any, declared: str, candidate: str) -> Any:
    if declared == candidate:
        return outline
    return shapely.transform(
        outline,
        lambda xy: np.column_stack(to_wgs84(*from_wgs84(xy[:, 0], xy[:, 1], declared), candidate)),
    )
