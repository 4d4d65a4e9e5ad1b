"""Every error of the HTTP API as RFC 9457 ``application/problem+json``.

The table ``STATUS`` is the whole translation of our own errors; anything not in
it is our mistake: it is logged with its trace and told as a plain 500.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.errors import (
    CodeError,
    DatabaseUnavailable,
    GridpulseError,
    NotAllowed,
    NotFound,
    PayloadError,
    TransitionRefused,
    VersionConflict,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

STATUS: Mapping[type[GridpulseError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    VersionConflict: 409,
    TransitionRefused: 409,
    CodeError: 422,
    PayloadError: 422,
    DatabaseUnavailable: 503,
}


class NotSignedIn(GridpulseError):
    """No valid bearer token came with the request."""


class TooManyTries(GridpulseError):
    """Too many logins; ``retry_after_s`` says when the next one is taken."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """One problem document; ``members`` are its extension members."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    content = msgspec.json.encode(document | members)
    return Response(content, status, headers, media_type=MEDIA_TYPE)


def describe(error: GridpulseError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, extension members and headers of one of our errors."""
    if isinstance(error, NotSignedIn):
        return 401, {}, {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyTries):
        return 429, {}, {"Retry-After": str(max(1, round(error.retry_after_s)))}
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    members: dict[str, Any] = {}
    if isinstance(error, VersionConflict):
        members["current"] = error.current
    if isinstance(error, PayloadError):
        members["reason"] = error.reason
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return status, members, headers


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pydantic's errors as ``{"in", "field", "reason"}``, without echoing what was sent."""
    return [
        {
            "in": str(error["loc"][0]) if error["loc"] else "body",
            "field": ".".join(str(part) for part in error["loc"][1:]),
            "reason": str(error["msg"]),
        }
        for error in errors
    ]


async def on_gridpulse_error(request: Request, error: Exception) -> Response:
    """Our own errors: what the message says is meant for the reader."""
    assert isinstance(error, GridpulseError)
    status, members, headers = describe(error)
    if status == 500:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(status, str(error), headers=headers, **members)


async def on_validation_error(request: Request, error: Exception) -> Response:
    """A parameter or body that does not fit: 422 with every wrong field."""
    assert isinstance(error, RequestValidationError)
    errors = field_errors(error.errors())
    detail = "; ".join(f"{e['field'] or e['in']}: {e['reason']}" for e in errors)
    return problem(422, detail, errors=errors)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the framework refuses: unknown paths, methods, bodies too large."""
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path}; the paths are in /api/openapi.json"
    elif error.status_code == 405:
        detail = f"{request.method} is not allowed here"
    return problem(error.status_code, detail, headers=error.headers)


async def on_unexpected(request: Request, error: Exception) -> Response:
    """Our mistakes: logged whole, told without their inside."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "the server made a mistake; its log says which")


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem document."""
    app.add_exception_handler(GridpulseError, on_gridpulse_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_unexpected)
