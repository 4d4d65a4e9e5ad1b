"""All detectors of the enabled rules, fed with one block.

Pure: a block in, detections out. Each rule sees the rows that are its own
(``alerting/holders.py``). A reading that cannot be (``physical_range``) is shown only
to detectors that look at the sensor itself: -127 °C is no cold. Rules may change
between two blocks: a rule that stays as it was keeps its detector, a changed one
takes over its memory where the new settings allow. The bank notes how far each
series was fed, so that after a restart the rows behind a snapshot can be found and
fed again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from alerting.detectors.base import Detector, DeviceOf, Rule
from alerting.detectors.catalogue import DETECTORS
from alerting.detectors.city_clock import CityClock
from alerting.detectors.family import Member, likeness
from alerting.detectors.fed import Fed
from alerting.detectors.physical_range import PhysicalRange
from alerting.dispatch.windows import Calendar
from alerting.holders import Holders
from alerting.rules import memory_fits
from domain.alerts import Alert, Detection
from domain.readings import Block

Memory = Mapping[str, NDArray[Any]]


class DetectorBank:
    """The detectors of a list of rules.

    ``metric_names``: names by metric key, as they stand now; new ones may appear
    at any time and are picked up with the next block.
    """

    def __init__(self, rules: Sequence[Rule], device: DeviceOf, metric_names: Callable[[], Sequence[str]]) -> None:
        self._metric_names = metric_names
        self._device = device
        self._keys: dict[str, int] = {}
        self._names: Sequence[str] = ()
        self._known = 0
        self._calendar: Calendar | None = None
        self.fed = Fed()
        self.detectors: dict[str, Detector] = {}
        self._turns: list[tuple[str, Detector]] = []
        """Who is fed, in order, each with the id of its (first) rule."""
        self.update(rules)

    @property
    def rules(self) -> list[Rule]:
        """The rules that are fed."""
        return [detector.rule for detector in self.detectors.values()]

    def feed(self, block: Block) -> list[Detection]:
        """What the block's rows made known; in event order per device and rule."""
        metrics = self._metric_keys()
        found: list[Detection] = []
        measured = self._measured(block, metrics)
        for rule_id, detector in self._turns:
            shown = block if DETECTORS[detector.rule.detector].sees_all else measured
            said = detector.detect(self._holders.part(rule_id, shown), metrics)
            if said and not self._holders.is_for_all(rule_id):
                # A detector of silences speaks of devices it is not shown any more.
                said = [d for d in said if self.holds(rule_id, d.device, d.sampled_us)]
            found += [self._of_version(d) for d in said]
        self.fed.note(block)
        return found

    def _of_version(self, d: Detection) -> Detection:
        version = self.detectors[d.rule].rule.version
        return d if version == 1 else replace(d, rule_version=version)

    def _measured(self, block: Block, metrics: Mapping[str, int]) -> Block:
        """The block without readings that cannot be."""
        for rule_id, detector in self.detectors.items():
            r = block.readings
            if isinstance(detector, PhysicalRange) and len(r):
                mine = self._holders.mine(rule_id, r.device, r.time_us)
                impossible = detector.impossible(r, metrics) & (True if mine is None else mine)
                if impossible.any():
                    block = replace(block, readings=r.take(~impossible))
        return block

    def update(self, rules: Sequence[Rule]) -> list[str]:
        """Take other rules; returns the ids of those whose active episodes the caller must ``restore``."""
        before, anew = self.detectors, []
        self._holders = Holders(rules, self._device)
        self.detectors, self._turns = {}, []
        for family in self._families([rule for rule in rules if rule.enabled]):
            detectors = self._kept(family, before) or self._made(family)
            self._turns.append((family[0].id, detectors[0]))
            for rule, detector in zip(family, detectors, strict=True):
                self.detectors[rule.id] = detector
                old = before.get(rule.id)
                if old is detector:
                    continue
                if old is None or not memory_fits(old.rule, rule) or not self.load(rule.id, old.snapshot()):
                    anew.append(rule.id)
        return anew

    def _families(self, rules: Sequence[Rule]) -> list[list[Rule]]:
        """Rules for every device that one detector judges in one go; every other rule by itself."""
        families: dict[Hashable, list[Rule]] = {}
        for rule in rules:
            alike = likeness(rule) if self._holders.is_for_all(rule.id) else None
            families.setdefault(rule.id if alike is None else alike, []).append(rule)
        return list(families.values())

    def _kept(self, family: Sequence[Rule], before: Mapping[str, Detector]) -> list[Detector]:
        """The detectors of a family of before that is the same; else none."""
        old = [before[rule.id] for rule in family if rule.id in before]
        if [detector.rule for detector in old] != family:
            return []
        of = [detector.family.rules if isinstance(detector, Member) else (detector.rule,) for detector in old]
        return old if all(rules == tuple(family) for rules in of) else []

    def _made(self, family: Sequence[Rule]) -> list[Detector]:
        kind = DETECTORS[family[0].detector]
        if kind.family is None or len(family) == 1:
            made = [kind.make(rule, self._device) for rule in family]
            self._set_clock(made[0])
            return made
        whole = kind.family(*family)
        self._set_clock(whole)
        return [Member(whole, number) for number in range(len(family))]

    def holds(self, rule_id: str, device: int, at_us: int) -> bool:
        """Whether this rule judges this device at this event time."""
        return self._holders.holds(rule_id, device, at_us)

    def forget_devices(self) -> None:
        """The registry has changed: ask anew which rule is whose."""
        self._holders.forget()

    def use_calendar(self, calendar: Calendar) -> None:
        """The city's zone and holidays, for the detectors that know the time of day, those of rules to come too."""
        self._calendar = calendar
        for _, detector in self._turns:
            self._set_clock(detector)

    def _set_clock(self, detector: Detector) -> None:
        clock = getattr(detector.family if isinstance(detector, Member) else detector, "clock", None)
        if isinstance(clock, CityClock) and self._calendar is not None:
            clock.use(self._calendar)

    def restore(self, alert: Alert, newest_us: int, episode_us: int) -> None:
        """Tell the detector of an active alert's rule that the episode goes on."""
        detector = self.detectors.get(alert.rule)
        if detector is not None:
            detector.resume(alert, episode_us, newest_us)

    def forget(self, rule_id: str, device: int) -> None:
        """This rule begins anew with this device."""
        detector = self.detectors.get(rule_id)
        if detector is not None:
            detector.forget(device)

    def snapshot(self) -> list[tuple[Rule, Memory]]:
        """Every detector's memory, as copies; all of one moment when taken without a pause."""
        return [(detector.rule, detector.snapshot()) for detector in self.detectors.values()]

    def load(self, rule_id: str, memory: Memory) -> bool:
        """Give a detector a memory; False, and it has none, when that is of another kind."""
        try:
            self.detectors[rule_id].load(memory)
        except (ValueError, KeyError):
            return False
        return True

    def _metric_keys(self) -> Mapping[str, int]:
        names = self._metric_names()
        if names is not self._names or len(names) != self._known:
            self._names = names
            self._keys = {name: key for key, name in enumerate(names) if name}
            self._known = len(names)
        return self._keys
