"""``gridpulse match`` on the demo city, as people call it."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Any

import pytest

from db.pool import connect
from tests.fix_server import Server

pytestmark = pytest.mark.stack


async def some_addresses(url: str) -> list[tuple[Any, ...]]:
    async with await connect(url, name="test-addresses") as conn:
        query = "SELECT id, text, lon, lat, grid FROM address ORDER BY md5(id) LIMIT 300"
        return list(await (await conn.execute(query)).fetchall())


async def test_a_file_onto_the_demo_city(city_server: Server, tmp_path: Path) -> None:
    known = await some_addresses(await asyncio.to_thread(lambda: city_server.database_url))
    lines = ["设备编号,地址,经度,纬度,地址编码"]
    for n, (id_, text, lon, lat, _) in enumerate(known):
        if n % 3 == 0:
            lines.append(f"D-{n},,{lon},{lat},")
        elif n % 3 == 1:
            lines.append(f"D-{n},{text},,,")
        else:
            lines.append(f"D-{n},,,,{id_}")
    lines += ["X-1,,,,", "X-2,,120.0,30.0,", "X-3,某处,,,"]
    path, out = tmp_path / "devices.csv", tmp_path / "matched.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    done = await asyncio.to_thread(
        city_server.cli, "match", str(path), "--datum", "wgs84", "--out", str(out)
    )
    with out.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 303
    right = [row["match_grid"] == grid for row, (*_, grid) in zip(rows, known, strict=False)]
    assert sum(right) >= 0.98 * len(right)
    assert {row["match"] for row, ok in zip(rows, right, strict=False) if not ok} <= {"doubtful", "matched"}
    assert [row["match"] for row in rows[-3:]] == ["not matched"] * 3
    assert rows[-2]["match_why"] == "outside: the coordinate lies in no territory known here"
    assert done.stdout.startswith("303 rows: ")
    assert f"{path}: line 302: not matched: nothing to go by" in done.stderr
    few = tmp_path / "problems.csv"
    await asyncio.to_thread(
        city_server.cli, "match", str(path), "--datum", "wgs84", "--out", str(few), "--problems"
    )
    with few.open(encoding="utf-8-sig", newline="") as file:
        assert [row["设备编号"] for row in csv.DictReader(file)][-3:] == ["X-1", "X-2", "X-3"]
    nothing = await asyncio.to_thread(city_server.cli, "match", str(few), check=False)
    assert nothing.returncode == 1
