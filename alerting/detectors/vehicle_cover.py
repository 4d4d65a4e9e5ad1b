"""A muck truck that drives loaded with its cover open.

The position of the moment goes with the detection: where it happens decides who
acts. ``bed`` and ``cover`` that a message leaves out keep their last value. One
small object per vehicle; positions come once in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.rows import NEVER, is_late
from domain.alerts import Alert, Detection
from domain.readings import Block, Position


class VehicleCoverSettings(RuleSettings):
    """A loaded bed under an open cover, for this long; closed again for that long."""

    severity: Severity = 3
    on_delay_s: Seconds = 10.0
    off_delay_s: Seconds = 0.0
    gap_s: Positive = 120.0

    def words(self) -> Words:
        """The rule in words."""
        return Words(f"`bed` loaded and `cover` open for {self.on_delay_s:g} s", str(self.severity),
                     "closed or empty")  # fmt: skip


@dataclass(slots=True)
class _Vehicle:
    newest_us: int = NEVER
    bed: str | None = None
    cover: str | None = None
    since_us: int = NEVER  # open and loaded without a break
    safe_us: int = NEVER  # closed or empty without a break, while active
    episode_us: int = NEVER
    active: bool = False


class VehicleCover:
    """One rule over all vehicles."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.settings, VehicleCoverSettings)
        self.rule = rule
        self.settings = rule.settings
        s = rule.settings
        self._on_us, self._off_us = round(s.on_delay_s * 1e6), round(s.off_delay_s * 1e6)
        self._gap_us = round(s.gap_s * 1e6)
        self._vehicles: dict[int, _Vehicle] = {}

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's positions."""
        return self.feed(block.positions) if block.positions else []

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        self.restore(alert.device, episode_us, newest_us)

    def restore(self, device: int, episode_us: int, newest_us: int) -> None:
        """Take up an episode that was active before a restart."""
        self._vehicles[device] = _Vehicle(
            newest_us, "loaded", "open", since_us=episode_us, episode_us=episode_us, active=True
        )

    def feed(self, positions: Sequence[Position]) -> list[Detection]:
        """Judge positions in the order received."""
        found: list[Detection] = []
        for p in positions:
            vehicle = self._vehicles.setdefault(p.device, _Vehicle())
            if not p.late and p.time_us > vehicle.newest_us:
                detection = self._take(vehicle, p)
                if detection is not None:
                    found.append(detection)
        return found

    def _take(self, v: _Vehicle, p: Position) -> Detection | None:
        gap = p.time_us - v.newest_us > self._gap_us
        v.newest_us, v.bed, v.cover = p.time_us, p.bed or v.bed, p.cover or v.cover
        if v.bed == "loaded" and v.cover == "open":
            v.safe_us = NEVER
            if v.since_us == NEVER or (gap and not v.active):
                v.since_us = p.time_us
            if not v.active and p.time_us - v.since_us >= self._on_us:
                v.active, v.episode_us = True, v.since_us
                return self._say(v, p, "onset", v.since_us)
            return None
        v.since_us = NEVER
        if not v.active:
            return None
        if v.safe_us == NEVER or gap:
            v.safe_us = p.time_us
        if p.time_us - v.safe_us < self._off_us:
            return None
        v.active = False
        return self._say(v, p, "clear", v.safe_us)

    def _say(self, v: _Vehicle, p: Position, phase: str, at_us: int) -> Detection:
        features: dict[str, Any] = {
            "bed": v.bed, "cover": v.cover, "speed_kmh": p.speed_kmh, "heading_deg": p.heading_deg,
            "open_s": round((p.time_us - v.episode_us) / 1e6, 1),
        }  # fmt: skip
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=p.device, episode_us=v.episode_us,
            at_us=at_us, sampled_us=p.time_us, received_us=p.received_us, severity=self.settings.severity,
            metric="cover_open_s", value=features["open_s"], limit=self.settings.on_delay_s, unit="s",
            late=is_late(p.received_us, p.time_us), title=self.rule.title,
            window_us=(v.episode_us, p.time_us), features=features, lon=p.lon, lat=p.lat,
        )  # fmt: skip
