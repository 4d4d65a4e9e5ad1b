"""The demo city: Dongguan's real towns and villages with generated ground under them.

Names and codes of 33 towns and 606 villages are facts (``city_divisions.csv``; the
towns' rough places and areas beside them). Outlines, cells, roads, addresses and
devices are generated from a seed and are flagged so wherever they are stored.
松山湖 has one virtual community, which holds all its cells; the three economic zones that
lie inside other towns are not among the 33 and left out.
"""

from __future__ import annotations

import csv
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alerting.trips.store import add_permissions
from db.devices import DeviceRow, upsert_devices
from db.pool import Connection
from geo.addresses import AddressColumns
from geo.codes import cell_code
from geo.geodesy import LocalPlane
from geo.grids import Cell, Region, numbering_order
from geo.key_places import KeyPlace, has_key_places, replace_generated
from geo.locate import Locator
from geo.store import has_version, lock_places, real_places, remove_generated, write_city
from simulators.city_devices import Scenes, build_devices
from simulators.city_places import build_key_places
from simulators.city_shapes import Mesh, TownSketch, build_mesh, joined
from simulators.city_streets import CellGround, build_addresses
from simulators.city_trucks import demo_permissions

Int64 = NDArray[np.int64]
Progress = Callable[[str], None]

SEED = 20220388
ADDRESSES = 100_000
CITY = "441900"
PLANE = LocalPlane(113.85, 22.95)
DIVISIONS = Path(__file__).with_name("city_divisions.csv")
GENERATOR = 1
"""Raised whenever the same seed gives another city, so that demo homes rebuild it."""

MACHONG, HONGMEI, WANGNIUDUN = "441900126", "441900125", "441900127"
DAOJIAO, WANJIANG = "441900124", "441900005"
_BAND_M = 800.0


@dataclass(frozen=True, slots=True)
class Division:
    """A line of ``city_divisions.csv``; place and area are known of towns only."""

    code: str
    name: str
    english: str
    kind: str
    lon: float | None
    lat: float | None
    area_km2: float | None


@dataclass(frozen=True, slots=True)
class DemoCity:
    """The whole city; all of it but names and codes is generated.

    ``cells`` are in the order of the mesh's cells. ``locator`` is built from exactly
    these rows, as the server's own will be.
    """

    seed: int
    version: str
    regions: list[Region]
    cells: list[Cell]
    addresses: AddressColumns
    devices: list[DeviceRow]
    key_places: list[KeyPlace]
    scenes: Scenes
    mesh: Mesh
    locator: Locator


@dataclass(frozen=True, slots=True)
class Seeded:
    """What ``seed_demo`` did: whether it wrote, why, and the city's version."""

    written: bool
    because: str
    version: str


def city_version(seed: int = SEED) -> str:
    """The data version of the demo city of a seed."""
    return f"demo-{GENERATOR}-{seed}"


def build_city(seed: int = SEED, addresses: int = ADDRESSES) -> DemoCity:
    """The city of a seed; about two seconds. The same seed gives the same city."""
    divisions = read_divisions()
    towns = [d for d in divisions if len(d.code) == 9]
    villages = {t.code: [d for d in divisions if len(d.code) == 12 and d.code[:9] == t.code] for t in towns}
    shapes_rng, streets_rng, devices_rng, places_rng = (np.random.default_rng([seed, part]) for part in range(4))
    mesh = build_mesh([_sketch(t, len(villages[t.code])) for t in towns], PLANE, shapes_rng)
    village_codes = _village_codes(mesh, [[v.code for v in villages[t.code]] for t in towns])
    cells = _cells(mesh, village_codes)
    regions = _regions(divisions, cells)
    names = {d.code: d.name for d in divisions}
    grounds = [
        CellGround(cell.code, cell.outline, names[cell.village], names[cell.town])
        for cell in sorted(cells, key=lambda cell: cell.code)
    ]
    houses = build_addresses(grounds, addresses, PLANE, streets_rng)
    locator = Locator.build(regions, cells, houses, city_version(seed))
    devices, scenes = build_devices(houses, PLANE, locator, devices_rng)
    key_places = build_key_places(houses, regions, locator, places_rng)
    return DemoCity(seed, city_version(seed), regions, cells, houses, devices, key_places, scenes, mesh, locator)


def read_divisions(path: Path = DIVISIONS) -> list[Division]:
    """Real names and codes, in order of code."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Division(
            r["code"], r["name"], r["english"], r["kind"],
            _number(r["lon"]), _number(r["lat"]), _number(r["area_km2"]),
        )
        for r in sorted(rows, key=lambda row: row["code"])
    ]


def muck_truck_route(city: DemoCity) -> list[tuple[float, float]]:
    """Waypoints (lon, lat) from a site in 麻涌 by way of 道滘 to a tip in 万江.

    麻涌 and 道滘 do not touch, so 洪梅 or 望牛墩 is crossed on the way. Straight
    legs between the waypoints stay inside those five towns.
    """
    site, waypoint, tip = (_middle_cell(city, town) for town in (MACHONG, DAOJIAO, WANJIANG))
    first = _way(city, site, waypoint, {MACHONG, HONGMEI, WANGNIUDUN, DAOJIAO})
    second = _way(city, waypoint, tip, {DAOJIAO, WANJIANG})
    x, y = np.array(first + second[1:]).T
    lon, lat = PLANE.to_lonlat(x, y)
    return list(zip(np.round(lon, 6).tolist(), np.round(lat, 6).tolist(), strict=True))


async def seed_demo(conn: Connection, progress: Progress = lambda _: None, seed: int = SEED) -> Seeded:
    """Put the demo city into the database once; ``progress`` hears of each step.

    A database that has this version, or towns that somebody imported, is left
    alone. Everything is written in one transaction, so a killed start leaves nothing.
    """
    version = city_version(seed)
    async with conn.transaction():
        await lock_places(conn)
        if await has_version(conn, version):
            if not await has_key_places(conn, version):  # a city of before key places
                await replace_generated(conn, build_city(seed).key_places, version=version)
            await add_permissions(conn, demo_permissions(), generated=True)
            return Seeded(False, "the demo city is already there", version)
        if await real_places(conn):
            return Seeded(False, "this database has imported towns; the demo city would lie over them", version)
        progress("building the demo city")
        city = build_city(seed)
        await remove_generated(conn)
        progress(f"writing {len(city.regions)} regions, {len(city.cells)} cells, {len(city.addresses)} addresses")
        await write_city(conn, city.regions, city.cells, city.addresses, version=version, generated=True)
        progress(f"registering {len(city.devices)} devices")
        await upsert_devices(conn, city.devices)
        await add_permissions(conn, demo_permissions(), generated=True)
        await replace_generated(conn, city.key_places, version=version)
    return Seeded(True, "the demo city is new", version)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _sketch(town: Division, villages: int) -> TownSketch:
    assert town.lon is not None
    assert town.lat is not None
    assert town.area_km2 is not None
    x, y = PLANE.to_xy(town.lon, town.lat)
    return TownSketch(float(x), float(y), town.area_km2 * 1e6, villages)


def _village_codes(mesh: Mesh, codes: Sequence[Sequence[str]]) -> list[str]:
    """The village code of each cell; codes go to villages from north to south, west to east."""
    of_cell = [""] * len(mesh.x)
    for town, of_town in enumerate(codes):
        mine = mesh.town == town
        groups = [np.flatnonzero(mine & (mesh.village == v)) for v in range(len(of_town))]
        x = np.array([mesh.x[group].mean() for group in groups])
        y = np.array([mesh.y[group].mean() for group in groups])
        for code, group in zip(of_town, numbering_order(x, y, 2 * _BAND_M).tolist(), strict=True):
            for cell in groups[group].tolist():
                of_cell[cell] = code
    return of_cell


def _cells(mesh: Mesh, village_codes: Sequence[str]) -> list[Cell]:
    """Cells with their 15-digit codes, numbered within each village."""
    members: dict[str, list[int]] = {}
    for cell, village in enumerate(village_codes):
        members.setdefault(village, []).append(cell)
    code = [""] * len(mesh.x)
    for village, cells in members.items():
        order = numbering_order(mesh.x[cells], mesh.y[cells], _BAND_M)
        for sequence, at in enumerate(order.tolist(), 1):
            code[cells[at]] = cell_code(village, sequence)
    return [Cell(c, outline) for c, outline in zip(code, mesh.outline.tolist(), strict=True)]


def _regions(divisions: Sequence[Division], cells: Sequence[Cell]) -> list[Region]:
    """City, towns and villages, each the sum of its cells."""
    outlines: dict[str, list[object]] = {}
    for cell in cells:
        for code in (CITY, cell.town, cell.village):
            outlines.setdefault(code, []).append(cell.outline)
    level = {6: "city", 9: "town", 12: "village"}
    return [
        Region(d.code, level[len(d.code)], d.name, joined(np.array(outlines[d.code])), d.english, d.kind)
        for d in divisions
    ]


def _middle_cell(city: DemoCity, town: str) -> int:
    """The cell nearest to the middle of a town's cells."""
    mine = np.array([i for i, cell in enumerate(city.cells) if cell.town == town])
    x, y = city.mesh.x[mine], city.mesh.y[mine]
    return int(mine[np.argmin((x - x.mean()) ** 2 + (y - y.mean()) ** 2)])


def _way(city: DemoCity, start: int, end: int, towns: set[str]) -> list[tuple[float, float]]:
    """The shortest way (metres) over touching cells of ``towns``; between cells by their common border."""
    mesh = city.mesh
    steps: dict[int, list[tuple[int, int]]] = {}
    for pair, (a, b) in enumerate(mesh.pairs.tolist()):
        if city.cells[a].town in towns and city.cells[b].town in towns:
            steps.setdefault(a, []).append((b, pair))
            steps.setdefault(b, []).append((a, pair))
    came: dict[int, tuple[int, int]] = {}
    queue = [(0.0, start, -1, -1)]
    while queue:
        length, cell, before, pair = heapq.heappop(queue)
        if cell in came:
            continue
        came[cell] = (before, pair)
        if cell == end:
            break
        for other, over in steps.get(cell, ()):
            if other not in came:
                leg = float(np.hypot(mesh.x[other] - mesh.x[cell], mesh.y[other] - mesh.y[cell]))
                heapq.heappush(queue, (length + leg, other, cell, over))
    points, cell = [(float(mesh.x[end]), float(mesh.y[end]))], end
    while cell != start:
        cell, pair = came[cell]
        points.append((float(mesh.border[pair, 0]), float(mesh.border[pair, 1])))
        points.append((float(mesh.x[cell]), float(mesh.y[cell])))
    return points[::-1]
