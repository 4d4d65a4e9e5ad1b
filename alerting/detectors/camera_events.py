"""A camera's events of one type: start, update and end become one episode.

Events of the same type that overlap on one camera are one episode (it ends with
the last of them): two people in a yard are one intrusion. An event without an
end is given up ``stale_s`` after its last message, at the next message of that
camera.

Cameras see much that nobody should be woken for, so a rule (each camera may have
its own) can ask for more than a score: that it was seen in ``persist_n`` messages,
and for ``persist_s`` (which makes *loitering* of a person who stays); and after an
episode has ended, the like of it is not told again for ``retrigger_s``, unless it
is worse. Time passes by messages only: whoever stays without a further message is
told at the event's end. The picture with the highest score is the episode's.

Camera events are rare, so this is plain Python, one object per camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Annotated, Any, ClassVar

from numpy.typing import NDArray
from pydantic import Field

from alerting.detectors.base import Positive, Rule, RuleSettings, Seconds, Severity, Words
from alerting.detectors.rows import is_late, packed, unpacked
from domain.alerts import Alert, Detection
from domain.readings import Block, CameraEvent

EVENTS_MAX = 256
"""Events of one camera that are remembered, so that a message delivered twice counts once."""


class CameraSettings(RuleSettings):
    """One type of camera event: the score it needs, for how long, and its severities by score."""

    READS: ClassVar = frozenset({"camera_events"})
    KEEPS: ClassVar = frozenset(
        {"title", "score_min", "severity", "score_severity", "stale_s", "persist_n", "persist_s", "retrigger_s"}
    )

    type: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    score_min: Annotated[float, Field(ge=0, le=1)] = 0.5
    severity: Severity = 3
    score_severity: dict[Severity, Annotated[float, Field(ge=0, le=1)]] = Field({})
    stale_s: Positive = 300.0
    persist_n: Annotated[int, Field(ge=1, le=1000)] = 1
    persist_s: Seconds = 0.0
    retrigger_s: Seconds = 0.0

    def words(self) -> Words:
        """The rule in words."""
        scores = [f"{self.severity}: score ≥ {self.score_min:g}"]
        scores += [f"{k}: ≥ {level:g}" for k, level in sorted(self.score_severity.items(), reverse=True)]
        stays = f" for {self.persist_s:g} s" if self.persist_s else ""
        seen = f" in {self.persist_n} messages" if self.persist_n > 1 else ""
        quiet = f", then quiet for {self.retrigger_s:g} s" if self.retrigger_s else ""
        watches = f"camera events of type `{self.type}`{seen}{stays}"
        return Words(watches, ", ".join(scores), f"the event's end{quiet}")


@dataclass(slots=True)
class _Scene:
    """What is open on one camera: newest message of each event, how often it was seen, and what was told."""

    newest_us: int
    episode_us: int
    severity: int
    score: float
    open_us: dict[str, int] = field(default_factory=dict)
    seen_n: int = 0
    told: bool = False
    picture: dict[str, Any] = field(default_factory=dict)


class CameraEvents:
    """One rule (one type of event) over all cameras."""

    def __init__(self, rule: Rule) -> None:
        assert isinstance(rule.settings, CameraSettings)
        self.rule = rule
        self.settings = rule.settings
        self._scenes: dict[int, _Scene] = {}
        self._newest: dict[int, dict[str, int]] = {}  # newest message of each event, by camera
        self._quiet: dict[int, tuple[int, int]] = {}  # until when the like of an ended episode is not told

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
            {str(event): newest_us for event in events}, self.settings.persist_n, True,
        )  # fmt: skip
        for event in events:
            self._note(device, str(event), newest_us)

    def forget(self, device: int) -> None:
        """Begin anew with this camera."""
        self._scenes.pop(device, None)
        self._newest.pop(device, None)
        self._quiet.pop(device, None)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that is remembered."""
        scenes = [[device, *astuple(scene)] for device, scene in self._scenes.items()]
        quiet = [[device, *until] for device, until in self._quiet.items()]
        return {"json": packed({"scenes": scenes, "newest": list(self._newest.items()), "quiet": quiet})}

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; ValueError when it is of another kind."""
        memory = unpacked(saved)
        self._scenes = {device: _Scene(*scene) for device, *scene in memory["scenes"]}
        self._newest = {device: dict(newest) for device, newest in memory["newest"]}
        self._quiet = {device: (until_us, severity) for device, until_us, severity in memory.get("quiet", [])}

    def feed(self, events: Sequence[CameraEvent]) -> list[Detection]:
        """Judge events in the order received."""
        found: list[Detection] = []
        for event in events:
            if event.type != self.settings.type or event.late:
                continue
            if event.time_us <= self._newest.get(event.device, {}).get(event.event_id, -1):
                continue  # this message, or a later one of the same event, was seen before
            found += self._take(event)
        return found

    def _take(self, event: CameraEvent) -> list[Detection]:
        found = self._give_up_stale(event)
        scene = self._scenes.get(event.device)
        known = scene is not None and event.event_id in scene.open_us
        if event.phase == "end":
            return found + (self._event_ends(event, scene) if known and scene is not None else [])
        score = 1.0 if event.score is None else event.score
        if not known and score < self.settings.score_min:
            return found
        self._note(event.device, event.event_id, event.time_us)
        severity = self._severity(score)
        if scene is None:
            scene = self._scenes[event.device] = _Scene(event.time_us, event.time_us, severity, score)
        worse = severity < scene.severity
        scene.severity, scene.score = min(severity, scene.severity), max(score, scene.score)
        scene.open_us[event.event_id] = event.time_us
        scene.seen_n += score >= self.settings.score_min
        keep_picture(scene, event, score)
        if not scene.told:
            return found + self._tell(event, scene)
        if worse or not known:
            found.append(self._say(event, scene, "update", event.time_us))
        return found

    def _tell(self, event: CameraEvent, scene: _Scene) -> list[Detection]:
        """The onset, once it was seen often and long enough and is not the like of what has just ended."""
        s = self.settings
        if scene.seen_n < s.persist_n or event.time_us - scene.episode_us < round(s.persist_s * 1e6):
            return []
        quiet_us, was = self._quiet.get(event.device, (-1, 0))
        if event.time_us < quiet_us and scene.severity >= was:
            return []
        scene.told = True
        return [self._say(event, scene, "onset", scene.episode_us)]

    def _event_ends(self, event: CameraEvent, scene: _Scene) -> list[Detection]:
        self._note(event.device, event.event_id, event.time_us)  # its start may come again
        found = [] if scene.told else self._tell(event, scene)
        del scene.open_us[event.event_id]
        return found if scene.open_us else found + self._end(event, scene, event.time_us)

    def _note(self, device: int, event_id: str, time_us: int) -> None:
        """Remember an event's newest message; of more than ``EVENTS_MAX`` the one noted first is forgotten."""
        seen = self._newest.setdefault(device, {})
        seen.pop(event_id, None)
        seen[event_id] = time_us
        if len(seen) > EVENTS_MAX:
            del seen[next(iter(seen))]

    def _give_up_stale(self, event: CameraEvent) -> list[Detection]:
        scene = self._scenes.get(event.device)
        if scene is None:
            return []
        limit_us = round(self.settings.stale_s * 1e6)
        last_us = max(scene.open_us.values())
        stale = [e for e, t in scene.open_us.items() if e != event.event_id and event.time_us - t > limit_us]
        for name in stale:
            del scene.open_us[name]
        return [] if scene.open_us else self._end(event, scene, last_us + limit_us)

    def _end(self, event: CameraEvent, scene: _Scene, at_us: int) -> list[Detection]:
        """The last event of a scene is over; what was not told needs no clear."""
        del self._scenes[event.device]
        if not scene.told:
            return []
        self._quiet[event.device] = (at_us + round(self.settings.retrigger_s * 1e6), scene.severity)
        return [self._say(event, scene, "clear", at_us)]

    def _severity(self, score: float) -> int:
        reached = [s for s, level in self.settings.score_severity.items() if score >= level]
        return min([self.settings.severity, *reached])

    def _say(self, event: CameraEvent, scene: _Scene, phase: str, at_us: int) -> Detection:
        features: dict[str, Any] = {
            "event_id": event.event_id, "events": sorted(scene.open_us), "type": event.type, "score": event.score,
            "box": list(event.box) if event.box else None, "objects": list(event.objects),
            "snapshot_url": event.snapshot_url, "clip_url": event.clip_url, "text": event.text, **scene.picture,
            "seen_n": scene.seen_n, "seen_s": round((event.time_us - scene.episode_us) / 1e6, 1),
        }  # fmt: skip
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=event.device,
            episode_us=scene.episode_us, at_us=at_us, sampled_us=event.time_us, received_us=event.received_us,
            severity=scene.severity, metric="score", value=scene.score, limit=self.settings.score_min, unit="",
            late=is_late(event.received_us, event.time_us), title=self.rule.title,
            window_us=(scene.episode_us, event.time_us), features=features,
        )  # fmt: skip


def keep_picture(scene: _Scene, event: CameraEvent, score: float) -> None:
    """The episode's picture is the one with the highest score, its clip the newest."""
    if event.snapshot_url and score >= scene.picture.get("snapshot_score", 0.0):
        scene.picture |= {"snapshot_url": event.snapshot_url, "snapshot_score": score}
    if event.clip_url:
        scene.picture["clip_url"] = event.clip_url
