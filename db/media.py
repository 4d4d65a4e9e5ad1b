"""Pictures and clips as files named by their hash, in one folder of the home.

The same bytes are one file. What a file is, its first bytes say, never who sent it; what
is neither a picture nor a clip of a known kind is refused, so that nothing that runs in a
browser can be kept. The folder is bounded by age and by size, the oldest go first.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from domain.errors import PayloadError

TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "mp4": "video/mp4"}
PICTURES = frozenset({"jpg", "png", "webp"})
NAME = re.compile(r"[0-9a-f]{64}\.(?:jpg|png|webp|mp4)")


def kind_of(content: bytes) -> str:
    """The kind of a picture or clip by its first bytes. Raises: PayloadError ``bad_media``."""
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[4:8] == b"ftyp":
        return "mp4"
    raise PayloadError("bad_media", "neither a JPEG, PNG or WebP picture nor an MP4 clip")


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round removed, and what is left."""

    removed: int
    files: int
    bytes: int


class MediaFolder:
    """Files by name; made when the first is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes, kinds: frozenset[str] = frozenset(TYPES)) -> str:
        """Keep a file, durably; its name. Raises: PayloadError ``bad_media``; OSError when the disk will not."""
        kind = kind_of(content)
        if kind not in kinds:
            raise PayloadError("bad_media", f"a {kind} is not wanted here")
        name = f"{hashlib.sha256(content).hexdigest()}.{kind}"
        path = self._path(name)
        if path.exists():
            os.utime(path)
            return name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".coming-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return name

    def find(self, name: str) -> tuple[Path, str] | None:
        """Where a file lies, and its media type; None where there is none of that name."""
        if not NAME.fullmatch(name):
            return None
        path = self._path(name)
        return (path, TYPES[path.suffix[1:]]) if path.is_file() else None

    def sweep(self, older_than_s: float, bytes_max: int) -> Swept:
        """Remove what was last put before ``older_than_s`` (epoch), then the oldest until the rest fits."""
        found = sorted(self._files())
        total = sum(size for _, size, _ in found)
        removed = 0
        for at_s, size, path in found:
            if at_s >= older_than_s and total <= bytes_max:
                break
            path.unlink(missing_ok=True)
            removed += 1
            total -= size
        return Swept(removed, len(found) - removed, total)

    def _files(self) -> list[tuple[float, int, Path]]:
        files = []
        for path in self.folder.glob("??/*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            files.append((status.st_mtime, status.st_size, path))
        return files

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name
