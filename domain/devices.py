"""The registry's view of a device, as detectors, places and pages need it."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from domain.addresses import address_rule
from domain.calibration import Calibration
from domain.errors import PayloadError

PARTITIONS = 256
"""Fixed for good: a device's messages stay in order only as long as its partition does not change."""

BUILDING_CLASSES = ("commercial", "residential", "sensitive")
"""DIN 4150-3 lines 1, 2 and 3; a house of unknown kind counts as residential."""


def building_of(building: str | None, address_id: str | None) -> str | None:
    """The building a device stands in: as given, else the building part of its address.

    Raises: PayloadError ``bad_building`` when it is none, or another than the address says.
    """
    rule = address_rule()
    by_address = rule.building(address_id) if address_id else None
    if building is None:
        return by_address
    if not re.fullmatch(rf"[0-9]{{{rule.building_length}}}", building):
        raise PayloadError(
            "bad_building", f"building {building!r} must be the first {rule.building_length} digits of an address"
        )
    if by_address is not None and building != by_address:
        raise PayloadError("bad_building", f"building {building} is not the one of address {address_id}")
    return building


@dataclass(frozen=True, slots=True)
class Device:
    """One registered device, camera or vehicle.

    ``key``: row number everywhere; ``run``: the exercise it belongs to, or None;
    ``lon``, ``lat``: WGS-84 degrees; ``mount``: ``foundation`` or ``top_floor``;
    ``bearing_deg``, ``fov_deg``, ``range_m``: a camera's, where they are known.
    ``product``: maker's model, as rules name it;
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
    bearing_deg: float | None = None
    fov_deg: float | None = None
    range_m: float | None = None
    product: str = ""
    town: str | None = None
    village: str | None = None
    grid: str | None = None
    parent: int | None = None
    calibration: tuple[Calibration, ...] = ()

    @property
    def partition(self) -> int:
        """Where this device's messages belong in a log of ``PARTITIONS``; the same in every process, for ever."""
        return partition_of(self.id, self.run)

    @property
    def place_code(self) -> str:
        """The longest code known of where it is: cell, village, town, or nothing."""
        return self.grid or self.village or self.town or ""


def partition_of(device_id: str, run: str | None = None) -> int:
    """CRC-32 of the id (a run's device: of ``run/id``), modulo ``PARTITIONS``."""
    return zlib.crc32(f"{run}/{device_id}".encode() if run else device_id.encode()) % PARTITIONS
