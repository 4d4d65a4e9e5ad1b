"""Put recorded devices in other devices' places: which recorded id becomes which id. Pure and deterministic."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import msgspec

from domain.errors import GridpulseError, ImportFileError
from simulators.devices import Site
from simulators.recordings import text_lines

DEVICE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def map_to_demo(recorded: Iterable[str], sites: Sequence[Site], busy: Set[str] = frozenset()) -> dict[str, str]:
    """Each recorded device to a vibration sensor of the demo city: another building each, towns in turns.

    Foundations of dwellings come first, so that one limit holds for all. Sensors in
    ``busy`` have newer data, beside which the recording would be late: they come
    last. The same arguments give the same map. Raises: GridpulseError when there are too few.
    """
    wanted = sorted(set(recorded))
    known = [site for site in sites if site.kind == "vibration" and site.address_id is not None]
    chosen = sorted(spread_over_towns(known), key=lambda site: site.id in busy)
    if len(chosen) < len(wanted):
        raise GridpulseError(
            f"the recording has {len(wanted)} devices, the demo city only {len(chosen)} buildings with vibration "
            "sensors: start `gridpulse up --demo` first, or give --map-to a CSV file with from,to"
        )
    return {device: site.id for device, site in zip(wanted, chosen, strict=False)}


def spread_over_towns(sites: Sequence[Site]) -> list[Site]:
    """One sensor a building; first one of each town, then the second of each, and so on."""
    ordered = sorted(sites, key=lambda s: (s.building_class != "residential", s.mount != "foundation", s.id))
    buildings: set[str] = set()
    rounds: list[tuple[int, str, Site]] = []
    per_town: dict[str, int] = {}
    for site in ordered:
        building, town = site.address_id or site.id, site.town or ""
        if building in buildings:
            continue
        buildings.add(building)
        per_town[town] = per_town.get(town, 0) + 1
        rounds.append((per_town[town], town, site))
    return [site for _, _, site in sorted(rounds, key=lambda entry: (entry[0], entry[1], entry[2].id))]


def read_map(path: Path) -> dict[str, str]:
    """A CSV file with the header ``from,to``. Raises: ImportFileError."""
    mapping: dict[str, str] = {}
    for number, line in text_lines(path):
        cells = [cell.strip() for cell in next(csv.reader([line.lstrip("\ufeff")]), [])]
        if number == 1:
            if [cell.lower() for cell in cells] != ["from", "to"]:
                raise ImportFileError(f"{path} line 1: the header must be from,to")
        elif cells:
            if len(cells) != 2 or not all(DEVICE_ID.fullmatch(cell) for cell in cells):
                raise ImportFileError(f"{path} line {number}: give two device ids (1 to 64 of A-Za-z0-9._-)")
            if cells[0] in mapping or cells[1] in mapping.values():
                raise ImportFileError(f"{path} line {number}: a device stands twice")
            mapping[cells[0]] = cells[1]
    if not mapping:
        raise ImportFileError(f"{path}: the file names no devices")
    return mapping


class Place(msgspec.Struct):
    """An entry of a places file: OpenEEW's ``device_locations.json``."""

    device_id: str
    latitude: float
    longitude: float


def read_places(path: Path) -> dict[str, tuple[float, float]]:
    """Device id → (lon, lat), WGS-84; a device that stands twice keeps its last place. Raises: ImportFileError."""
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[Place])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImportFileError(f"{path}: must be a JSON list of device_id, latitude, longitude: {error}") from error
    for row in rows:
        if not (-90 <= row.latitude <= 90 and -180 <= row.longitude <= 180):
            raise ImportFileError(f"{path}: device {row.device_id}: no such place: {row.latitude}, {row.longitude}")
    return {row.device_id: (row.longitude, row.latitude) for row in rows}


def renamed(topic: str, device: str, mapping: Mapping[str, str]) -> str:
    """An ordinary topic under the mapped id."""
    kind, _, rest = topic.split("/", 2)
    return f"{kind}/{mapping[device]}/{rest}"
