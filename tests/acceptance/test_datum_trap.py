"""The shaking house in the datum trap: a GCJ-02 or BD-09 file is caught when it says WGS-84, else served.

Houses stand less than 400 m from the border of two imported towns; read in the wrong datum they
lie beyond it, and the neighbour's people would be sent. The truck's trap is in test_truck_story.py.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from api.accounts import add_user
from db.pool import connect
from geo.datum import from_wgs84
from tests.acceptance.live import live_feed
from tests.fix_server import LiveServer, Server
from tests.unit.geo.two_towns import PLANE, A, B, two_towns

pytestmark = pytest.mark.stack

BESIDE_M = {"gcj02": (-350, -300, -250, -200, -150), "bd09": (-360, -310, -260, -210, -160)}


def outlines(folder: Path) -> Path:
    """The two towns and their villages as a file of WGS-84 outlines."""
    regions, _, _ = two_towns()
    features = [
        {"type": "Feature", "properties": {"code": r.code, "name": r.name, "name_en": r.name_en},
         "geometry": json.loads(shapely.to_geojson(r.outline))}
        for r in regions
    ]  # fmt: skip
    path = folder / "regions.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def houses(folder: Path, datum: str) -> Path:
    """Five sensors of town A, west of the border, with coordinates in a datum the file does not say."""
    lines = ["id,kind,lon,lat,town"]
    for n, x in enumerate(BESIDE_M[datum]):
        (lon,), (lat,) = PLANE.to_lonlat([x], [1000.0 + 40 * n])
        east, north = from_wgs84(lon, lat, datum)
        lines.append(f"{datum}-{n},vibration,{east:.7f},{north:.7f},甲镇")
    path = folder / f"{datum}.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


async def account(server: Server) -> None:
    async with await connect(server.database_url, name="test-account") as conn:
        await add_user(conn, "dispatcher", "a long password 1", "dispatcher", "")


async def alert_of(server: LiveServer, device: str) -> dict[str, Any]:
    """Shake a house three times over its limit, from MQTT to the WebSocket."""
    token = await asyncio.to_thread(server.server.token)
    async with live_feed(server.base_url, token) as live:
        await live.frame()
        await server.raise_alert(device, 6.0)
        frame = await live.frame(lambda f: f["type"] == "alert" and f["alert"]["device"]["id"] == device)
    alert: dict[str, Any] = frame["alert"]
    return alert


async def test_a_house_in_a_foreign_datum_is_refused_as_declared_and_served_by_its_own_town(
    own_server: Server, tmp_path: Path
) -> None:
    await asyncio.to_thread(own_server.start, "--no-demo")
    await account(own_server)
    server = LiveServer(own_server, str((await asyncio.to_thread(own_server.doctor))["mqtt_url"]))

    async def bring(*arguments: str, check: bool = True) -> Any:
        return await asyncio.to_thread(own_server.cli, "import", *arguments, check=check)

    await bring("regions", str(outlines(tmp_path)), "--datum", "wgs84")
    for datum in BESIDE_M:
        path = str(houses(tmp_path, datum))
        wrong = await bring("devices", path, "--datum", "wgs84", check=False)
        assert wrong.returncode == 1
        assert f"nothing imported: 5 of 5 devices lie in their declared town under {datum}, " in wrong.stderr
        assert f"import it with --datum {datum}" in wrong.stderr
        right = await bring("devices", path, "--datum", datum)
        assert "devices: 5 new" in right.stdout
        assert f"5 of 5 devices lie in their declared town as declared ({datum})" in right.stderr
        alert = await alert_of(server, f"{datum}-1")
        assert alert["place"]["town"] == A
        assert alert["duty"][0]["unit"] == f"town:{A}:housing"
        units = [duty["unit"].split(":") for duty in alert["duty"]]
        assert {code[:9] for level, code, *_ in units if level in ("town", "village", "grid")} == {A}
        # What the trap would have done: the same house, forced in as declared, is the neighbour's.
        forced = await bring("devices", path, "--datum", "wgs84", "--force")
        assert "warning: 5 of 5 devices" in forced.stderr
        astray = await alert_of(server, f"{datum}-2")
        assert astray["place"]["town"] == B
