"""What every detector shares: the rule it works by, the settings of a rule, and its two verbs.

Knows no detector; ``catalogue.py`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

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


class RuleSettings(BaseModel):
    """What every rule has. Unknown settings are refused: a misspelt limit would be an alarm that never comes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    title: Title

    def words(self) -> Words:
        """The rule in words, for the documentation."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``detector`` says how to read ``settings``, ``kind`` what alerts are called."""

    id: str
    detector: str
    kind: str
    settings: RuleSettings
    version: int = 1
    enabled: bool = True

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
