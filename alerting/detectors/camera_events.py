"""A camera's events of one type: start, update and end become one episode.

Events of the same type that overlap on one camera are one episode (it ends with
the last of them): two people in a yard are one intrusion. An event without an
end is given up ``stale_s`` after its last message, at the next message of that
camera. Camera events are rare, so this is plain Python, one object per camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from alerting.detectors.base import Positive, Rule, RuleSettings, Severity, Words
from alerting.detectors.rows import is_late
from domain.alerts import Alert, Detection
from domain.readings import Block, CameraEvent


class CameraSettings(RuleSettings):
    """One type of camera event: the score it needs, and its severities by score."""

    type: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    score_min: Annotated[float, Field(ge=0, le=1)] = 0.5
    severity: Severity = 3
    score_severity: dict[Severity, Annotated[float, Field(ge=0, le=1)]] = Field({})
    stale_s: Positive = 300.0

    def words(self) -> Words:
        """The rule in words."""
        scores = [f"{self.severity}: score ≥ {self.score_min:g}"]
        scores += [f"{k}: ≥ {level:g}" for k, level in sorted(self.score_severity.items(), reverse=True)]
        return Words(f"camera events of type `{self.type}`", ", ".join(scores), "the event's end")


@dataclass(slots=True)
class _Scene:
    """What is open on one camera: newest message of each event, and what was told."""

    newest_us: int
    episode_us: int
    severity: int
    score: float
    open_us: dict[str, int] = field(default_factory=dict)


class CameraEvents:
    """One rule (one type of event) over all cameras."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.settings, CameraSettings)
        self.rule = rule
        self.settings = rule.settings
        self._scenes: dict[int, _Scene] = {}
        self._newest: dict[tuple[int, str], int] = {}

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's camera events."""
        return self.feed(block.camera_events) if block.camera_events else []

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        features = alert.evidence.get("features", {})
        self.restore(alert.device, episode_us, newest_us, alert.severity, features)

    def restore(
        self, device: int, episode_us: int, newest_us: int, severity: int, features: dict[str, Any]
    ) -> None:
        """Take up an episode that was active before a restart."""
        events = features.get("events") or [features.get("event_id") or ""]
        score = features.get("score")
        self._scenes[device] = _Scene(
            newest_us, episode_us, severity, score if isinstance(score, float) else 0.0,
            {str(event): newest_us for event in events},
        )  # fmt: skip
        self._newest.update({(device, str(event)): newest_us for event in events})

    def feed(self, events: Sequence[CameraEvent]) -> list[Detection]:
        """Judge events in the order received."""
        found: list[Detection] = []
        for event in events:
            if event.type != self.settings.type or event.late:
                continue
            if event.time_us <= self._newest.get((event.device, event.event_id), -1):
                continue  # this message, or a later one of the same event, was seen before
            found += self._take(event)
        return found

    def _take(self, event: CameraEvent) -> list[Detection]:
        found = self._give_up_stale(event)
        scene = self._scenes.get(event.device)
        known = scene is not None and event.event_id in scene.open_us
        if event.phase == "end":
            self._newest.pop((event.device, event.event_id), None)
            if known and scene is not None:
                del scene.open_us[event.event_id]
                if not scene.open_us:
                    found.append(self._end(event, scene, event.time_us))
            return found
        score = 1.0 if event.score is None else event.score
        if not known and score < self.settings.score_min:
            return found
        self._newest[event.device, event.event_id] = event.time_us
        severity = self._severity(score)
        if scene is None:
            scene = _Scene(event.time_us, event.time_us, severity, score, {event.event_id: event.time_us})
            self._scenes[event.device] = scene
            return [*found, self._say(event, scene, "onset", event.time_us)]
        worse = severity < scene.severity
        scene.severity, scene.score = min(severity, scene.severity), max(score, scene.score)
        scene.open_us[event.event_id] = event.time_us
        if worse or not known:
            found.append(self._say(event, scene, "update", event.time_us))
        return found

    def _give_up_stale(self, event: CameraEvent) -> list[Detection]:
        scene = self._scenes.get(event.device)
        if scene is None:
            return []
        limit_us = round(self.settings.stale_s * 1e6)
        last_us = max(scene.open_us.values())
        stale = [e for e, t in scene.open_us.items() if e != event.event_id and event.time_us - t > limit_us]
        for name in stale:
            del scene.open_us[name]
            self._newest.pop((event.device, name), None)
        return [] if scene.open_us else [self._end(event, scene, last_us + limit_us)]

    def _end(self, event: CameraEvent, scene: _Scene, at_us: int) -> Detection:
        del self._scenes[event.device]
        return self._say(event, scene, "clear", at_us)

    def _severity(self, score: float) -> int:
        reached = [s for s, level in self.settings.score_severity.items() if score >= level]
        return min([self.settings.severity, *reached])

    def _say(self, event: CameraEvent, scene: _Scene, phase: str, at_us: int) -> Detection:
        features: dict[str, Any] = {
            "event_id": event.event_id, "events": sorted(scene.open_us), "type": event.type, "score": event.score,
            "box": list(event.box) if event.box else None, "objects": list(event.objects),
            "snapshot_url": event.snapshot_url, "clip_url": event.clip_url, "text": event.text,
        }  # fmt: skip
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=event.device,
            episode_us=scene.episode_us, at_us=at_us, sampled_us=event.time_us, received_us=event.received_us,
            severity=scene.severity, metric="score", value=scene.score, limit=self.settings.score_min, unit="",
            late=is_late(event.received_us, event.time_us), title=self.rule.title,
            window_us=(scene.episode_us, event.time_us), features=features,
        )  # fmt: skip
