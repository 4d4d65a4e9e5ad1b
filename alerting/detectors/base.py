"""What every detector shares: the rule it works by, the settings of a rule, and its two verbs.

Knows no detector; ``catalogue.py`` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from alerting.applies import EVERYWHERE, AppliesTo
from domain.alerts import Alert, Detection
from domain.devices import Device
from domain.readings import Block

Severity = Annotated[int, Field(ge=1, le=4)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Positive = Annotated[float, Field(gt=0)]

DeviceOf = Callable[[int], Device | None]
"""The registry's device of a key."""


class Words(NamedTuple):
    """A rule for people: what it looks at, from when on it speaks, and when an episode ends."""

    watches: str
    severities: str
    ends: str


class Title(BaseModel):
    """The alert's headline in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


STREAMS = ("readings", "waveforms", "camera_events", "positions", "statuses")
"""What stored data a detector can look at."""


class RuleSettings(BaseModel, ABC):
    """What every rule has. Unknown settings are refused: a misspelt limit would be an alarm that never comes.

    ``READS``: the streams the detector looks at; a back-test reads no others. ``KEEPS``:
    settings that may change while what was learnt and the delays under way stay valid;
    a change of any other begins anew, and only active episodes are taken up.
    """

    READS: ClassVar[frozenset[str]] = frozenset(STREAMS)
    KEEPS: ClassVar[frozenset[str]] = frozenset({"title"})

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    title: Title

    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics it looks at; none named = it may look at any."""
        given = [v for n, v in self if n in ("metric", "metrics") or n.endswith("_metric")]
        names = [name for v in given for name in ([v] if isinstance(v, str) else v or ())]
        return tuple(dict.fromkeys(name for name in names if name))

    def watched(self) -> str:
        """What two rules of one detector and kind must share to stand in for each other."""
        named = getattr(self, "metric", None) or getattr(self, "type", None)
        return named if isinstance(named, str) else ""

    @abstractmethod
    def words(self) -> Words:
        """The rule in words, for the documentation."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``detector`` says how to read ``settings``, ``kind`` what alerts are called.

    It judges the devices of ``applies_to``, data of event times in its validity; ``changed_by``: of this version.
    """

    id: str
    detector: str
    kind: str
    settings: RuleSettings
    version: int = 1
    enabled: bool = True
    applies_to: AppliesTo = EVERYWHERE
    valid_from_us: int | None = None
    valid_to_us: int | None = None
    changed_by: str = field(default="", compare=False)

    @property
    def slot(self) -> tuple[str, str, str]:
        """Rules of one slot stand in for each other: of those that apply, the most specific one holds."""
        return self.kind, self.detector, self.settings.watched()

    def valid_at(self, at_us: int) -> bool:
        """Whether it is in force at this event time; ``valid_to_us`` is the first moment it is not."""
        begun = self.valid_from_us is None or at_us >= self.valid_from_us
        return begun and (self.valid_to_us is None or at_us < self.valid_to_us)

    @property
    def title(self) -> dict[str, str]:
        """The headline of its alerts in both languages."""
        return {"zh": self.settings.title.zh, "en": self.settings.title.en}


class Detector(Protocol):
    """One rule over all devices it concerns. Pure: blocks in, detections out; a stream equals its blocks."""

    rule: Rule

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """What the block's rows made known, in event order per device; ``metrics``: name to key."""
        ...

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an episode that was active before a restart."""
        ...

    def forget(self, device: int) -> None:
        """Begin anew with this device, as if nothing had been seen of it."""
        ...

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that is remembered, as copies."""
        ...

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave, into a fresh detector; ValueError when it does not fit."""
        ...
