"""Between server and database: breaks a connection exactly where the server cannot know what became of its work.

It passes bytes on and reads two things in them: the COMMIT of the ingest connection, and
the beginning of its COPY. Armed for one of these it acts once and is disarmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

COMMIT = b"Q\0\0\0\x0bCOMMIT\0"
"""The whole message, as psycopg's transaction block sends it (simple query, protocol 3.0)."""
INGEST = b"application_name\0gridpulse-ingest\0"
READ_BYTES = 256 * 1024
SOCKET = ".s.PGSQL.5432"

BEFORE_COMMIT, AFTER_COMMIT, IN_COPY = "before COMMIT", "after COMMIT", "in COPY"


class Relay:
    """A Unix socket in ``folder`` that leads to the database of ``url``."""

    def __init__(self, folder: Path, url: str) -> None:
        parts = urlsplit(url)
        self.url = url.replace(parse_qs(parts.query)["host"][0], str(folder))
        self._behind = Path(parse_qs(parts.query)["host"][0]) / SOCKET
        self._here = folder / SOCKET
        self._armed: tuple[str, Callable[[], Awaitable[None]]] | None = None
        self._acted = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_unix_server(self._serve, self._here, limit=READ_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def act(self, where: str, within_s: float, cut: Callable[[], Awaitable[None]] | None = None) -> bool:
        """Break the next ingest transaction there; whether one came in time. ``cut``: instead of closing."""
        self._acted.clear()
        self._armed = (where, cut or _nothing)
        try:
            async with asyncio.timeout(within_s):
                await self._acted.wait()
        except TimeoutError:
            return False
        finally:
            self._armed = None
        return True

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            behind, to_behind = await asyncio.open_unix_connection(self._behind, limit=READ_BYTES)
            up = asyncio.create_task(self._up(client, to_client, to_behind))
            down = asyncio.create_task(_pump(behind, to_client))
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            to_behind.close()
        to_client.close()

    async def _up(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_behind: asyncio.StreamWriter,
    ) -> None:
        first = await client.read(READ_BYTES)
        ours = INGEST in first
        to_behind.write(first)
        copying = False
        while data := await client.read(READ_BYTES):
            if ours and self._armed is not None:
                where, cut = self._armed
                if where == IN_COPY and copying:
                    self._armed = None
                    to_behind.write(data[: len(data) // 2])
                    await to_behind.drain()
                    await cut()
                    self._acted.set()
                    data = data[len(data) // 2 :]
                elif data.endswith(COMMIT) and where != IN_COPY:
                    self._armed = None
                    self._acted.set()
                    if where == AFTER_COMMIT:
                        await commit_unheard(to_client, to_behind, data)
                    return
            copying = b"FROM STDIN (FORMAT BINARY)" in data
            to_behind.write(data)
            await to_behind.drain()


async def commit_unheard(to_client: asyncio.StreamWriter, to_behind: asyncio.StreamWriter, data: bytes) -> None:
    """Let the COMMIT through and its answer not: the client's end is closed first."""
    to_client.transport.abort()
    to_behind.write(data)
    await to_behind.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(READ_BYTES):
        writer.write(data)
        await writer.drain()


async def _nothing() -> None:
    return None
