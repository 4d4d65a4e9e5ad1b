"""HTTP intake for cameras and platforms that do not speak MQTT: one body in, answered after its commit."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.auth import Ports, address_of, door_of, require
from api.ports import ApiPorts, HookPorts
from api.problems import NotSignedIn, TooManyTries
from api.schemas import DEVICE_ID, Text, reply
from db.media import PICTURES
from domain.errors import DatabaseUnavailable, NotFound, PayloadError

router = APIRouter(tags=["hooks"])

TEXT_BYTES_MAX = 256 * 1024
BODY_BYTES_MAX = 4 * 1024 * 1024
AT_ONCE = 8
"""Bodies in memory at the same time; beyond it 503: with BODY_BYTES_MAX the bound of what hooks may hold."""

BODY_WITHIN_S = 30.0
"""A sender that stops in the middle must not keep its place: eight of them would keep all."""

PARTS_MAX = 16
HEAD_BYTES_MAX = 4096
CHALLENGE = 'Basic realm="gridpulse hooks", Bearer'


@dataclass(frozen=True, slots=True)
class Parts:
    """A body taken apart: the vendor's text, and the first picture."""

    text: bytes
    picture: bytes | None


@router.post("/hooks/{adapter}")
async def hook(
    request: Request,
    ports: Ports,
    adapter: Text,
    device: Annotated[
        str | None, Query(pattern=DEVICE_ID, description="the sender, where the body names none")
    ] = None,
) -> Response:
    """A vendor's event as its body, multipart with a picture; answered once it is committed or quarantined.

    200 in both cases, as either way it is kept and must not be sent again; `accepted` and `quarantined` say which.
    Bearer token with the right `hooks.write`, or the hook's own secret as bearer or as Basic password.
    """
    hooks = ports.hooks
    if hooks is None:
        raise HTTPException(501, "this process takes no messages in (GRIDPULSE role api): ask the one that does")
    if adapter not in hooks.adapters:
        raise NotFound(f"there is no hook {adapter!r}; GRIDPULSE_HOOKS names {', '.join(sorted(hooks.adapters))}")
    await let_in(request, ports, hooks, adapter)
    if hooks.under_way >= AT_ONCE:
        raise DatabaseUnavailable(f"{AT_ONCE} hooks are being taken in: send it again")
    hooks.under_way += 1
    try:
        parts = parts_of(await body_of(request), request.headers.get("content-type", ""))
        picture = None
        if parts.picture is not None and ports.media is not None:
            picture = await asyncio.to_thread(ports.media.put, parts.picture, PICTURES)
        became = await hooks.take(adapter, device, picture, parts.text)
    finally:
        hooks.under_way -= 1
    quarantined = [{"reason": reason, "detail": detail} for reason, detail in became.quarantined]
    return reply({"received": True, "accepted": became.accepted, "quarantined": quarantined})


async def body_of(request: Request) -> bytes:
    """The whole body. Raises: HTTPException 408."""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await request.body()
    except TimeoutError as error:
        raise HTTPException(408, f"the body did not come within {BODY_WITHIN_S:g} s") from error


async def let_in(request: Request, ports: ApiPorts, hooks: HookPorts, adapter: str) -> None:
    """Raises: NotSignedIn, NotAllowed, TooManyTries."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    given = value.strip()
    if scheme.lower() == "basic":
        given = basic_password(given)
    secret = hooks.secrets.get(adapter)
    if secret and given and hmac.compare_digest(given.encode(), secret.encode()):
        return
    door = door_of(request)
    if scheme.lower() == "bearer" and given:
        with suppress(NotSignedIn):  # what is no token is a wrong secret, and counted as one below
            session = await door.session(given)
            require(session.actor, "hooks.write")
            return
    wait_s = door.by_hook.take(address_of(request), ports.now_us() / 1e6)
    if wait_s > 0:
        raise TooManyTries(f"too many tries; wait {max(1, round(wait_s))} s", wait_s)
    raise HTTPException(
        401, f"send the secret of GRIDPULSE_HOOK_SECRETS for {adapter}, or a bearer token",
        {"WWW-Authenticate": CHALLENGE},
    )  # fmt: skip


def basic_password(given: str) -> str:
    """The password of a Basic header; empty for a malformed one."""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def parts_of(body: bytes, content_type: str) -> Parts:
    """The text and the picture of a body. Raises: PayloadError, HTTPException 413."""
    kind, _, parameters = content_type.partition(";")
    parts = Parts(body, None)
    if kind.strip().lower().startswith("multipart/"):
        parts = multipart(body, boundary_of(parameters))
    if len(parts.text) > TEXT_BYTES_MAX:
        raise HTTPException(413, f"the text of a hook has at most {TEXT_BYTES_MAX} bytes")
    return parts


def boundary_of(parameters: str) -> bytes:
    """Raises: PayloadError ``bad_multipart``."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "boundary" and 0 < len(value.strip().strip('"')) <= 70:
            return value.strip().strip('"').encode("latin-1", "replace")
    raise PayloadError("bad_multipart", "content-type: multipart without a boundary")


def multipart(body: bytes, boundary: bytes) -> Parts:
    """The first part that is text and the first that is a picture. Raises: PayloadError ``bad_multipart``."""
    text: bytes | None = None
    picture: bytes | None = None
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, PARTS_MAX + 1)
    if len(pieces) < 2 or len(pieces) > PARTS_MAX + 1:
        raise PayloadError("bad_multipart", f"the body has no part, or more than {PARTS_MAX}")
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            break
        head, found, content = piece.partition(b"\r\n\r\n")
        if not found or len(head) > HEAD_BYTES_MAX:
            raise PayloadError("bad_multipart", "a part of the body has no head")
        if b"content-type: image/" in head.lower():
            picture = picture or content
        elif text is None:
            text = content
    if text is None:
        raise PayloadError("bad_multipart", "no part of the body is text")
    return Parts(text, picture)
