"""Credentials of devices in the broker: made, shown once, taken away.

A password is in the answer of the request that made it and nowhere else; the audit
says who made it, not what it is. Refuses an account that is confined to an area a
gateway with children: a gateway speaks for devices wherever they stand.
"""

from __future__ import annotations

import secrets

from fastapi import APIRouter
from starlette.responses import Response

from api import accounts
from api.auth import Ports, SignedIn, require
from api.reader import reading, writing
from api.routes.devices import DeviceId, find_device
from api.schemas import CredentialsBody, reply
from db import credentials
from db.devices import set_disabled
from domain.errors import NotAllowed, NotFound

router = APIRouter(tags=["devices"])

PASSWORD_BYTES = 18


@router.post("/devices/{device_id}/credentials", status_code=201)
async def make_credentials(
    session: SignedIn, ports: Ports, device_id: DeviceId, body: CredentialsBody | None = None
) -> Response:
    """Let a registered device into the broker with a new password, which is shown this once; the old one ends."""
    require(session.actor, "devices.write")
    wanted = body or CredentialsBody()
    if wanted.gateway and session.actor.area:
        raise NotAllowed("a gateway speaks for devices of other places too: ask an account of the whole city")
    async with reading(ports.pool) as reader:
        await find_device(reader, ports, session.actor, device_id, None)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    hashed = ports.hash_device_password(password)
    async with writing(ports.pool) as conn:
        await credentials.let_in(conn, device_id, hashed, gateway=wanted.gateway, children=wanted.children)
        await set_disabled(conn, device_id, False)
        await accounts.audit(conn, session.actor.name, "device.credentials", device_id, wanted.model_dump())
    answer = reply({"username": device_id, "password": password}, 201)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.delete("/devices/{device_id}/credentials", status_code=204)
async def revoke_credentials(session: SignedIn, ports: Ports, device_id: DeviceId) -> Response:
    """Take a device's password and certificates away; its open connection ends. 404 when it has none."""
    require(session.actor, "devices.write")
    async with reading(ports.pool) as reader:
        await find_device(reader, ports, session.actor, device_id, None)
    async with writing(ports.pool) as conn:
        had, certificates = await credentials.revoke(conn, device_id)
        if not had and not certificates:
            raise NotFound(f"{device_id} has no credentials; POST makes them")
        body = {"password": had, "certificates": certificates}
        await accounts.audit(conn, session.actor.name, "device.revoke", device_id, body)
    return Response(status_code=204)
