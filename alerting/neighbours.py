"""Alerts on a border: the units of the territory next door are told too, and one lead stays.

The own side leads. The neighbour's units help (``co``) with the distance's reason;
who is told already, or only maintains the device or owns the building, is not told
a second time. Pure; ``route`` is whatever finds the duties of a place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from alerting.dispatch.duties import Routing, Step
from domain.places import IN_VIEW, Duty, Place

TOLD_NEXT_DOOR = ("lead", "co")
"""Roles that a neighbour's unit is told for."""


def with_neighbours(
    own: Sequence[Duty], place: Place, route: Callable[[Place], Sequence[Duty]]
) -> tuple[Duty, ...]:
    """The duties of an alert at ``place``, with those of its neighbours behind them, each unit once."""
    told = {duty.unit: duty for duty in own}
    for neighbour in neighbour_places(place):
        for duty in route(neighbour):
            if duty.role in TOLD_NEXT_DOOR:
                told.setdefault(duty.unit, replace(duty, role="co", why=_and(why_told(neighbour), duty.why)))
    return tuple(told.values())


def explained(own: Routing, place: Place, explain: Callable[[Place], Routing]) -> Routing:
    """``with_neighbours`` of a routing that shows its steps: one more for each unit told next door."""
    duties = with_neighbours(own.duties, place, lambda beside: explain(beside).duties)
    added = duties[len(own.duties) :]
    return replace(own, duties=duties, steps=(*own.steps, *(Step(d.unit, "told", d.why) for d in added)))


def neighbour_places(place: Place) -> Iterator[Place]:
    """The territories next door, or in the same camera's view, as places, nearest first."""
    beside = IN_VIEW if place.method == IN_VIEW else "border"
    for code in place.neighbours:
        village = code[:12] if len(code) >= 12 else None
        names = {level: name for level, name in place.names.items() if level.startswith("city")}
        for level, part in (("village", village), ("town", code[:9])):
            for language in ("", "_en"):
                name = place.names.get(f"{part}{language}")
                if name:
                    names[f"{level}{language}"] = name
        yield Place(
            None, None, None, place.score, beside, code if len(code) == 15 else None, village, code[:9], names,
            place.data_version,
        )  # fmt: skip


def why_told(neighbour: Place) -> str:
    """The reason of a neighbour's unit, Chinese and English."""
    code = neighbour.grid or neighbour.village or neighbour.town or ""
    zh = neighbour.names.get("village") or neighbour.names.get("town") or code
    english = neighbour.names.get("village_en") or neighbour.names.get("town_en") or zh
    cell = code[12:]
    zh, english = (f"{zh}{cell}网格", f"{english} cell {cell}") if cell else (zh, english)
    if neighbour.method == IN_VIEW:
        return f"{zh}也在画面范围内 · the camera sees {english} too"
    return f"临近边界：{zh}在旁 · near the border of {english}"


def _and(reason: str, another: str) -> str:
    """Two reasons in the form ``中文 · English`` as one of that form."""
    zh, english = reason.split(" · ")
    other, _, other_english = another.partition(" · ")
    return f"{zh}；{other} · {english}; {other_english or other}"
