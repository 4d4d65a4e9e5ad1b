"""For whoever runs the server: alive, ready, measured."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from api.auth import Ports
from api.schemas import reply

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return reply({"ok": True})


@router.get("/readyz")
async def readyz(ports: Ports) -> Response:
    """200 when all checks are well, else 503; the checks say what is not."""
    checks = await ports.readiness()
    ok = all(check["ok"] for check in checks.values())
    return reply({"ok": ok, "checks": checks}, 200 if ok else 503)


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
