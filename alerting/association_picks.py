"""Picks: onsets too faint to tell a person, for association only. Pure.

A single accelerometer that feels 0.15 gal is no notice; three of them within a wave's
travel time are a quake, seconds before the first of them feels enough to say so by
itself. The picker is the STA/LTA detector with half its window and half its floor, and without its wait for a
knock to die away: others must feel it too.
"""

from __future__ import annotations

from alerting.detectors.base import Rule
from alerting.detectors.sta_lta import StaLta, StaLtaSettings
from domain.alerts import Detection
from domain.readings import Block

PICK_KIND = "vibration.pick"
FLOOR_GAL = 0.15
STA_S = 0.5


class Picker:
    """Faint onsets of acceleration; a stream equals its blocks, as with the detector it is."""

    def __init__(self) -> None:
        title = {"zh": "微弱晃动", "en": "Faint shaking"}
        given = {"title": title, "sta_s": STA_S, "floor_gal": FLOOR_GAL, "sustained_s": 0}
        settings = StaLtaSettings.model_validate(given)
        self._detector = StaLta(Rule("", "sta_lta", PICK_KIND, settings))
        self._named = 0

    def newcomers(self) -> list[int]:
        """Devices first heard since the last call: for ``Association.listen``."""
        fresh: list[int] = self._detector.rows.keys[self._named :].tolist()
        self._named += len(fresh)
        return fresh

    def feed(self, block: Block) -> list[Detection]:
        """The onsets that a block's packets make known."""
        return [d for packets in block.waveforms for d in self._detector.feed(packets) if d.phase == "onset"]
