from __future__ import annotations

import struct

import numpy as np

from db.copy import PG_EPOCH_US, pack_columns


def naive_row(time_us: int, device: int, value: float, late: bool) -> bytes:
    """One row as PostgreSQL's documentation describes it."""
    fields = [
        struct.pack(">q", time_us - PG_EPOCH_US),
        struct.pack(">i", device),
        struct.pack(">d", value),
        struct.pack(">?", late),
    ]
    return struct.pack(">h", len(fields)) + b"".join(struct.pack(">i", len(f)) + f for f in fields)


def test_columns_are_packed_as_rows_one_by_one_would_be() -> None:
    times = np.array([1_795_400_000_123_456, 0], dtype=np.int64)
    devices = np.array([7, 2_000_000_000], dtype=np.int32)
    values = np.array([6.1, -0.0])
    late = np.array([True, False])
    packed = pack_columns(["timestamptz", "int4", "float8", "bool"], [times, devices, values, late])
    rows = zip(times.tolist(), devices.tolist(), values.tolist(), late.tolist(), strict=True)
    assert packed == b"".join(naive_row(*row) for row in rows)


def test_no_rows_are_no_bytes() -> None:
    assert pack_columns(["int4"], [np.zeros(0, dtype=np.int32)]) == b""
