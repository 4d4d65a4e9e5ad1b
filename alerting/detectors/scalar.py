"""What the detectors of unusual values share: a statistic against its own past, one alarm an anomaly, hold-off.

A kernel (``level.py``, ``change.py`` …) says how far each value lies from what it
expected, in units of that sensor's own scatter. This module learns how large the
statistic usually gets, sets the limit from the wanted number of alarms per sensor
and year (``tail.py``), and declusters: an episode begins when the limit is passed
and ends after ``hold_off_s`` without another passing, so that one anomaly is one
notice. It says nothing before it has seen ``learn_s`` of event time. Rows that are
late or not newer than the newest of their device are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alerting.detectors.base import Positive, Rule, RuleSettings, Severity, Words
from alerting.detectors.rows import NEVER, DeviceState, Rows64, is_late, rounds_of
from alerting.detectors.tail import PRIOR_COUNT, PRIOR_EXCESS, WARM, YEAR_S, excess_step, quantile_step, tail_limit
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, Float64, Int64, Readings, SeriesRows
from domain.sorting import begins, order_by

METRIC = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
TEACHES = 3.0
"""An event teaches at most so many limits. It does raise the limit, for about a hundred values beyond the
quantile: what comes every few days is no event; with 1 here rain was told twice as often."""
TINY = float(np.finfo(float).tiny)
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


class Step(NamedTuple):
    """One round: each row at most once, all newer than their newest; ``gap_s`` since then, NaN at first."""

    row: Rows64
    time_us: Int64
    value: Float64
    received_us: Int64
    gap_s: Float64


class Judged(NamedTuple):
    """A kernel's word on the values of a step ``(n,)``.

    ``z``: how unusual, at least 0, NaN = it cannot say; ``expected`` and ``scale`` in
    the metric's unit, for people.
    """

    z: Float64
    expected: Float64
    scale: Float64


class Strength(NamedTuple):
    """``strength``: 1 is the limit, 0 while it is not known; with what it was made of, for people."""

    strength: Float64
    expected: Float64
    scale: Float64
    limit: Float64


def zeros(*shape: int) -> Float64:
    """State with no rows yet."""
    return np.zeros(shape)


def ew_rate(gap_s: Float64, memory_s: float, count: Float64) -> Float64:
    """The weight of a new value in an average over ``memory_s``: 1/n at first. A gap weighs as one step."""
    steady = -np.expm1(gap_s / -memory_s)
    return np.fmax(np.minimum(steady, 0.5), 1.0 / (count + 1.0))  # a first gap is NaN


class ScalarDetector(DeviceState):
    """One rule over all devices that send its metric; a kernel derives and gives ``judge`` and its ``FIELDS``."""

    FIELDS: ClassVar[Mapping[str, float]] = {
        "_newest": NEVER, "_begun": NEVER, "_seen": 0, "_limit": np.inf, "_tail_q": 0, "_tail_mean": PRIOR_EXCESS,
        "_tail_square": 2 * PRIOR_EXCESS**2, "_tail_count": PRIOR_COUNT, "_episode": NEVER, "_loud": NEVER,
        "_told": 0, "_peak": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        assert isinstance(rule.settings, ScalarSettings)
        self.rule = rule
        self.common: ScalarSettings = rule.settings
        self._learn_us = round(self.common.learn_s * 1e6)
        self._hold_us = round(self.common.hold_off_s * 1e6)
        for name in ("_newest", "_begun", "_episode", "_loud"):
            setattr(self, name, np.zeros(0, np.int64))
        for name in ("_seen", "_limit", "_tail_q", "_tail_mean", "_tail_square", "_tail_count", "_told"):
            setattr(self, name, np.zeros(0, np.float32))
        self._peak: Float64 = zeros(0)

    _newest: Int64
    _begun: Int64
    _episode: Int64
    _loud: Int64
    _seen: NDArray[Any]
    _limit: NDArray[Any]
    _tail_q: NDArray[Any]
    _tail_mean: NDArray[Any]
    _tail_square: NDArray[Any]
    _tail_count: NDArray[Any]
    _told: NDArray[Any]

    # ------------------------------------------------------------ the kernel's part

    def judge(self, at: Step) -> Judged:
        """How unusual each value is; learns from it."""
        raise NotImplementedError

    def companion(self) -> str | None:
        """Another metric of the same device that the kernel wants to see, or None."""
        return None

    def learn_companion(self, row: Rows64, time_us: Int64, value: Float64) -> None:
        """Take the companion's newest values; each row at most once."""

    # ------------------------------------------------------------ the two verbs

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Judge the block's readings of the rule's metric."""
        metric = metrics.get(self.common.metric)
        if metric is None or not len(block.readings):
            return []
        other = self.companion()
        return self.feed(block.readings, metric, None if other is None else metrics.get(other))

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        r = self.rows_of(np.array([alert.device], np.int32))
        self._newest[r] = np.maximum(self._newest[r], newest_us)
        self._episode[r], self._loud[r] = episode_us, newest_us
        self._told[r], self._peak[r] = 1.0, alert.value

    def feed(self, readings: Readings, metric: int, companion: int | None = None) -> list[Detection]:
        """Judge the rows of one metric key; detections are in event order per device."""
        rows = _chosen(readings.by_series, metric, companion)
        if not len(rows.device):
            return []
        row = self.rows_of(rows.device)
        found: list[Detection] = []
        for part in rounds_of(rows.first):
            if rows.judged is not None:
                own = rows.judged[part]
                beside = part[~own]
                if len(beside):
                    self.learn_companion(row[beside], rows.time_us[beside], rows.value[beside])
                part = part[own]
            newest = self._newest[row[part]]
            new = rows.time_us[part] > newest
            if np.count_nonzero(new) < len(part):
                part, newest = part[new], newest[new]
            if len(part):
                at, t = row[part], rows.time_us[part]
                step = Step(at, t, rows.value[part], rows.received_us[part], self._gap_s(at, t, newest))
                found += self.tell(step, self.measure(step))
        return found

    # ------------------------------------------------------------ one step

    def step_of(self, row: Rows64, time_us: Int64, value: Float64, received_us: Int64) -> Step:
        """The next values of these rows; notes their times."""
        return Step(row, time_us, value, received_us, self._gap_s(row, time_us, self._newest[row]))

    def _gap_s(self, row: Rows64, time_us: Int64, newest: Int64) -> Float64:
        gap_s: Float64 = (time_us - newest) / 1e6
        first = newest == NEVER
        if np.count_nonzero(first):
            gap_s[first] = np.nan
            self._begun[row[first]] = time_us[first]
        self._newest[row] = time_us
        return gap_s

    def measure(self, at: Step) -> Strength:
        """The kernel's statistic over its limit; learns the tail."""
        judged = self.judge(at)
        known = np.isfinite(judged.z)
        if np.count_nonzero(known) == len(known):
            limit = self._limit[at.row].astype(np.float64)
            ready = self._learn_tail(at, at.row, judged.z, limit)
            return Strength(np.where(ready, judged.z / limit, 0.0), judged.expected, judged.scale, limit)
        strength, limit = np.zeros(len(known)), np.full(len(known), np.nan)
        some = known.nonzero()[0]
        if len(some):
            r, z = at.row[some], judged.z[some]
            limit[some] = self._limit[r]
            strength[some] = np.where(self._learn_tail(at, r, z, limit[some], some), z / limit[some], 0.0)
        return Strength(strength, judged.expected, judged.scale, limit)

    def _learn_tail(self, at: Step, r: Rows64, z: Float64, limit: Float64, some: Rows64 | None = None) -> Bool:
        """Learn these values of the statistic; returns where the limit before them may be relied on."""
        time_us = at.time_us if some is None else at.time_us[some]
        seen, q = self._seen[r].astype(np.float64), self._tail_q[r].astype(np.float64)
        warm = seen >= WARM
        taught = np.where(warm, np.minimum(z, TEACHES * limit), z)  # an event is not what is usual
        watched_us = time_us - self._begun[r]
        self._tail_q[r] = quantile_step(q, taught, seen)
        self._seen[r] = seen + 1
        over = ((taught > q) & warm | (seen == WARM)).nonzero()[0]
        if len(over):
            k, n = r[over], seen[over] + 1
            excess = np.maximum(taught[over] - q[over], 0.0)
            moments = excess_step(self._tail_mean[k], self._tail_square[k], self._tail_count[k], excess)
            self._tail_mean[k], self._tail_square[k], self._tail_count[k] = moments
            every_s = np.minimum(watched_us[over] / 1e6 / n, self.common.gap_s)
            share = np.maximum(self.common.alarms_per_year * every_s / YEAR_S, 1e-12)
            self._limit[k] = np.maximum(
                tail_limit(self._tail_q[k].astype(np.float64), *moments[:2], share), self.common.limit_min
            )
        return (seen > WARM) & (watched_us >= self._learn_us)

    def hold_us(self, at: Step) -> Int64 | int:
        """Quiet time that ends an episode."""
        return self._hold_us

    def tell(self, at: Step, found: Strength) -> list[Detection]:
        """Onset, update and clear of episodes."""
        r, strength = at.row, found.strength
        loud = strength >= 1.0
        active = self._episode[r] != NEVER
        if not np.count_nonzero(loud | active):
            return []
        onset = loud & ~active
        again = active & (strength >= self.common.again * self._told[r])
        clear = active & ~loud & (at.time_us - self._loud[r] >= self.hold_us(at))
        self._loud[r[loud]] = at.time_us[loud]
        self._episode[r[onset]] = at.time_us[onset]
        speaks = onset | again
        self._told[r[speaks]] = strength[speaks]
        self._peak[r[speaks]] = at.value[speaks]
        out = [
            self._say(at, found, int(i), "onset" if onset[i] else "clear" if clear[i] else "update")
            for i in np.flatnonzero(speaks | clear)
        ]
        self._episode[r[clear]] = NEVER
        return out

    def active(self, at: Step) -> Bool:
        """Which rows are within an episode."""
        return np.asarray(self._episode[at.row] != NEVER)

    def speaks(self, at: Step, found: Strength) -> Bool:
        """Whether ``tell`` would say something new about each row now (for the back-test)."""
        active = self._episode[at.row] != NEVER
        return np.where(active, found.strength >= self.common.again * self._told[at.row], found.strength >= 1.0)

    def _say(self, at: Step, found: Strength, i: int, phase: str) -> Detection:
        r, t, s = int(at.row[i]), int(at.time_us[i]), self.common
        value, expected = float(at.value[i]), float(found.expected[i])
        reach = float(found.scale[i] * found.limit[i])
        bound = expected + (reach if value >= expected else -reach)
        episode, received = int(self._episode[r]), int(at.received_us[i])
        features = {
            "strength": round(float(found.strength[i]), 3), "expected": _rounded(expected), "now": value,
            "statistic_limit": round(float(found.limit[i]), 3), "alarms_per_year": s.alarms_per_year,
        }  # fmt: skip
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[r]),
            episode_us=episode, at_us=int(self._loud[r]) if phase == "clear" else t, sampled_us=t,
            received_us=received, severity=s.severity, metric=s.metric, value=float(self._peak[r]),
            limit=_rounded(bound), unit=s.unit, late=is_late(received, t), title=self.rule.title,
            window_us=(episode, t), features=features,
        )  # fmt: skip


class _Chosen(NamedTuple):
    """A metric's finite values and its companion's, by device in the order received.

    ``first``: where another device begins; ``judged``: which are the metric's, None = all.
    """

    device: Int64
    time_us: Int64
    value: Float64
    received_us: Int64
    first: Bool
    judged: Bool | None


def _chosen(rows: SeriesRows, metric: int, companion: int | None) -> _Chosen:
    none = slice(0, 0)
    own, other = rows.spans.get(metric, none), none if companion is None else rows.spans.get(companion, none)
    if other.start == other.stop and np.isfinite(rows.value[own]).all():  # nearly always: nothing is copied
        columns = rows.device[own], rows.time_us[own], rows.value[own], rows.received_us[own]
        return _Chosen(*columns, rows.first[own], None)
    place = np.concatenate([np.arange(own.start, own.stop), np.arange(other.start, other.stop)])
    place = place[np.isfinite(rows.value[place])]
    place = place[order_by(rows.device[place], rows.at[place])]
    device, judged = rows.device[place], (place >= own.start) & (place < own.stop)
    columns = device, rows.time_us[place], rows.value[place], rows.received_us[place]
    return _Chosen(*columns, begins(device), judged)


def _rounded(number: float) -> float:
    """Six digits: more is noise."""
    return float(f"{number:.6g}")
