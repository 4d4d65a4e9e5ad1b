from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import GridpulseError, ImportFileError
from simulators.mapping import map_to_demo, read_map, read_places, renamed
from tests.unit.simulators.sites import town_sites

SITES = town_sites()


def test_recorded_devices_go_to_different_buildings_in_different_towns() -> None:
    mapping = map_to_demo([f"{n:03d}" for n in range(13)], SITES)
    by_id = {site.id: site for site in SITES}
    chosen = [by_id[to] for to in mapping.values()]
    assert list(mapping) == [f"{n:03d}" for n in range(13)]
    assert len({site.address_id for site in chosen}) == 13
    assert len({site.town for site in chosen}) == 9, "every town before one is used again"
    assert {site.mount for site in chosen} == {"foundation"}
    assert mapping == map_to_demo(reversed([f"{n:03d}" for n in range(13)]), list(reversed(SITES)))


def test_sensors_with_newer_data_come_last() -> None:
    first = map_to_demo(["a"], SITES)["a"]
    assert map_to_demo(["a"], SITES, {first})["a"] != first


def test_too_many_devices_are_told() -> None:
    with pytest.raises(GridpulseError, match="100 devices, the demo city only 41 buildings"):
        map_to_demo([str(n) for n in range(100)], SITES)


def test_a_map_file(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text("from,to\n006, VB-0001\n\n008,VB-0002\n")
    assert read_map(path) == {"006": "VB-0001", "008": "VB-0002"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "line 1: the header must be from,to"),
        ("from,to\n", "names no devices"),
        ("", "names no devices"),
        ("from,to\n1,2,3\n", "line 2: give two"),
        ("from,to\n1,a/b\n", "line 2: give two"),
        ("from,to\n1,a\n1,b\n", "line 3: a device stands twice"),
        ("from,to\n1,a\n2,a\n", "line 3: a device stands twice"),
    ],
)
def test_a_bad_map_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(ImportFileError, match=message):
        read_map(path)


def test_places(tmp_path: Path) -> None:
    path = tmp_path / "places.json"
    path.write_text('[{"device_id": "000", "latitude": 19.33, "longitude": -99.18, "elev": 0}]')
    assert read_places(path) == {"000": (-99.18, 19.33)}


@pytest.mark.parametrize(
    "text", ["", "{}", '[{"device_id": "0"}]', '[{"device_id":"0","latitude":91,"longitude":0}]']
)
def test_bad_places_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "places.json"
    path.write_text(text)
    with pytest.raises(ImportFileError):
        read_places(path)


def test_a_topic_keeps_all_but_its_id() -> None:
    assert renamed("sensors/006/waveform", "006", {"006": "VB-0001"}) == "sensors/VB-0001/waveform"
