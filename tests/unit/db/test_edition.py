"""What the editions of TimescaleDB are taken for, and what would be said to the community edition."""

from __future__ import annotations

import re

import pytest

from db.edition import SEGMENTS, Edition, enabling
from db.migrate import MIGRATIONS


@pytest.mark.parametrize(
    ("row", "compresses"),
    [(("timescale",), True), (("apache",), False), ((None,), False), (None, False), (("",), False)],
)
def test_only_the_community_edition_compresses(row: tuple[object, ...] | None, compresses: bool) -> None:
    edition = Edition.of(row)
    assert edition.compresses is compresses
    assert ("are compressed" in edition.words, "not compressed" in edition.words) == (compresses, not compresses)


@pytest.mark.parametrize("table", SEGMENTS)
def test_segments_and_order_hold_the_unique_index(table: str) -> None:
    """TimescaleDB refuses to compress a table whose unique index has another column."""
    sql = (MIGRATIONS / "0001_base.sql").read_text()
    (index,) = re.findall(rf"CREATE UNIQUE INDEX {table}_key ON {table} \((.*)\);", sql)
    assert index == f"{SEGMENTS[table]}, time"
    assert f"compress_segmentby = '{SEGMENTS[table]}'" in enabling(table)
    assert "compress_orderby = 'time DESC'" in enabling(table)
