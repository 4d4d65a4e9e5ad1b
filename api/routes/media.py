"""The pictures and clips of alerts, to who may see the alert.

There is no way to a file by its own name: an alert within the caller's area leads to it.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from api.auth import Ports, SignedIn
from api.media import file_of
from api.ports import ApiPorts
from api.reader import reading
from api.routes.alerts import find_alert
from api.schemas import Text

router = APIRouter(tags=["alerts"])


async def answer(alert_id: str, what: str, session: SignedIn, ports: ApiPorts) -> Response:
    """The file. Raises: NotFound."""
    async with reading(ports.pool) as reader:
        alert = await find_alert(reader, alert_id, session.actor)
        path, media_type = await file_of(reader, ports.media, alert, what)
    return FileResponse(path, media_type=media_type, headers={"cache-control": "private, max-age=3600"})


@router.get("/alerts/{alert_id}/snapshot")
async def snapshot(session: SignedIn, ports: Ports, alert_id: Text) -> Response:
    """The picture of an alert, as it was fetched or came with the event."""
    return await answer(alert_id, "snapshot", session, ports)


@router.get("/alerts/{alert_id}/clip")
async def clip(session: SignedIn, ports: Ports, alert_id: Text) -> Response:
    """The clip of an alert, as it was fetched."""
    return await answer(alert_id, "clip", session, ports)
