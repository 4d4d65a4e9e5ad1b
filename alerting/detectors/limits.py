"""Limits of building vibration: standards as data, and the limit of a class at a place and frequency.

The tables stand in ``standards.toml`` with their sources; a rule may bring its own in
the same form. A table has, for each place of the sensor (``foundation``,
``top_floor``, ``slab``, ``pipe``), values in mm/s for each class over corner
frequencies (linear between them, constant outside) or over steps. Below the first
corner a displacement may hold instead: v = 2π f d. A frequency that is not known
(NaN) counts as the strictest of its class.

Left out because no detector here computes the quantity: GB 10070-88 (VLz in dB needs
the Z weighting of ISO 2631 and a 10 % level over the measuring time) and DIN 4150-2
(KB_Fmax needs the KB weighting and takts of 30 s).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.devices import BUILDING_CLASSES
from domain.readings import Float64

PLACES = ("foundation", "top_floor", "slab", "pipe")
Component = Literal["largest", "vector", "horizontal", "vertical"]
Value = Annotated[float, Field(gt=0, le=10_000)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Curve(_Data):
    """Limits at one place: ``mm_s`` per class over ``hz``, see ``standards.toml``."""

    component: Component = "largest"
    hz: tuple[float | str, ...] = ()
    mm_s: dict[Name, tuple[Value, ...]] = Field(min_length=1)
    displacement_mm: dict[Name, Value] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shape(self) -> Curve:
        steps = any(isinstance(f, str) for f in self.hz)
        if steps and not all(isinstance(f, str) for f in self.hz):
            raise ValueError('hz: either corner frequencies (numbers) or edges of steps ("<30", "<=60"), not both')
        edges = self.edges
        if any(f <= 0 or not math.isfinite(f) for f in edges) or any(
            a >= b for a, b in pairwise(edges)
        ):
            raise ValueError("hz: frequencies must be above 0 and rise")
        wanted = len(edges) + 1 if steps or not edges else len(edges)
        for name, values in self.mm_s.items():
            if len(values) != wanted:
                raise ValueError(f"mm_s.{name}: {wanted} values are needed for {len(edges)} frequencies")
        if unknown := set(self.displacement_mm) - set(self.mm_s):
            raise ValueError(f"displacement_mm: no such class in mm_s: {', '.join(sorted(unknown))}")
        if self.displacement_mm and (steps or not edges):
            raise ValueError("displacement_mm needs corner frequencies: it holds below the first")
        return self

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """The frequencies as numbers."""
        return tuple(_edge(f)[0] for f in self.hz)

    def limit_mm_s(self, name: str, freq_hz: Float64) -> Float64:
        """The limit of class ``name`` at frequencies ``(n,)``; NaN gives the strictest value."""
        values = np.array(self.mm_s[name])
        f = np.asarray(freq_hz, float)
        known = np.nan_to_num(f, nan=0.0)
        if not self.hz:
            return np.full(f.shape, values[0])
        if isinstance(self.hz[0], str):
            past = sum((known > edge) if closed else (known >= edge) for edge, closed in map(_edge, self.hz))
            out = values[np.asarray(past, np.intp)]
        else:
            out = np.interp(known, self.edges, values)
            if name in self.displacement_mm:
                by_travel = 2 * np.pi * known * self.displacement_mm[name]
                out = np.where(known < self.edges[0], np.minimum(by_travel, values[0]), out)
        return np.asarray(np.where(np.isnan(f), values.min(), out))


def _edge(f: float | str) -> tuple[float, bool]:
    """An edge as (frequency, whether the step below includes it). Raises: ValueError."""
    if not isinstance(f, str):
        return float(f), True
    closed = f.startswith("<=")
    try:
        if not f.startswith("<"):
            raise ValueError
        return float(f.removeprefix("<").removeprefix("=")), closed
    except ValueError:
        raise ValueError(f'hz: {f!r} is no edge; write "<30" or "<=60"') from None


class LimitTable(_Data):
    """One standard, or a table of the user's own."""

    name: Name
    source: str = ""
    verified: bool = False
    classes: dict[Name, Name] = Field(default_factory=dict)
    unverified_classes: tuple[Name, ...] = ()
    foundation: Curve | None = None
    top_floor: Curve | None = None
    slab: Curve | None = None
    pipe: Curve | None = None

    @model_validator(mode="after")
    def _whole(self) -> LimitTable:
        curves = [curve for curve in map(self.curve, PLACES) if curve is not None]
        if not curves:
            raise ValueError(f"a table needs limits at one place at least: {', '.join(PLACES)}")
        named = {name for curve in curves for name in curve.mm_s}
        for what in (set(self.classes.values()), set(self.unverified_classes)):
            if unknown := what - named:
                raise ValueError(f"classes: no limits for {', '.join(sorted(unknown))}")
        return self

    def curve(self, place: str) -> Curve | None:
        """The limits at a place; None: the standard has none there."""
        found = getattr(self, place)
        return found if isinstance(found, Curve) else None

    def class_of(self, building_class: str) -> str:
        """The table's own class of a building class; an unknown word counts as residential."""
        known = building_class if building_class in BUILDING_CLASSES else "residential"
        return self.classes.get(known, known)

    def is_verified(self, name: str) -> bool:
        """Whether the values of this class have been checked against the standard."""
        return self.verified and name not in self.unverified_classes

    def limit_mm_s(self, building_class: str, freq_hz: float | None, place: str = "foundation") -> float:
        """One limit; infinite where the standard says nothing. ``freq_hz`` None: the strictest."""
        curve, name = self.curve(place), self.class_of(building_class)
        if curve is None:
            return math.inf
        f = np.array([np.nan if freq_hz is None else freq_hz])
        return float(curve.limit_mm_s(name if name in curve.mm_s else building_class, f)[0])


@cache
def standards() -> Mapping[str, LimitTable]:
    """The built-in tables by the name a rule calls them."""
    text = (Path(__file__).parent / "standards.toml").read_text(encoding="utf-8")
    return {name: LimitTable.model_validate(table) for name, table in tomllib.loads(text).items()}


@dataclass(frozen=True, slots=True)
class Limits:
    """A table with a rule's choices: limits for rows, by class number and place number.

    ``classes``: the table's class for each of ``BUILDING_CLASSES``; ``place``: None = as
    the sensor is mounted, else the same for all sensors of the rule.
    """

    table: LimitTable
    classes: tuple[str, ...]
    place: str | None = None

    def place_of(self, mount: str) -> str:
        """Where the limit is taken for a sensor mounted there."""
        return self.place or mount

    def component(self, place: str) -> Component:
        """Which component is judged there."""
        curve = self.table.curve(place)
        return "largest" if curve is None else curve.component

    def of(self, number: NDArray[np.intp], places: NDArray[np.intp], freq_hz: Float64) -> Float64:
        """Limits ``(n,)`` in mm/s by class number, place number and frequency; infinite where there is none."""
        out = np.full(len(number), np.inf)
        code = number * len(PLACES) + places
        for each in np.unique(code):
            k, p = divmod(int(each), len(PLACES))
            curve, mine = self.table.curve(PLACES[p]), code == each
            if curve is not None and self.classes[k] in curve.mm_s:
                out[mine] = curve.limit_mm_s(self.classes[k], freq_hz[mine])
        return out

    def strictest(self, from_hz: float) -> float:
        """No limit of this table is lower at frequencies of ``from_hz`` and above."""
        lowest = [math.inf]
        for place in (self.place,) if self.place else PLACES:
            curve = self.table.curve(place)
            for name in set(self.classes) & set(curve.mm_s if curve else ()):
                assert curve is not None
                lowest.append(min(curve.mm_s[name]))
                lowest.append(float(curve.limit_mm_s(name, np.array([from_hz]))[0]))
        return min(lowest)


def class_number(building_class: str) -> int:
    """0 commercial, 1 residential, 2 sensitive; an unknown word counts as residential."""
    return BUILDING_CLASSES.index(building_class) if building_class in BUILDING_CLASSES else 1
