"""What the detectors of unusual values share: rows, episodes, one alarm an anomaly, hold-off.

A detector says how strong each value is against what it would tell. This module feeds it
the new values of a block (``steps.py``) and declusters: an episode begins when the strength
reaches 1 and ends after ``hold_off_s`` without another such value, so that one anomaly is one notice.
Rows that are late or not newer than the newest of their device are skipped. Most
detectors are kernels, whose limit is learnt: ``kernel.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Generic, NamedTuple, Self, TypeVar, cast

import numpy as np
from pydantic import Field

from alerting.detectors.base import Positive, Rule, RuleSettings, Severity, Words
from alerting.detectors.rows import NEVER, Rows64, RuleState, is_late
from alerting.detectors.steps import Steps, gaps
from alerting.detectors.values import Values, alone, beside, joined
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float32, Float64, Int64, Readings, SeriesRows
from domain.sorting import begins

METRIC = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
NONE = slice(0, 0)
Days = Annotated[float, Field(ge=0, le=366 * 86_400)]


class ScalarSettings(RuleSettings):
    """What every detector of unusual values takes.

    ``alarms_per_year``: wanted alarms per sensor and year while nothing is wrong;
    ``limit_min``: the statistic below which it never speaks; ``learn_s``: event time
    it watches before it speaks; ``hold_off_s``: quiet time that ends an episode;
    ``gap_s``: silence after which what depends on the value before begins anew;
    ``again``: how many times stronger than last told an episode must get to be told again.
    """

    metric: str = Field(pattern=METRIC)
    unit: str = ""
    severity: Severity = 4
    alarms_per_year: Annotated[float, Field(gt=0, le=100_000)] = 2.0
    limit_min: Positive = 5.0
    learn_s: Days = 259_200.0
    hold_off_s: Days = 21_600.0
    gap_s: Positive = 3_600.0
    again: Annotated[float, Field(gt=1)] = 2.5

    def words(self) -> Words:
        """The rule in words."""
        unit = f" ({self.unit})" if self.unit else ""
        often = f"{self.severity}: so unusual that it comes {self.alarms_per_year:g} times a sensor and year"
        return Words(f"`{self.metric}`{unit}", often, f"usual for {self.hold_off_s / 3600:g} h")


class Strength(NamedTuple):
    """``strength``: 1 is the limit, 0 while it is not known; with what it was made of, for people.

    ``rests``: where an episode may end, None = after ``hold_off_s``.
    """

    strength: Float64
    expected: Float64
    scale: Float64
    limit: Float64
    rests: Bool | None = None


class Taken(NamedTuple):
    """What a detector made of some values: which were new, how strong they are, and what it says of them."""

    at: Steps
    found: Strength
    said: list[Detection]


def zeros(*shape: int) -> Float64:
    """State with no rows yet."""
    return np.zeros(shape)


class Own:
    """What every value reads and writes of its row, as columns of rows ``(m, …)``; detectors add to ``NAMES``.

    Taken from the memory once for all values of a block, written in place, and put back. What
    is seldom touched stays in the detector, at ``row``.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("newest", "begun", "seen", "episode")

    row: Rows64
    newest: Int64
    begun: Int64
    seen: Float32
    episode: Int64

    def some(self, which: Rows64 | slice) -> Self:
        """Some of the rows: of a slice the same columns, of places copies."""
        part = type(self)()
        part.row = self.row[which]
        for name in self.NAMES:
            setattr(part, name, getattr(self, name)[which])
        return part

    def put(self, which: Rows64, part: Self) -> None:
        """Write back what ``some`` copied."""
        for name in self.NAMES:
            getattr(self, name)[which] = getattr(part, name)


OwnT = TypeVar("OwnT", bound=Own)


class ScalarDetector(RuleState, ABC, Generic[OwnT]):
    """Rules over all devices that send their metrics; a detector gives ``measure`` and its part of the memory.

    One rule, or several that are alike but for their metric, unit, title and severity: they
    cost as many array steps as one.
    """

    FIELDS: ClassVar[Mapping[str, float]] = {
        "_newest": NEVER, "_begun": NEVER, "_seen": 0, "_episode": NEVER, "_loud": NEVER, "_told": 0, "_peak": 0,
    }  # fmt: skip
    OWN: ClassVar[type[Own]] = Own

    def __init__(self, *rules: Rule) -> None:
        super().__init__()
        self.rule, self.rules = rules[0], rules
        assert isinstance(self.rule.settings, ScalarSettings)
        self.common: ScalarSettings = self.rule.settings
        self._metrics = [cast(ScalarSettings, rule.settings).metric for rule in rules]
        self._hold_us = round(self.common.hold_off_s * 1e6)
        for name in ("_newest", "_begun", "_episode", "_loud"):
            setattr(self, name, np.zeros(0, np.int64))
        for name in ("_seen", "_told"):
            setattr(self, name, np.zeros(0, np.float32))
        self._peak: Float64 = zeros(0)

    _newest: Int64
    _episode: Int64
    _loud: Int64
    _told: Float32
    _seen: Float32

    # ------------------------------------------------------------ the detector's part

    @abstractmethod
    def measure(self, own: OwnT, at: Steps) -> Strength:
        """How strong each value is; learns from it. A companion's is 0."""

    def companion(self) -> str | None:
        """Another metric of the same device that it wants to see, or None."""
        return None

    # ------------------------------------------------------------ rows

    def own(self, row: Rows64) -> OwnT:
        """The columns of these rows; each at most once."""
        own = self.OWN()
        own.row = row
        for name in own.NAMES:
            setattr(own, name, getattr(self, f"_{name}")[row])
        return cast(OwnT, own)

    def keep(self, own: OwnT) -> None:
        """Put back what ``own`` gave."""
        for name in own.NAMES:
            getattr(self, f"_{name}")[own.row] = getattr(own, name)

    def resume(self, alert: Alert, episode_us: int, newest_us: int, number: int = 0) -> None:
        """Take up an alert's episode after a restart."""
        r = self.row_of(np.array([alert.device], np.int32), number)
        self._newest[r] = np.maximum(self._newest[r], newest_us)
        self._episode[r], self._loud[r] = episode_us, newest_us
        self._told[r], self._peak[r] = 1.0, alert.value

    # ------------------------------------------------------------ a block

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings of the rules' metrics."""
        return self.feed(block.readings, metrics) if len(block.readings) else []

    def feed(self, readings: Readings, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the rows of the rules' metrics; detections are in event order per device and rule."""
        values = self._chosen(readings.by_series, metrics)
        taken = None if values is None else self.take_in(values)
        return [] if taken is None else taken.said

    def take_in(self, values: Values) -> Taken | None:
        """Judge the new ones of these values; None when there are none."""
        self._grow(len(self))
        at = Steps(values)
        own = self.own(at.row)
        if not at.all_newer(own.newest):
            values = values.newer(self._newest[values.row])
            if not len(values.row):
                return None
            at = Steps(values)
            own = self.own(at.row)
        self.begin(own, at)
        found = self.measure(own, at)
        said = self.tell(own, at, found)
        self.keep(own)
        return Taken(at, found, said)

    def begin(self, own: OwnT, at: Steps) -> None:
        """Note the times of new values, and the gaps between them."""
        if at.judged is None:
            at.gap_s = self._note_times(own, at)
            return
        mine = np.flatnonzero(at.judged)
        some = at.some(mine)
        part = own.some(some.row)
        at.gap_s = np.full(len(at), np.nan)
        at.gap_s[mine] = self._note_times(part, some)
        own.put(some.row, part)

    def _note_times(self, own: OwnT, at: Steps) -> Float64:
        """Seconds since the value before each."""
        gap_s = gaps(at.time_us, at.before(at.time_us, own.newest))
        fresh = own.newest == NEVER
        if np.count_nonzero(fresh):
            own.begun[fresh] = at.laid(at.time_us)[: len(own.row)][fresh]
        own.newest[:] = at.last(at.time_us)
        return gap_s

    def _chosen(self, rows: SeriesRows, metrics: Mapping[str, int]) -> Values | None:
        """The finite values of the rules' metrics, and their companion's; None = none."""
        name = self.companion()
        other = rows.spans.get(metrics.get(name, -1)) if name else None
        spans = {n: span for n, of in enumerate(self._metrics) if (span := rows.spans.get(metrics.get(of, -1)))}
        numbers, parts = list(spans), list(spans.values())
        if other is None:
            return alone(rows, self.rows_in(numbers, parts, rows.device), parts)
        if not self._seen_at_all(rows.device[other]):  # nearly always: they send nothing else
            known = self.known_rows(numbers, parts, rows.device)
            if known is not None:
                return alone(rows, known, parts)
        every = [self._with_companion(n, rows, spans.get(n, NONE), other) for n in range(len(self.rules))]
        return joined([values for values in every if values is not None])

    def _with_companion(self, number: int, rows: SeriesRows, mine: slice, other: slice) -> Values | None:
        """The finite values of a rule's metric and its companion's; None = none."""
        known = self._seen_of(number, rows.device[other])
        if not known.any() and self._seen_of(number, rows.device[mine]).all():  # of devices that send nothing else
            return alone(rows, self._of_metric(number, rows.device[mine]), [mine])
        place, judged = beside(rows, mine, other, known)
        if not len(place):
            return None
        device = rows.device[place]
        columns = rows.time_us[place], rows.value[place], rows.received_us[place]
        return Values(self._of_metric(number, device), *columns, begins(device), judged)

    # ------------------------------------------------------------ episodes

    def tell(self, own: OwnT, at: Steps, found: Strength) -> list[Detection]:
        """Onset, update and clear of episodes."""
        loud = found.strength >= 1.0
        busy = own.episode != NEVER
        if not np.count_nonzero(loud) and not np.count_nonzero(busy):
            return []
        busy[at.of(np.flatnonzero(loud))] = True
        speak = at.per(busy) if at.judged is None else at.per(busy) & at.judged
        which, out = np.flatnonzero(speak), list[Detection]()
        for part in at.turns(which):
            out += self._tell_some(own, at, found, which[part])
        return out

    def _tell_some(self, own: OwnT, at: Steps, found: Strength, i: Rows64) -> Iterator[Detection]:
        """Of these values, one of each row."""
        o = at.of(i)
        r, t, strength = own.row[o], at.time_us[i], found.strength[i]
        loud, active = strength >= 1.0, own.episode[o] != NEVER
        onset = loud & ~active
        again = active & (strength >= self.common.again * self._told[r])
        rests = t - self._loud[r] >= self._hold_us if found.rests is None else found.rests[i]
        clear = active & ~loud & rests
        self._loud[r[loud]] = t[loud]
        own.episode[o[onset]] = t[onset]
        speaks = onset | again
        self._told[r[speaks]] = strength[speaks]
        self._peak[r[speaks]] = at.value[i[speaks]]
        for k in np.flatnonzero(speaks | clear).tolist():
            phase = "onset" if onset[k] else "clear" if clear[k] else "update"
            yield self._say(int(r[k]), int(own.episode[o[k]]), at, found, int(i[k]), phase)
        own.episode[o[clear]] = NEVER

    def _say(self, r: int, episode: int, at: Steps, found: Strength, i: int, phase: str) -> Detection:
        t, received = int(at.time_us[i]), int(at.received_us[i])
        rule = self.rules[self.metric[r]]
        s = cast(ScalarSettings, rule.settings)
        value, expected = float(at.value[i]), float(found.expected[i])
        reach = float(found.scale[i] * found.limit[i])
        bound = expected + (reach if value >= expected else -reach)
        features = {
            "strength": round(float(found.strength[i]), 3), "expected": _rounded(expected), "now": value,
            "alarms_per_year": s.alarms_per_year,
        }  # fmt: skip
        if np.isfinite(found.limit[i]):  # an episode may end at a value that is not compared, such as after a gap
            features["statistic_limit"] = round(float(found.limit[i]), 3)
        return Detection(
            rule=rule.id, kind=rule.kind, phase=phase, device=int(self.device[r]),
            episode_us=episode, at_us=int(self._loud[r]) if phase == "clear" else t, sampled_us=t,
            received_us=received, severity=s.severity, metric=s.metric, value=float(self._peak[r]),
            limit=_rounded(bound), unit=s.unit, late=is_late(received, t), title=rule.title,
            window_us=(episode, t), features=features,
        )  # fmt: skip


def _rounded(number: float) -> float:
    """Six digits: more is noise."""
    return float(f"{number:.6g}")
