"""The words of alerting: what a machine noticed (Detection), what a person should see (Alert).

Two axes: ``condition`` is the sensor's (active | cleared), ``state`` is the
people's (new | acknowledged | assigned | closed). An alert whose condition
cleared by itself still waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from domain.places import UNKNOWN_PLACE, Duty, Place

SEVERITIES = (1, 2, 3, 4)
"""1 red (Ⅰ, worst), 2 orange, 3 yellow, 4 blue."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector's word about one device.

    ``phase``: ``onset`` (the condition began), ``update`` (it got worse: higher
    severity or a new peak) or ``clear`` (it ended). ``at_us``: event time of that
    moment; ``sampled_us``: event time of the sample that made it known, which with
    a packet or a duration is later than ``at_us``. ``episode_us``: event time of
    the onset, the same in all phases of one episode: with ``rule`` and ``device``
    it names the episode, so that the same data gives the same alert. ``rule_version``:
    of the rule that said so.
    """

    rule: str
    kind: str
    phase: str
    device: int
    episode_us: int
    at_us: int
    sampled_us: int
    received_us: int
    severity: int
    metric: str
    value: float
    limit: float
    unit: str
    late: bool
    title: dict[str, str]
    window_us: tuple[int, int]
    features: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    lon: float | None = None
    lat: float | None = None
    rule_version: int = 1


@dataclass(slots=True)
class Alert:
    """One alert as it stands; every change of it is a row of ``alert_change``.

    ``timeline_us`` has sampled, received, committed, detected, placed (the pushed
    time is known to the pushing server only).
    """

    id: str
    version: int
    kind: str
    matter: str | None
    rule: str
    severity: int
    condition: str
    state: str
    title: dict[str, str]
    device: int
    device_id: str
    device_kind: str
    episode_us: int
    started_us: int
    updated_us: int
    cleared_us: int | None
    late: bool
    count: int
    value: float
    limit: float
    unit: str
    metric: str
    lon: float | None
    lat: float | None
    exercise: str | None
    place: Place = UNKNOWN_PLACE
    duty: tuple[Duty, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)
    timeline_us: dict[str, int] = field(default_factory=dict)
    shelved_until_us: int | None = None
    assignee: str | None = None
    incident_id: str | None = None
    case_id: str | None = None
