"""The registry's view of a device, as detectors, places and pages need it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from domain.errors import PayloadError

BUILDING_CLASSES = ("commercial", "residential", "sensitive")
"""DIN 4150-3 lines 1, 2 and 3; a house of unknown kind counts as residential."""

BUILDING_DIGITS = 19
"""The building part of a 25-digit address; what follows names the room."""


def building_of(building: str | None, address_id: str | None) -> str | None:
    """The building a device stands in: as given, else the building part of its address.

    Raises: PayloadError ``bad_building`` when it is none, or another than the address says.
    """
    by_address = address_id[:BUILDING_DIGITS] if address_id else None
    if building is None:
        return by_address
    if not re.fullmatch(rf"[0-9]{{{BUILDING_DIGITS}}}", building):
        raise PayloadError("bad_building", f"building {building!r} must be the first 19 digits of an address")
    if by_address is not None and building != by_address:
        raise PayloadError("bad_building", f"building {building} is not the one of address {address_id}")
    return building


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
