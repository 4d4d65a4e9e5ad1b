"""Rules that one detector judges in one go.

An array step costs the same for ten devices as for a hundred, so ten rules, each with its
own few devices, cost a block ten times what one does. A family shares its steps; what
is remembered stays each rule's own. Rules of unusual values are of one family when they are
alike but for the metric they watch and what their alerts say; thresholds always, but for rates of rise.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from alerting.detectors.base import Rule
from alerting.detectors.scalar import ScalarDetector, ScalarSettings
from alerting.detectors.threshold import Threshold, ThresholdSettings
from domain.alerts import Alert, Detection
from domain.readings import Block

OWN_SETTINGS = frozenset({"metric", "unit", "title", "severity"})
"""What rules of unusual values need not share."""


def likeness(rule: Rule) -> Hashable | None:
    """Equal for rules that may be of one family; None: such a rule stands alone."""
    if isinstance(rule.settings, ThresholdSettings):
        return None if rule.settings.rise_over_s else rule.detector
    if not isinstance(rule.settings, ScalarSettings):
        return None
    return rule.detector, tuple((name, value) for name, value in rule.settings if name not in OWN_SETTINGS)


@dataclass(eq=False, slots=True)
class Member:
    """A rule of a family, as the detector of that rule."""

    family: ScalarDetector[Any] | Threshold
    number: int
    rule: Rule = field(init=False)

    def __post_init__(self) -> None:
        self.rule = self.family.rules[self.number]

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """What the block makes known to the family; asked of one member, it is all members' answer."""
        return self.family.detect(block, metrics)

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an episode that was active before a restart."""
        self.family.resume(alert, episode_us, newest_us, self.number)

    def forget(self, device: int) -> None:
        """Begin anew with this device."""
        self.family.forget(device, self.number)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that is remembered of the rule, as copies."""
        return self.family.snapshot(self.number)

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; ValueError when it does not fit."""
        self.family.load(saved, self.number)
