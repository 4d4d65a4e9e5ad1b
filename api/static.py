"""The page's files."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parent / "web"

# The machine's own table may lack them, or say text/plain.
mimetypes.add_type("text/javascript", ".mjs")
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("application/geo+json", ".geojson")


class Page(StaticFiles):
    """The page: always asked for again, answered with 304 while its ETag holds."""

    def __init__(self, folder: Path = WEB) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """A file that the browser may keep but must ask about."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = "no-cache"
        return response
