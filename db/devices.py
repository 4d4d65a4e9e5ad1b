"""The device registry's rows; every change wakes all processes that hold a copy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import Any

from db.pool import Connection
from domain.calibration import calibrations_of
from domain.devices import Device
from domain.places import Place

CHANNEL = "device_changed"

UPSERT = """
INSERT INTO device (id, run, kind, name, lon, lat, datum_given, address_id, building_class, mount, period_s,
                    product, building, floor, calibration, town, village, grid, generated)
VALUES (%(id)s, %(run)s, %(kind)s, %(name)s, %(lon)s, %(lat)s, %(datum_given)s, %(address_id)s,
        %(building_class)s, %(mount)s, %(period_s)s, %(product)s, %(building)s, %(floor)s,
        %(calibration)s::jsonb, %(town)s, %(village)s, %(grid)s, %(generated)s)
ON CONFLICT (id, coalesce(run, '')) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, lon = excluded.lon, lat = excluded.lat,
    datum_given = excluded.datum_given, address_id = excluded.address_id,
    building_class = excluded.building_class, mount = excluded.mount, period_s = excluded.period_s,
    product = excluded.product, building = excluded.building, floor = excluded.floor,
    calibration = excluded.calibration,
    town = excluded.town, village = excluded.village, grid = excluded.grid,
    generated = excluded.generated, disabled = false, updated_at = now()
RETURNING key
"""

REGISTER = """
INSERT INTO device (id, run, kind)
SELECT wanted.id, wanted.run, wanted.kind
FROM unnest(%(ids)s::text[], %(runs)s::text[], %(kinds)s::text[]) AS wanted (id, run, kind)
ON CONFLICT (id, coalesce(run, '')) DO NOTHING
"""

UPSERT_CAMERA = """
INSERT INTO camera (device, bearing_deg, fov_deg, range_m, height_m, gb28181_id)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (device) DO UPDATE SET bearing_deg = excluded.bearing_deg, fov_deg = excluded.fov_deg,
    range_m = excluded.range_m, height_m = excluded.height_m, gb28181_id = excluded.gb28181_id
"""

SELECT_ALL = """
SELECT key, id, kind, name, run, lon, lat, address_id, building_class, mount, period_s, disabled,
       bearing_deg, fov_deg, range_m, product, town, village, grid, calibration
FROM device LEFT JOIN camera ON camera.device = device.key ORDER BY key
"""

SELECT_KEYS = SELECT_ALL.replace("ORDER BY", "WHERE key = ANY(%s) ORDER BY")

GATEWAYS = "SELECT username, children FROM broker_account WHERE gateway AND NOT disabled"

EVERYTHING = "*"

DISABLE = "UPDATE device SET disabled = %s, updated_at = now() WHERE id = %s AND run IS NULL RETURNING key"

CALIBRATE = """
UPDATE device SET calibration = %s::jsonb, updated_at = now() WHERE id = %s AND run IS NULL RETURNING key
"""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as it is written: the registry's fields and where it was found to be.

    ``building``: 19 digits, the building part of an address; ``floor``: 0 = ground floor;
    ``calibration``: as `domain.calibration` checks it.
    ``camera``: bearing_deg, fov_deg, range_m, height_m, gb28181_id of a camera.
    """

    id: str
    kind: str
    name: str = ""
    run: str | None = None
    lon: float | None = None
    lat: float | None = None
    datum_given: str | None = None
    address_id: str | None = None
    building_class: str = "residential"
    mount: str = "foundation"
    period_s: float | None = None
    place: Place | None = None
    generated: bool = False
    camera: tuple[float | None, float | None, float | None, float | None, str | None] | None = None
    product: str = ""
    building: str | None = None
    floor: int | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)


async def upsert_devices(conn: Connection, rows: Sequence[DeviceRow]) -> list[int]:
    """Write devices and their cameras in one transaction; returns their keys in order."""
    keys: list[int] = []
    async with conn.transaction(), conn.cursor() as cursor:
        for row in rows:
            await cursor.execute(UPSERT, parameters(row))
            found = await cursor.fetchone()
            assert found is not None
            keys.append(int(found[0]))
        cameras = [(key, *row.camera) for key, row in zip(keys, rows, strict=True) if row.camera is not None]
        if cameras:
            await cursor.executemany(UPSERT_CAMERA, cameras)
        await notify(conn)
    return keys


def parameters(row: DeviceRow) -> dict[str, object]:
    """The row's fields by the names UPSERT uses."""
    place = row.place
    return {
        "id": row.id, "run": row.run, "kind": row.kind, "name": row.name, "lon": row.lon, "lat": row.lat,
        "datum_given": row.datum_given, "address_id": row.address_id, "building_class": row.building_class,
        "mount": row.mount, "period_s": row.period_s, "product": row.product, "building": row.building,
        "floor": row.floor, "calibration": json.dumps(row.calibration), "generated": row.generated,
        "town": place.town if place else None, "village": place.village if place else None,
        "grid": place.grid if place else None,
    }  # fmt: skip


async def register_devices(conn: Connection, wanted: Sequence[tuple[str, str | None, str]]) -> None:
    """Make rows for (id, run, kind) that have none; place and class stay unknown."""
    ids, runs, kinds = zip(*wanted, strict=True)
    async with conn.transaction():
        await conn.execute(REGISTER, {"ids": list(ids), "runs": list(runs), "kinds": list(kinds)})
        await notify(conn)


async def load_devices(conn: Connection, keys: Sequence[int] | None = None) -> list[Device]:
    """All devices, or those of ``keys``, in the order of their keys."""
    cursor = conn.cursor()
    if keys is None:
        await cursor.execute(SELECT_ALL)
    else:
        await cursor.execute(SELECT_KEYS, [list(keys)])
    devices = [device_of(row) for row in await cursor.fetchall()]
    parents = parents_of(devices, await gateways(conn))
    return [replace(d, parent=parents[d.key]) if d.key in parents else d for d in devices]


def device_of(row: Sequence[Any]) -> Device:
    """A row of SELECT_ALL."""
    *fields, calibration = row
    device = Device(*fields)
    return replace(device, calibration=calibrations_of(calibration)) if calibration else device


async def gateways(conn: Connection) -> list[tuple[str, list[str]]]:
    """Gateways and the children each is named to speak for."""
    cursor = await conn.execute(GATEWAYS)
    return [(str(name), list(children)) for name, children in await cursor.fetchall()]


def parents_of(devices: Sequence[Device], named: Sequence[tuple[str, Sequence[str]]]) -> dict[int, int]:
    """Child key → gateway key, for real devices that exactly one gateway is named to speak for.

    A gateway that speaks for all (``*``) explains nothing about any one.
    """
    by_id = {device.id: device.key for device in devices if device.run is None}
    found: dict[int, set[int]] = {}
    for gateway, children in named:
        if gateway not in by_id or EVERYTHING in children:
            continue
        globs = [re.compile(translate(child)).match for child in children if set(child) & set("*?[")]
        matched = [id_ for id_ in by_id if any(match(id_) for match in globs)] if globs else []
        for id_ in {*(child for child in children if child in by_id), *matched} - {gateway}:
            found.setdefault(by_id[id_], set()).add(by_id[gateway])
    return {child: gateways.pop() for child, gateways in found.items() if len(gateways) == 1}


async def set_disabled(conn: Connection, device_id: str, disabled: bool) -> bool:
    """Disable or enable a real device; returns whether there is one."""
    async with conn.transaction():
        cursor = await conn.execute(DISABLE, [disabled, device_id])
        await notify(conn)
        return await cursor.fetchone() is not None


async def set_calibration(conn: Connection, device_id: str, calibration: Mapping[str, Any]) -> bool:
    """Give a real device another calibration, as `domain.calibration` checked it; whether there is one."""
    async with conn.transaction():
        cursor = await conn.execute(CALIBRATE, [json.dumps(calibration), device_id])
        await notify(conn)
        return await cursor.fetchone() is not None


async def notify(conn: Connection) -> None:
    """Wake every process that keeps the registry in memory, once this transaction commits."""
    await conn.execute("SELECT pg_notify(%s, '')", [CHANNEL])
