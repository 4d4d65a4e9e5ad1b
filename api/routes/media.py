"""The pictures and clips of alerts, to who may see the alert.

There is no way to a file by its own name: an alert within the caller's area leads to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from api import queries
from api.auth import Ports, SignedIn
from api.ports import ApiPorts
from api.queries import Reader, reading
from api.routes.alerts import find_alert
from api.schemas import Text
from domain.errors import NotFound

router = APIRouter(tags=["alerts"])

KEPT = "media:"


async def file_of(alert_id: str, field: str, session: SignedIn, ports: ApiPorts) -> Response:
    """The file behind a field of the alert's evidence. Raises: NotFound that says why there is none."""
    async with reading(ports.pool) as reader:
        alert = await find_alert(reader, alert_id, session.actor)
        name = await name_of(reader, url_of(alert, field))
    found = ports.media.find(name) if ports.media is not None else None
    if found is None:
        raise NotFound("the file is no longer kept here")
    path, media_type = found
    return FileResponse(path, media_type=media_type, headers={"cache-control": "private, max-age=3600"})


def url_of(alert: Mapping[str, Any], field: str) -> str:
    """Raises: NotFound."""
    url = ((alert.get("evidence") or {}).get("features") or {}).get(field)
    if not isinstance(url, str) or not url:
        raise NotFound("the alert names no such picture or clip")
    return url


async def name_of(reader: Reader, url: str) -> str:
    """The stored file of an address. Raises: NotFound with what became of it."""
    if url.startswith(KEPT):
        return url.removeprefix(KEPT)
    row = await reader.row(queries.MEDIA, {"url": url})
    if row is None:
        raise NotFound("it was not fetched (yet): GRIDPULSE_MEDIA_HOSTS says from which hosts it may be")
    if row["name"] is None:
        raise NotFound(f"it could not be fetched: {row['reason']}")
    return str(row["name"])


@router.get("/alerts/{alert_id}/snapshot")
async def snapshot(session: SignedIn, ports: Ports, alert_id: Text) -> Response:
    """The picture of an alert, as it was fetched or came with the event."""
    return await file_of(alert_id, "snapshot_url", session, ports)


@router.get("/alerts/{alert_id}/clip")
async def clip(session: SignedIn, ports: Ports, alert_id: Text) -> Response:
    """The clip of an alert, as it was fetched."""
    return await file_of(alert_id, "clip_url", session, ports)
