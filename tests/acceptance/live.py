"""A WebSocket client of the live feed, as an outside program would write one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

FRAME_WITHIN_S = 20.0


class Live:
    """Frames as they come, and the ones of interest."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def frame(self, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next frame that is wanted; all are kept in ``frames``."""
        async with asyncio.timeout(FRAME_WITHIN_S):
            while True:
                frame: dict[str, Any] = json.loads(await self.socket.recv())
                self.frames.append(frame)
                if wanted(frame):
                    return frame

    async def frame_whenever(self) -> dict[str, Any]:
        """The next frame, however long it takes."""
        frame: dict[str, Any] = json.loads(await self.socket.recv())
        self.frames.append(frame)
        return frame

    async def alert_of(self, device: str, change: str = "raised") -> dict[str, Any]:
        """The alert of a device when it comes with this change."""
        frame = await self.frame(
            lambda f: f["type"] == "alert" and f["change"] == change and f["alert"]["device"]["id"] == device
        )
        alert: dict[str, Any] = frame["alert"]
        return alert


@asynccontextmanager
async def live_feed(base_url: str, token: str, **subscription: Any) -> AsyncIterator[Live]:
    """Signed in and subscribed to alerts; the snapshot (or the replay's first frame) is the next frame."""
    async with connect(base_url.replace("http", "ws") + "/api/v1/live", max_size=None, proxy=None) as socket:
        live = Live(socket)
        await live.send({"type": "hello", "token": token})
        await live.send({"type": "subscribe", "id": "a", "channel": "alerts", **subscription})
        yield live
