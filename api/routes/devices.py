"""The registry: devices, cameras and vehicles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api import accounts
from api.auth import Ports, Session, SignedIn, require
from api.paging import LIMIT_DEFAULT, decode_cursor, encode_cursor
from api.ports import ApiPorts
from api.queries.devices import DELETE_DEVICE, DEVICE, DEVICES, FAULTS_OF_DEVICE
from api.reader import Reader, Row, reading, writing
from api.schemas import (
    DEVICE_ID,
    Cursor,
    DeviceBody,
    Exercise,
    Limit,
    Many,
    Text,
    device_json,
    page,
    pattern,
    reply,
    split,
)
from db import credentials
from db.devices import DeviceRow, notify, set_disabled, upsert_devices
from domain.calibration import checked_calibration
from domain.clock import from_us
from domain.devices import building_of
from domain.errors import NotAllowed, NotFound, PayloadError
from domain.people import Actor
from geo.datum import to_wgs84

router = APIRouter(tags=["devices"])

STATUSES = ("online", "offline", "silent")
DeviceId = Annotated[str, Path(pattern=DEVICE_ID)]
CURSOR = "devices"


async def find_device(
    reader: Reader, ports: ApiPorts, actor: Actor, device_id: str, exercise: str | None
) -> Row:
    """A device within the actor's area, the real one unless a run is named. Raises: NotFound."""
    parameters = {
        "id": device_id,
        "exercise": None if exercise == "any" else exercise,
        "area": actor.area,
        "now": from_us(ports.now_us()),
    }
    row = await reader.row(DEVICE, parameters)
    if row is None:
        raise NotFound(f"there is no device {device_id!r} (in your area); GET /api/v1/devices lists them")
    return row


@router.get("/devices")
async def devices(
    session: SignedIn,
    ports: Ports,
    kind: Many = [],  # noqa: B006  FastAPI copies it
    town: Many = [],  # noqa: B006
    status: Many = [],  # noqa: B006
    q: Text | None = None,
    exercise: Exercise = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Devices by id; `status`: online, offline (it said so), silent (nothing for three periods)."""
    wanted = split(status)
    if unknown := sorted(set(wanted) - set(STATUSES)):
        raise PayloadError("bad_filter", f"status: {', '.join(unknown)} is none of {', '.join(STATUSES)}")
    after_id, after_key = decode_cursor(CURSOR, cursor, str, int) if cursor else (None, 0)
    parameters = {
        "area": session.actor.area, "exercise": exercise or None, "kind": split(kind) or None,
        "town": split(town) or None, "status": wanted or None, "pattern": pattern(q),
        "now": from_us(ports.now_us()), "after_id": after_id, "after_key": after_key, "limit": limit + 1,
    }  # fmt: skip
    async with reading(ports.pool) as reader:
        rows = await reader.rows(DEVICES, parameters)
    next_ = None
    if len(rows) > limit:
        next_ = encode_cursor(CURSOR, rows[limit - 1]["id"], rows[limit - 1]["key"])
    return page([device_json(row) for row in rows[:limit]], next_)


@router.get("/devices/{device_id}")
async def device(session: SignedIn, ports: Ports, device_id: DeviceId, exercise: Exercise = None) -> Response:
    """One device; `faults` says what is wrong with itself now: a clock that is off, drifts or stands, silence, …"""
    async with reading(ports.pool) as reader:
        row = await find_device(reader, ports, session.actor, device_id, exercise)
        faults = await reader.rows(FAULTS_OF_DEVICE, {"device": row["key"]})
    return reply({**device_json(row), "faults": faults})


@router.put("/devices/{device_id}")
async def put_device(session: SignedIn, ports: Ports, device_id: DeviceId, body: DeviceBody) -> Response:
    """Register a device, or replace its entry; 201 when it is new. A coordinate needs its datum."""
    require(session.actor, "devices.write")
    row = device_row(ports, device_id, body)
    place = row.place
    if place is not None and not session.actor.sees(place.grid, place.village, place.town):
        raise NotAllowed("this place lies outside your area")
    async with reading(ports.pool) as reader:
        known = await exists(reader, ports, session, device_id)
    async with writing(ports.pool) as conn:
        await upsert_devices(conn, [row])
        if body.disabled:
            await set_disabled(conn, device_id, True)
        await credentials.notify(conn)  # a disabled device is not let in, one that is enabled again is
        await accounts.audit(conn, session.actor.name, "device.put", device_id, body.model_dump())
    async with reading(ports.pool) as reader:
        stored = await find_device(reader, ports, session.actor, device_id, None)
    return reply(device_json(stored), 200 if known else 201)


async def exists(reader: Reader, ports: ApiPorts, session: Session, device_id: str) -> bool:
    """Whether there is such a device. Raises: NotAllowed when it lies outside the caller's area."""
    everywhere = Actor(session.actor.name, session.actor.role, "")
    try:
        row = await find_device(reader, ports, everywhere, device_id, None)
    except NotFound:
        return False
    if not session.actor.sees(row["grid"], row["village"], row["town"]):
        raise NotAllowed("this device lies outside your area")
    return True


def device_row(ports: ApiPorts, device_id: str, body: DeviceBody) -> DeviceRow:
    """The entry in WGS-84 with its place. Raises: PayloadError for a bad datum."""
    lon, lat = body.lon, body.lat
    if lon is not None and lat is not None and body.datum is not None:
        lon, lat = to_wgs84(lon, lat, body.datum)
    place = ports.place_device(body.address_id, lon, lat)
    camera = None
    if body.camera is not None:
        c = body.camera
        camera = (c.bearing_deg, c.fov_deg, c.range_m, c.height_m, c.gb28181_id)
    return DeviceRow(
        id=device_id, kind=body.kind, name=body.name, lon=lon, lat=lat, datum_given=body.datum,
        address_id=body.address_id, building_class=body.building_class, mount=body.mount,
        period_s=body.period_s, place=place, camera=camera, product=body.product,
        floor=body.floor, building=building_of(body.building, body.address_id),
        calibration=checked_calibration(body.calibration),
    )  # fmt: skip


@router.delete("/devices/{device_id}", status_code=204)
async def delete_device(session: SignedIn, ports: Ports, device_id: DeviceId) -> Response:
    """Take a device out of registry and broker; what it measured and its alerts stay. 404 when there is none."""
    require(session.actor, "devices.write")
    async with reading(ports.pool) as reader:
        await find_device(reader, ports, session.actor, device_id, None)
    async with writing(ports.pool) as conn:
        await conn.execute(DELETE_DEVICE, {"id": device_id})
        await notify(conn)
        await credentials.revoke(conn, device_id)
        await accounts.audit(conn, session.actor.name, "device.delete", device_id, {})
    return Response(status_code=204)
