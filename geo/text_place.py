"""The place of an address text, with a coordinate beside it if there is one: the method ``text``.

Candidates and the score they earn (times the trust in the form of the name):

village with its town named     0.85     town named                   0.75
village alone, of one name      0.75     village alone, of n names    0.75 / n
road with addresses in n towns  0.5 / n (n at most 5)
address found by its number     0.95 with town or village named, 0.7 by road and number alone

A coordinate that agrees with a candidate raises it half way to 1. Where sources
disagree (``geo.conflicts``) nothing scores more than 0.3, and a coordinate's
place goes before the text's. Of several best candidates in different places none is taken:
the place is unknown, and the candidates say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from domain.addresses import ID_DIGITS_MIN
from domain.places import UNKNOWN_PLACE, Place
from geo.conflicts import Conflict, find_conflicts
from geo.gazetteer import Named
from geo.locate import Locator
from geo.parse import ParsedAddress, parse_address
from geo.search import AddressFinder

VILLAGE_IN_TOWN, VILLAGE_ALONE, TOWN_NAMED, BY_ROAD = 0.85, 0.75, 0.75, 0.5
ADDRESS_NAMED, ADDRESS_BY_ROAD = 0.95, 0.7
CONFLICT_SCORE_MAX, CONFLICT_TEXT_MAX = 0.3, 0.25
ROAD_TOWNS_MAX = 5
_STRETCH = 0.6


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place that may be meant: a town's, village's or address's code, and why."""

    code: str
    score: float
    reasons: tuple[str, ...]

    @property
    def town(self) -> str:
        """The 9-digit town."""
        return self.code[:9]


@dataclass(frozen=True, slots=True)
class TextPlace:
    """The place of a text; ``candidates`` best first, ``conflicts`` stated and not settled."""

    place: Place
    candidates: tuple[Candidate, ...]
    conflicts: tuple[Conflict, ...]
    reasons: tuple[str, ...]
    parsed: ParsedAddress


def locate_text(
    text: str, locator: Locator, finder: AddressFinder, lon: float | None = None, lat: float | None = None
) -> TextPlace:
    """Where an address is by its words and, if given, its WGS-84 coordinate."""
    gazetteer = finder.gazetteer
    parsed = parse_address(text, gazetteer)
    road_towns = finder.towns_of_road(parsed.road) if parsed.road else frozenset()
    point = locator.points(np.array([lon]), np.array([lat]))[0] if lon is not None and lat is not None else None
    conflicts = find_conflicts(parsed, road_towns, gazetteer.names, point)
    candidates = _by_words(parsed, road_towns, gazetteer.names)
    candidates = _by_number(parsed, candidates, finder)
    if point is not None and point.town is not None:
        candidates = _beside_point(candidates, point, conflicts)
    if conflicts:
        candidates = [_capped(c, CONFLICT_SCORE_MAX) for c in candidates]
    ranked = tuple(sorted(candidates, key=lambda c: (-c.score, -len(c.code), c.code)))
    reasons = (*parsed.notes, *(conflict.said for conflict in conflicts))
    return TextPlace(_place(ranked, locator, point), ranked, conflicts, reasons, parsed)


def _by_words(parsed: ParsedAddress, road_towns: frozenset[str], names: dict[str, str]) -> list[Candidate]:
    towns, villages = parsed.towns, parsed.villages
    own = [v for v in villages if v.town in {t.code for t in towns}]
    if own:
        trust = max(t.trust for t in towns)
        return [_named(v, VILLAGE_IN_TOWN * max(v.trust, 0.9) * trust / len(own)) for v in own]
    if towns or villages:
        said: list[Candidate] = [_named(t, TOWN_NAMED * t.trust / len(towns)) for t in towns]
        return said + [_named(v, VILLAGE_ALONE * v.trust / len(villages)) for v in villages]
    if parsed.section:
        return [_named(t, _STRETCH * t.trust) for t in parsed.section]
    if 0 < len(road_towns) <= ROAD_TOWNS_MAX:
        why = f"the road {parsed.road} has addresses there"
        return [Candidate(code, BY_ROAD / len(road_towns), (why,)) for code in sorted(road_towns)]
    return []


def _named(named: Named, score: float) -> Candidate:
    how = "" if named.kind == "official" else f" ({named.kind})"
    return Candidate(named.code, round(score, 3), (f"{named.level} {named.said}{how}",))


def _by_number(parsed: ParsedAddress, candidates: list[Candidate], finder: AddressFinder) -> list[Candidate]:
    """Candidates made finer where road and number lead to one address in them."""
    road = parsed.road or parsed.hamlet
    if not road or not parsed.number:
        return candidates
    finer = []
    for candidate in candidates:
        found = finder.exact(candidate.code, road, parsed.number)
        if len(found) == 1:
            named = bool(parsed.towns or parsed.villages)
            share = candidate.score / (TOWN_NAMED if named else BY_ROAD)
            score = min((ADDRESS_NAMED if named else ADDRESS_BY_ROAD) * share, ADDRESS_NAMED)
            reasons = (*candidate.reasons, f"{road}{parsed.number}号 is an address there")
            candidate = Candidate(found[0], round(score, 3), reasons)
        finer.append(candidate)
    return finer


def _beside_point(
    candidates: Sequence[Candidate], point: Place, conflicts: Sequence[Conflict]
) -> list[Candidate]:
    """Candidates after the coordinate spoke: agreeing ones rise, and it is one itself where none agrees."""
    assert point.town is not None
    agreeing = [c for c in candidates if c.town == point.town]
    if agreeing and not conflicts:
        why = "the coordinate lies in this town"
        risen = [Candidate(c.code, round((1 + c.score) / 2, 3), (*c.reasons, why)) for c in agreeing]
        return risen + [_capped(c, CONFLICT_TEXT_MAX) for c in candidates if c.town != point.town]
    code = point.village or point.town
    own = Candidate(code, min(max(point.score, CONFLICT_SCORE_MAX), 1.0), ("the coordinate lies there",))
    if not candidates:
        return [own]
    return [_capped(own, CONFLICT_SCORE_MAX), *(_capped(c, CONFLICT_TEXT_MAX) for c in candidates)]


def _capped(candidate: Candidate, most: float) -> Candidate:
    return replace(candidate, score=min(candidate.score, most))


def _place(ranked: Sequence[Candidate], locator: Locator, point: Place | None) -> Place:
    """The best candidate's place; unknown when another is as good and lies elsewhere."""
    if not ranked:
        return point if point is not None else UNKNOWN_PLACE
    best = ranked[0]
    if any(c.score == best.score and not best.code.startswith(c.code) for c in ranked[1:]):
        return UNKNOWN_PLACE
    if point is not None and best.reasons == ("the coordinate lies there",):
        return replace(point, score=min(point.score, best.score))
    if len(best.code) >= ID_DIGITS_MIN:
        return replace(locator.device(best.code, None, None), score=best.score, method="text")
    village = best.code if len(best.code) == 12 else None
    names = locator.names_of(best.code)
    return Place(
        None, None, None, best.score, "text", None, village, best.town, names, locator.version
    )
