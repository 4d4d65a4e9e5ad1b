"""Texts cut as columns give what the regular expressions give, text by text."""

from __future__ import annotations

import random

import numpy as np
import pytest

from geo.addresses import Texts
from geo.cut import Openings, cut
from geo.streets import _Cutter, _opening, _Rows

NAMES = {
    "441900": "东莞市", "441900126": "麻涌镇", "441900127": "望牛墩镇", "441900126200": "麻三村",
    "441900127201": "石排村", "441900127202": "望联村",
}  # fmt: skip
VILLAGES = ["441900126200", "441900127201", "441900127202", "441900999001"]
OPENINGS = [
    "东莞市麻涌镇麻三村", "东莞市望牛墩镇石排村", "东莞市望牛墩镇望联村", "", "麻涌镇麻三村",
    "广东省东莞市麻涌镇", "麻三",
]  # fmt: skip
MIDDLES = [
    "", "振兴路", "莞太大道", "麻涌大道西", "107国道", "兴隆街二巷", "𠀀路", "很长" * 11 + "的路", "A区",
]  # fmt: skip
NUMBERS = [
    "", "1号", "12号", "12-3号", "12之3号", "12号楼", "3号线", "１２号", "007号", "1234567号", "12345678号",
    "3000000号", "5", "٣号", "12号\n",
]  # fmt: skip
RESTS = ["", "", "兴隆大厦3栋", "3栋501室", "号", "楼", "😀", "12号"]


def some_texts(count: int) -> list[str]:
    draw = random.Random(4)
    return ["".join(map(draw.choice, (OPENINGS, MIDDLES, NUMBERS, RESTS))) for _ in range(count)]


def test_cut_as_columns_is_cut_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = some_texts(6000)
    draw = random.Random(5)
    village = np.array([draw.randrange(len(VILLAGES)) for _ in texts], np.int32)
    naive, fast = _Cutter(VILLAGES, NAMES), _Cutter(VILLAGES, NAMES)
    naive.by_rule(texts, village)
    held = Texts(texts)
    for first in range(0, len(texts), 700):
        stop = min(first + 700, len(texts))
        fast.cut(held, first, stop, village[first:stop])
    for name, one, two in zip(("roads", "", "rests"), naive.done(), fast.done(), strict=True):
        if name:
            mine, theirs = (np.array(getattr(cutter, name).names) for cutter in (naive, fast))
            assert mine[one].tolist() == theirs[two].tolist()
        else:
            assert one.tolist() == two.tolist()


def test_texts_in_full_are_cut_at_once() -> None:
    openings = Openings([_opening(code, NAMES) for code in VILLAGES])
    texts = Texts(["东莞市麻涌镇麻三村振兴路12号兴隆大厦", "麻涌镇麻三村振兴路12号", "东莞市麻涌镇麻三村12号"])
    pieces = cut(texts, 0, 3, np.zeros(3, np.int32), openings)
    assert pieces.sure.tolist() == [True, False, True]
    assert (pieces.before(0), pieces.rest(0), int(pieces.number[0])) == ("振兴路", "兴隆大厦", 12)
    assert (pieces.before(2), pieces.rest(2)) == ("", "")
    assert pieces.text(1) == "麻涌镇麻三村振兴路12号"


def test_fingerprints_tell_pieces_apart_wherever_they_stand() -> None:
    roads = [f"{a}{b}路" for a in "新振富兴东西南北" for b in "兴华民安江隆盛泰"]
    texts = [f"东莞市麻涌镇麻三村{road}{n}号{n % 7}栋" for n, road in enumerate(roads * 3)]
    openings = Openings([_opening(code, NAMES) for code in VILLAGES])
    pieces = cut(Texts(texts), 0, len(texts), np.zeros(len(texts), np.int32), openings)
    by_print = dict(zip(pieces.before_print.tolist(), roads * 3, strict=True))
    assert len(by_print) == len(roads)
    assert [by_print[p] for p in pieces.before_print.tolist()] == roads * 3
    assert len(set(pieces.rest_print.tolist())) == 7


def test_an_opening_that_may_be_read_otherwise_is_none() -> None:
    assert _opening("441900126200", NAMES) == "东莞市麻涌镇麻三村"
    assert _opening("441900999001", NAMES) == ""
    assert _opening("441900126200", {**NAMES, "441900": "中国市"}) == ""
    assert _opening("441900126200", {**NAMES, "441900": "安省市"}) == ""




def test_names_beyond_the_bound_are_left_out_and_counted() -> None:
    rows = _Rows(2)
    assert [rows.of(text) for text in ("甲路", "乙路", "丙路", "甲路", "", "丁路")] == [1, 2, 0, 1, 0, 0]
    assert rows.names == ["", "甲路", "乙路"]
    prints = np.array([5, 9, 5], np.uint64)
    assert rows.of_prints(prints, lambda at: ["乙路", "戊路", "乙路"][at]).tolist() == [2, 0, 2]
    assert rows.left_out == 3
