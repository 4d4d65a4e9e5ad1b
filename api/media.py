"""Which pictures and clips of an alert are kept here, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.queries.received import MEDIA
from api.reader import Reader
from db.media import MediaFolder
from domain.errors import NotFound

KEPT = "media:"
"""How an event names a picture that came with it."""

FIELDS = {"snapshot": "snapshot_url", "clip": "clip_url"}


def url_of(alert: Mapping[str, Any], what: str) -> str | None:
    """The address in the alert's evidence."""
    url = ((alert.get("evidence") or {}).get("features") or {}).get(FIELDS[what])
    return url if isinstance(url, str) and url else None


async def file_of(
    reader: Reader, folder: MediaFolder | None, alert: Mapping[str, Any], what: str
) -> tuple[Path, str]:
    """The file and its media type. Raises: NotFound that says why there is none."""
    url = url_of(alert, what)
    if url is None:
        raise NotFound(f"the alert names no {what}")
    name = url.removeprefix(KEPT) if url.startswith(KEPT) else await name_of(reader, url)
    found = folder.find(name) if folder is not None else None
    if found is None:
        raise NotFound("the file is no longer kept here")
    return found


async def name_of(reader: Reader, url: str) -> str:
    """The stored file of an address. Raises: NotFound with what became of it."""
    row = await reader.row(MEDIA, {"url": url})
    if row is None:
        raise NotFound("it was not fetched (yet): GRIDPULSE_MEDIA_HOSTS says from which hosts it may be")
    if row["name"] is None:
        raise NotFound(f"it could not be fetched: {row['reason']}")
    return str(row["name"])


async def kept_links(reader: Reader, folder: MediaFolder | None, alert: Mapping[str, Any]) -> dict[str, str]:
    """Where what is kept can be had: ``snapshot``, ``clip``."""
    links = {}
    for what in FIELDS:
        if url_of(alert, what) is None:
            continue
        try:
            await file_of(reader, folder, alert, what)
        except NotFound:
            continue
        links[what] = f"/api/v1/alerts/{alert['id']}/{what}"
    return links
