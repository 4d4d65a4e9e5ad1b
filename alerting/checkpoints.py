"""What detectors remember, as bytes that fit a database, and back. Pure.

A memory is a few arrays. When they have one row per device (or per series) they
are cut by rows into parts of about ``PART_BYTES``, so that a hundred thousand devices
are many small values instead of one large one. No pickle: the bytes can be read,
but they cannot act.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Memory = Mapping[str, NDArray[Any]]

PART_BYTES = 8 * 1024 * 1024
LEVEL = 1
"""Of compression: state is mostly zeros; what is not (noise) does not shrink at any level."""


def parts_of(memory: Memory) -> Iterator[bytes]:
    """The memory in parts, in order; at least one."""
    rows = max((len(array) for array in memory.values() if array.ndim), default=0)
    if not rows or any(array.ndim == 0 or len(array) != rows for array in memory.values()):
        yield _packed(memory)
        return
    row_bytes = max(1, sum(array.nbytes for array in memory.values()) // rows)
    step = max(1, PART_BYTES // row_bytes)
    for at in range(0, rows, step):
        yield _packed({name: array[at : at + step] for name, array in memory.items()})


def memory_of(parts: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """The memory of its parts in order; raises ValueError when the bytes are not ours."""
    memories = [_unpacked(part) for part in parts]
    if not memories or any(m.keys() != memories[0].keys() for m in memories):
        raise ValueError("saved state does not fit: its parts differ")
    if len(memories) == 1:
        return memories[0]
    return {name: np.concatenate([m[name] for m in memories]) for name in memories[0]}


def _packed(memory: Memory) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **memory)
    return zlib.compress(out.getbuffer(), LEVEL)


def _unpacked(part: bytes) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(zlib.decompress(part)), allow_pickle=False) as arrays:
            return dict(arrays)
    except (zlib.error, ValueError, OSError, KeyError, EOFError) as error:
        raise ValueError(f"saved state cannot be read: {error}") from error
