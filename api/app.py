"""The HTTP application: routes, errors, documents, the live feed and the page."""

from __future__ import annotations

import platform
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from api import problems
from api.asyncapi import document
from api.auth import Door
from api.live import live
from api.messages import MESSAGE_BYTES_MAX
from api.metrics import BUILD
from api.middleware import BodyLimit, Measured, SafeHeaders
from api.ports import ApiPorts
from api.routes import (
    alerts,
    cameras,
    credentials,
    devices,
    duties,
    hooks,
    incidents,
    ledger,
    media,
    operations,
    places,
    received,
    rules,
    sessions,
    stats,
    vehicles,
    zones,
)
from api.schemas import reply
from api.static import Page
from api.version import VERSION

PREFIX = "/api/v1"
ROUTES = (
    sessions, alerts, incidents, duties, media, devices, received, ledger, hooks, vehicles, places, cameras, zones,
    stats, rules, credentials,
)  # fmt: skip
BODY_BYTES_MAX = 256 * 1024

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "RFC 9457 problem",
        "content": {
            problems.MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
}


def create_app(ports: ApiPorts) -> FastAPI:
    """The application over these ports. Nothing connects here; the hub is run by whoever made it."""
    app = FastAPI(
        title="Gridpulse",
        version=VERSION,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,
        responses=PROBLEM_RESPONSES,
    )
    app.state.ports = ports
    app.state.door = Door(ports)
    problems.install(app)
    app.add_middleware(
        BodyLimit, bytes_max=BODY_BYTES_MAX, larger={f"{PREFIX}/hooks/": hooks.BODY_BYTES_MAX}
    )
    app.add_middleware(Measured)
    app.add_middleware(SafeHeaders)
    app.include_router(operations.router)
    for module in ROUTES:
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(documents())
    app.router.routes.append(WebSocketRoute(f"{PREFIX}/live", live))
    app.mount("/", Page(), name="page")
    BUILD.labels(VERSION, platform.python_version()).set(1)
    return app


def documents() -> APIRouter:
    """The AsyncAPI document; FastAPI serves OpenAPI by itself."""
    router = APIRouter(tags=["operations"])

    @router.get("/api/asyncapi.json")
    async def asyncapi() -> Response:
        """AsyncAPI 3 of the MQTT topics and the live feed."""
        return reply(document())

    return router


def uvicorn_options() -> dict[str, Any]:
    """How uvicorn serves this app: bounded inbound frames, no compression, our own logging."""
    return {
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
        "ws_max_size": MESSAGE_BYTES_MAX,
        "ws_max_queue": 32,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "lifespan": "off",
        "timeout_graceful_shutdown": 5,
    }
