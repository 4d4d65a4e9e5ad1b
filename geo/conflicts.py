"""What an address says against itself, against the roads that are known, and against its coordinate.

A conflict is stated, never settled here: who is right differs from case to case (a
moved shop, a wrong datum, a doubled village name), and an alarm sent to the wrong
town looks just as sure as one sent to the right one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.places import Place
from geo.gazetteer import Named
from geo.parse import ParsedAddress


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two sources that name different places: ``between`` them, their codes, and a sentence."""

    between: tuple[str, str]
    codes: tuple[tuple[str, ...], tuple[str, ...]]
    said: str


def find_conflicts(
    parsed: ParsedAddress, road_towns: Collection[str], names: Mapping[str, str], point: Place | None = None
) -> tuple[Conflict, ...]:
    """Every pair that disagrees.

    ``road_towns``: towns where the road has addresses; ``point``: where the coordinate lies.
    """
    return tuple(_within_text(parsed, road_towns, names)) + tuple(_with_point(parsed, names, point))


def towns_said(parsed: ParsedAddress) -> frozenset[str]:
    """Every town the words may mean, by town or by village."""
    return _towns(parsed.towns) | _towns(parsed.villages)


def _within_text(
    parsed: ParsedAddress, road_towns: Collection[str], names: Mapping[str, str]
) -> Iterator[Conflict]:
    towns, villages, section = _towns(parsed.towns), _towns(parsed.villages), _towns(parsed.section)
    if len({named.said for named in parsed.towns}) > 1 and len(towns) > 1:
        first, second = sorted(towns)[:2]
        yield _conflict(("town", "town"), {first}, {second}, names)
    if towns and villages and not towns & villages:
        yield _conflict(("town", "village"), towns, {v.code for v in parsed.villages}, names)
    said = towns | villages
    if said and section and not said & section:
        yield _conflict(("town", "stretch of road"), said, section, names)
    if said and road_towns and not said & frozenset(road_towns):
        yield _conflict(("town", "road"), said, road_towns, names, parsed.road)


def _with_point(parsed: ParsedAddress, names: Mapping[str, str], point: Place | None) -> Iterator[Conflict]:
    if point is None or point.town is None:
        return
    said = towns_said(parsed)
    villages = {named.code for named in parsed.villages}
    if said and point.town not in said:
        yield _conflict(("text", "coordinate"), said, {point.town}, names)
    elif villages and point.village is not None and point.village not in villages:
        yield _conflict(("village", "coordinate"), villages, {point.village}, names)


def _conflict(
    between: tuple[str, str], one: Collection[str], other: Collection[str], names: Mapping[str, str], of: str = ""
) -> Conflict:
    left, right = tuple(sorted(one)), tuple(sorted(other))
    subject = f"the {between[1]} {of}".rstrip()
    said = f"the {between[0]} says {_list(left, names)}, {subject} says {_list(right, names)}"
    return Conflict(between, (left, right), said)


def _list(codes: Sequence[str], names: Mapping[str, str]) -> str:
    shown = [names.get(c[:9], c[:9]) + (names.get(c, c) if len(c) > 9 else "") for c in codes[:3]]
    return " or ".join(shown) + (f" or {len(codes) - 3} more" if len(codes) > 3 else "")


def _towns(several: Sequence[Named]) -> frozenset[str]:
    return frozenset(named.town for named in several)
