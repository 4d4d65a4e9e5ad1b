"""The registry's devices as sites that scenarios can use."""

from __future__ import annotations

import math
from collections.abc import Iterable

from db.devices import load_devices
from db.pool import connect, unavailable
from domain.devices import Device
from simulators.devices import Site

TOWN_DIGITS = 9
"""An address id begins with its town's code."""


def sites_of(devices: Iterable[Device]) -> list[Site]:
    """Real, enabled devices with a position, and vehicles, which need none."""
    sites = []
    for device in devices:
        if device.run is not None or device.disabled or (device.lon is None and device.kind != "vehicle"):
            continue
        lon, lat = (device.lon, device.lat) if device.lon is not None else (math.nan, math.nan)
        assert lat is not None
        town = device.address_id[:TOWN_DIGITS] if device.address_id else None
        sites.append(
            Site(device.id, device.kind, lon, lat, device.address_id, town, device.building_class, device.mount)
        )
    return sites


async def load_sites(database_url: str) -> list[Site]:
    """The sites of a running server's registry. Raises: DatabaseUnavailable."""
    async with await connect(database_url, name="gridpulse-sites") as conn:
        with unavailable("reading the devices"):
            return sites_of(await load_devices(conn))
