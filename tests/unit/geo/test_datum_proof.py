from __future__ import annotations

import numpy as np
import pytest
import shapely

from geo.datum import from_wgs84, to_wgs84
from geo.datum_proof import Claim, Proof, Towns, prove_outlines, prove_points
from geo.grids import Region

# Towns of about 1 km: a wrong datum moves most points into the next one.
TOWNS = [
    Region(
        f"441900{101 + 4 * row + column}",
        "town",
        f"第{4 * row + column}镇",
        shapely.box(113.7 + column * 0.01, 23.0 + row * 0.01, 113.71 + column * 0.01, 23.01 + row * 0.01),
    )
    for row in range(4)
    for column in range(4)
]


def claims(truth: str, declared: str, count: int = 200, wrong: int = 0) -> list[Claim]:
    """Points whose coordinates are in ``truth`` and were read as ``declared``."""
    rng = np.random.default_rng(4)
    lon, lat = rng.uniform(113.7, 113.74, count), rng.uniform(23.0, 23.04, count)
    column, row = ((lon - 113.7) / 0.01).astype(int), ((lat - 23.0) / 0.01).astype(int)
    read = to_wgs84(*from_wgs84(lon, lat, truth), declared)
    codes = [TOWNS[4 * r + c].code for r, c in zip(row.tolist(), column.tolist(), strict=True)]
    codes[:wrong] = [TOWNS[0].code if code != TOWNS[0].code else TOWNS[1].code for code in codes[:wrong]]
    return [
        Claim(f"D{i}", code, float(x), float(y), declared)
        for i, (code, x, y) in enumerate(zip(codes, *read, strict=True))
    ]


@pytest.mark.parametrize("truth", ["wgs84", "gcj02", "bd09"])
@pytest.mark.parametrize("declared", ["wgs84", "cgcs2000", "gcj02", "bd09"])
def test_every_datum_read_as_every_other_is_found(truth: str, declared: str) -> None:
    (proof,) = prove_points("devices", claims(truth, declared), Towns(TOWNS))
    assert proof.best == truth
    assert proof.hits[truth] >= 199
    right = truth == ("wgs84" if declared == "cgcs2000" else declared)
    assert proof.verdict == ("fits" if right else "refuse")


def test_what_it_says() -> None:
    wrong = Proof("devices", 8, {"wgs84": 5, "gcj02": 6, "bd09": 8}, "wgs84")
    assert str(wrong) == (
        "8 of 8 devices lie in their declared town under bd09, 5 of 8 as declared (wgs84)"
    )
    assert wrong.verdict == "refuse"
    right = Proof("devices", 8, {"wgs84": 8, "gcj02": 8, "bd09": 5}, "wgs84")
    assert str(right) == "8 of 8 devices lie in their declared town as declared (wgs84)"
    assert right.verdict == "fits"


@pytest.mark.parametrize(
    ("hits", "count", "verdict"),
    [
        ({"wgs84": 5, "gcj02": 7, "bd09": 5}, 8, "doubt"),  # two devices prove nothing
        ({"wgs84": 800, "gcj02": 810, "bd09": 0}, 1000, "doubt"),
        ({"wgs84": 960, "gcj02": 1000, "bd09": 0}, 1000, "fits"),
        ({"wgs84": 800, "gcj02": 950, "bd09": 0}, 1000, "refuse"),
        ({"wgs84": 0, "gcj02": 0, "bd09": 0}, 10, "doubt"),
    ],
)
def test_when_it_refuses(hits: dict[str, int], count: int, verdict: str) -> None:
    assert Proof("devices", count, hits, "wgs84").verdict == verdict


def test_strays_are_named() -> None:
    (proof,) = prove_points("devices", claims("wgs84", "wgs84", wrong=20), Towns(TOWNS))
    assert proof.verdict == "doubt"
    assert len(proof.strays) == 20
    assert proof.strays[0].startswith("D0 lies in 第")
    far = [Claim("X", "441900101", 120.0, 30.0, "wgs84")]
    assert prove_points("devices", far, Towns(TOWNS))[0].strays == ("X lies in no town, not in 第0镇",)


def test_towns_by_code_and_name() -> None:
    towns = Towns([*TOWNS, Region("441900006", "town", "莞城街道", shapely.box(0, 0, 1, 1))])
    assert towns.row("莞城") == towns.row("莞城街道") == towns.row("441900006000") == towns.row("441900006") == 0
    assert towns.row("第3镇") == towns.row("第3")
    assert towns.row("441900999") is None
    assert towns.row("") is None


def test_each_declared_datum_is_proved_by_itself() -> None:
    mixed = [*claims("gcj02", "gcj02", 50), *claims("bd09", "wgs84", 50)]
    found = {proof.declared: proof.verdict for proof in prove_points("devices", mixed, Towns(TOWNS))}
    assert found == {"gcj02": "fits", "wgs84": "refuse"}
    assert prove_points("devices", [Claim("A", "nowhere", 113.7, 23.0, "wgs84")], Towns(TOWNS)) == []


def test_outlines_against_outlines_known() -> None:
    known = {town.code: town.outline for town in TOWNS}
    read = [
        Region(
            town.code,
            "town",
            town.name,
            shapely.transform(town.outline, lambda xy: np.column_stack(from_wgs84(xy[:, 0], xy[:, 1], "bd09"))),
        )
        for town in TOWNS
    ]
    proof = prove_outlines(read, known, "wgs84")
    assert proof is not None
    assert (proof.best, proof.verdict, proof.count) == ("bd09", "refuse", 16)
    assert "under bd09" in str(proof)
    same = prove_outlines(TOWNS, known, "cgcs2000")
    assert same is not None
    assert same.verdict == "fits"
    assert same.shared["wgs84"] == pytest.approx(1.0)
    assert "100.0% of their ground as declared (wgs84)" in str(same)
    assert prove_outlines(TOWNS, {}, "wgs84") is None
