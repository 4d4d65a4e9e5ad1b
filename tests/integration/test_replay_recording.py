"""A real recording through the replay's own eyes and the detectors; pure, but it takes a second."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from simulators.mapping import map_to_demo
from simulators.replay import Recording, emissions, survey
from tests.unit.simulators.heard import Ear
from tests.unit.simulators.sites import town_sites

ZONE = ZoneInfo("Asia/Shanghai")
OPENEEW = Path(__file__).parents[2] / "../shared/data/openeew"


@pytest.mark.skipif(not OPENEEW.exists(), reason="the OpenEEW recordings are not beside this checkout")
class TestRealEarthquake:
    recording = Recording([OPENEEW / "2018-02-16.jsonl.gz"], ZONE)

    def test_it_names_the_devices_with_a_wrong_clock(self) -> None:
        found = survey(self.recording)
        assert (found.packets, found.duplicates) == (7331, 0)
        assert found.duration_us / 1e6 == pytest.approx(599.65, abs=0.01)
        assert {d: round(lag) for d, lag in found.clock_behind_s.items()} == {"012": 1817, "015": 1949}

    def test_it_shakes_the_mapped_buildings(self) -> None:
        found = survey(self.recording)
        mapping = map_to_demo(found.waveform_devices, town_sites())
        ear = Ear(town_sites())
        heard = ear.hear(emissions(self.recording, 1_000_000_000, mapping, Counter()))
        assert not ear.refused
        shaken = {ear.name(d) for d in heard if d.kind == "vibration.shaking"}
        assert shaken <= set(mapping.values())
        assert len(shaken) >= 11
