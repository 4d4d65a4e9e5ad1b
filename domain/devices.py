"""The registry's view of a device, as detectors, places and pages need it."""

from __future__ import annotations

from dataclasses import dataclass

BUILDING_CLASSES = ("commercial", "residential", "sensitive")
"""DIN 4150-3 lines 1, 2 and 3; a house of unknown kind counts as residential."""


@dataclass(frozen=True, slots=True)
class Device:
    """One registered device, camera or vehicle.

    ``key``: row number everywhere; ``run``: the exercise it belongs to, or None;
    ``lon``, ``lat``: WGS-84 degrees; ``mount``: ``foundation`` or ``top_floor``;
    ``parent``: the key of the gateway that speaks for it, if one gateway alone is named to.
    """

    key: int
    id: str
    kind: str
    name: str = ""
    run: str | None = None
    lon: float | None = None
    lat: float | None = None
    address_id: str | None = None
    building_class: str = "residential"
    mount: str = "foundation"
    period_s: float | None = None
    disabled: bool = False
    parent: int | None = None
