"""The demo city's devices: what is mounted where, and the scenes that scenarios play in.

Ids: VB vibration, TL tilt, CR crack, TP temperature, SM smoke, WL water level, CM
camera, MT muck truck. VB-0001 to VB-0003 stand in one house of 岗贝社区 (东城):
the shaking house. VB-0004 on come one from each other town first, so the first
dozens are spread over the city. SM-0001 and CM-0001 are the kitchen fire's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.devices import DeviceRow
from geo.addresses import AddressColumns
from geo.geodesy import LocalPlane
from geo.locate import Locator

Int64 = NDArray[np.int64]
Camera = tuple[float | None, float | None, float | None, float | None, str | None]

SHAKING_VILLAGE = "441900003001"
"""岗贝社区, 东城街道."""

KITCHEN_VILLAGE = "441900004005"
"""元美社区, 南城街道."""

VIBRATION, TILT, CRACK, TEMPERATURE, SMOKE, WATER_LEVEL, CAMERAS, VEHICLES = 200, 60, 40, 40, 20, 20, 30, 10

_PERIOD_S = {"vibration": 1.0, "tilt": 60.0, "crack": 300.0, "temperature": 60.0, "smoke": 60.0,
             "water_level": 60.0, "vehicle": 5.0}  # fmt: skip
_CHINESE = {"vibration": "振动", "tilt": "倾斜", "crack": "裂缝", "temperature": "温度", "smoke": "烟感",
            "water_level": "水位", "camera": "摄像头"}  # fmt: skip
_ODD_CLASSES = ("residential", "residential", "commercial", "sensitive")


@dataclass(frozen=True, slots=True)
class Scenes:
    """Ids of the devices that the scenarios use."""

    shaking_house: tuple[str, ...]
    kitchen_smoke: str
    kitchen_camera: str
    trucks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Site:
    """A building: its address row and what kind of building it is."""

    row: int
    building_class: str


class _Placer:
    """Makes rows of devices at addresses, located as the server would locate them."""

    def __init__(self, addresses: AddressColumns, plane: LocalPlane, locator: Locator) -> None:
        self._addresses, self._plane, self._locator = addresses, plane, locator

    def at(
        self,
        id: str,
        kind: str,
        site: _Site,
        *,
        off_m: tuple[float, float] = (0.0, 0.0),
        mount: str = "foundation",
        camera: Camera | None = None,
    ) -> DeviceRow:
        addresses, row = self._addresses, site.row
        x, y = self._plane.to_xy(addresses.lon[row], addresses.lat[row])
        lon, lat = (round(float(v), 6) for v in self._plane.to_lonlat(x + off_m[0], y + off_m[1]))
        where = addresses.text[row].removeprefix("东莞市")
        return DeviceRow(
            id=id,
            kind=kind,
            name=f"{where} {_CHINESE[kind]}",
            lon=lon,
            lat=lat,
            datum_given="wgs84",
            address_id=addresses.id[row],
            building_class=site.building_class,
            mount=mount,
            period_s=_PERIOD_S.get(kind),
            place=self._locator.device(addresses.id[row], lon, lat),
            generated=True,
            camera=camera,
        )


def build_devices(
    addresses: AddressColumns, plane: LocalPlane, locator: Locator, rng: np.random.Generator
) -> tuple[list[DeviceRow], Scenes]:
    """All demo devices in the order of their ids, and which of them the scenarios use."""
    placer = _Placer(addresses, plane, locator)
    shaking = _Site(_first_in(addresses, SHAKING_VILLAGE), "residential")
    kitchen = _Site(_first_in(addresses, KITCHEN_VILLAGE), "residential")
    spread = _spread_over_towns(addresses, {shaking.row, kitchen.row}, rng)
    devices = [*_shaking_house(placer, shaking)]
    for number in range(len(devices) + 1, VIBRATION + 1):
        site = _Site(next(spread), _ODD_CLASSES[int(rng.integers(4))] if number % 5 == 0 else "residential")
        mount = "top_floor" if number % 10 == 7 else "foundation"
        devices.append(placer.at(f"VB-{number:04d}", "vibration", site, mount=mount))
    for prefix, kind, count in (
        ("TL", "tilt", TILT),
        ("CR", "crack", CRACK),
        ("TP", "temperature", TEMPERATURE),
        ("WL", "water_level", WATER_LEVEL),
    ):
        devices += [
            placer.at(f"{prefix}-{n:04d}", kind, _Site(next(spread), "residential")) for n in range(1, count + 1)
        ]
    devices.append(placer.at("SM-0001", "smoke", kitchen))
    devices += [
        placer.at(f"SM-{n:04d}", "smoke", _Site(next(spread), "residential")) for n in range(2, SMOKE + 1)
    ]
    # The kitchen's camera stands 40 m to the south and looks north.
    devices.append(placer.at("CM-0001", "camera", kitchen, off_m=(0.0, -40.0), camera=_camera(1, 0.0)))
    for number in range(2, CAMERAS + 1):
        lens = _camera(number, float(rng.integers(0, 360)))
        devices.append(placer.at(f"CM-{number:04d}", "camera", _Site(next(spread), "residential"), camera=lens))
    trucks = [_truck(number) for number in range(1, VEHICLES + 1)]
    scenes = Scenes(
        tuple(d.id for d in devices[:3]), "SM-0001", "CM-0001", tuple(truck.id for truck in trucks)
    )
    return devices + trucks, scenes


def _shaking_house(placer: _Placer, site: _Site) -> Iterator[DeviceRow]:
    yield placer.at("VB-0001", "vibration", site)
    yield placer.at("VB-0002", "vibration", site, off_m=(6.0, 3.0))
    yield placer.at("VB-0003", "vibration", site, off_m=(3.0, 4.0), mount="top_floor")


def _camera(number: int, bearing_deg: float) -> Camera:
    """Lens and GB/T 28181 code: centre 44190000, industry 08 city management, type 132 IP camera."""
    return bearing_deg, 70.0, 120.0, 6.0, f"44190000081320{number:06d}"


def _truck(number: int) -> DeviceRow:
    return DeviceRow(
        id=f"MT-{number:02d}",
        kind="vehicle",
        name=f"渣土车 {number:02d}",
        period_s=_PERIOD_S["vehicle"],
        generated=True,
    )


def _first_in(addresses: AddressColumns, village: str) -> int:
    """The first address of a village; the city always has one."""
    return next(i for i, cell in enumerate(addresses.grid) if cell.startswith(village))


def _spread_over_towns(addresses: AddressColumns, taken: set[int], rng: np.random.Generator) -> Iterator[int]:
    """Address rows, none twice: town after town in turns, at random within each."""
    rows_of = _rows_by_town(addresses.grid)
    queues = [rng.permutation(rows).tolist() for _, rows in sorted(rows_of.items())]
    order = rng.permutation(len(queues)).tolist()
    while True:
        for town in order:
            row = queues[town].pop()
            if row not in taken:
                yield row


def _rows_by_town(cells: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        rows.setdefault(cell[:9], []).append(row)
    return rows
