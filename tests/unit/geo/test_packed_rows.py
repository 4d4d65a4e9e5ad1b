from __future__ import annotations

import struct

import numpy as np
import pytest

from geo import packed_rows
from geo.packed_rows import AddressPacker, Part


def part(first: int, cells: list[str]) -> Part:
    """Consecutive addresses from a number on, as the database joins them."""
    numbers = range(first, first + len(cells))
    texts = [f"路{n}号" for n in numbers]
    return Part(
        "".join(f"{n:025d}" for n in numbers).encode(),
        "".join(texts).encode(),
        b"".join(struct.pack(">i", len(text.encode())) for text in texts),
        "".join(cell.ljust(15) for cell in cells).encode(),
        struct.pack(f">{len(cells)}d", *(113 + n / 1000 for n in numbers)),
        struct.pack(f">{len(cells)}d", *(22 + n / 1000 for n in numbers)),
    )


@pytest.mark.parametrize("block_bytes", [100, 40_000_000])
def test_parts_are_laid_end_to_end(monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(packed_rows, "BLOCK_BYTES", block_bytes)
    later, earlier = "441900003001002", "441900003001001"
    packer = AddressPacker()
    packer.add(first := part(7, [later, later, earlier]))
    packer.add(part(10, [""]))
    packer.add(part(11, [earlier] * 6))
    packed = packer.done()
    assert first.last_id == f"{9:025d}"
    assert packed.ids.tolist() == [f"{n:025d}".encode() for n in range(7, 17)]
    assert [packed.texts[row] for row in range(10)] == [f"路{n}号" for n in range(7, 17)]
    assert packed.cells == ["", earlier, later]
    assert packed.cell.tolist() == [2, 2, 1, 0, *[1] * 6]
    np.testing.assert_allclose(packed.lon, [113 + n / 1000 for n in range(7, 17)])
    np.testing.assert_allclose(packed.lat, [22 + n / 1000 for n in range(7, 17)])


def test_ids_are_as_wide_as_the_rule_says() -> None:
    one = part(7, ["441900003001001"] * 2)
    short = Part(one.ids[3:25] + one.ids[28:], one.texts, one.lengths, one.cells, one.lon, one.lat)
    packer = AddressPacker(22)
    packer.add(short)
    assert short.last_id == f"{8:022d}"
    assert packer.done().ids.tolist() == [f"{n:022d}".encode() for n in (7, 8)]
    with pytest.raises(AssertionError, match="not of 22"):
        packer.add(one)


def test_nothing_at_all() -> None:
    packed = AddressPacker().done()
    assert (len(packed.ids), len(packed.texts), list(packed.cells)) == (0, 0, [])


def test_a_text_that_is_cut_short_is_our_mistake() -> None:
    whole = part(1, ["441900003001001"])
    short = Part(whole.ids, whole.texts[:-1], whole.lengths, whole.cells, whole.lon, whole.lat)
    with pytest.raises(AssertionError, match="UTF-8"):
        AddressPacker().add(short)
