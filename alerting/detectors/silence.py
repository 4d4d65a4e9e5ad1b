"""A device that is not heard any more, and the gateway whose silence explains its children's.

Time is the arrival of what others send: the newest arrival of the same run (or of
all real traffic). So a replay at any speed finds the same silences, and a server,
broker or network that hears nobody finds none: a time in which nobody at all was
heard is not counted when it was longer than ``deaf_s`` and than two periods of
whoever speaks most often.

A device is silent after ``periods`` times its period: the registry's ``period_s``,
else the longest of its own gaps (forgotten over days, and known after ``learn_n``
readings or packets over ``learn_s``, because some sensors send only bursts), and
never before ``s_min``, or ``offline_s`` once its last will has said that it is gone.
A camera and a vehicle speak when something happens: they have a period only by
the registry. Devices behind a gateway wait half as long again; if by then the
gateway is silent itself, or ``share`` of its children are (three at least), the
alert is the gateway's, with their number, and they raise none.

Judged at whole ticks of ten seconds of that time, so any cut of the stream gives
the same answers. One row per device; the registry is read again each hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alerting.detectors.base import DeviceOf, Positive, Rule, RuleSettings, Words
from alerting.detectors.faults import MAINTAINER_SEVERITY
from alerting.detectors.rows import NEVER, DeviceState, Rows64, rounds_of
from domain.alerts import Alert, Detection
from domain.readings import Block, Bool, CameraEvent, Float64, Int32, Int64, Position
from domain.sorting import begins, order_by

TICK_US = 10_000_000
READ_AGAIN_TICKS = 360
FORGET_S = 3 * 86_400.0


class SilenceSettings(RuleSettings):
    """See the module."""

    periods: Annotated[float, Field(ge=1.5)] = 3.0
    s_min: Positive = 300.0
    offline_s: Positive = 60.0
    learn_n: Annotated[int, Field(ge=2)] = 20
    learn_s: Positive = 3600.0
    deaf_s: Positive = 120.0
    share: Annotated[float, Field(gt=0, le=1)] = 0.8
    children_min: Annotated[int, Field(ge=2)] = 3

    def words(self) -> Words:
        """The rule in words."""
        watches = f"nothing heard for {self.periods:g} periods, {self.s_min:g} s at least"
        return Words(watches, "4", "it is heard again")


class Silence(DeviceState):
    """One rule over all devices."""

    FIELDS: ClassVar = {
        "_last": NEVER, "_typical": 0, "_period": 0, "_n": 0, "_met": NEVER, "_run": -1, "_parent": -1,
        "_offline": 0, "_active": 0, "_explained": 0, "_episode": 0,
    }  # fmt: skip

    def __init__(self, rule: Rule, device: DeviceOf) -> None:
        super().__init__()
        assert isinstance(rule.settings, SilenceSettings)
        self.rule = rule
        self.settings = rule.settings
        self._device = device
        self._last: Int64 = np.zeros(0, np.int64)
        self._typical: Float64 = np.zeros(0)  # s
        self._period: Float64 = np.zeros(0)  # s, 0 = the registry does not say
        self._n: NDArray[np.int32] = np.zeros(0, np.int32)
        self._met: Int64 = np.zeros(0, np.int64)  # arrival of the first message
        self._run: NDArray[np.int32] = np.zeros(0, np.int32)
        self._parent: NDArray[np.int32] = np.zeros(0, np.int32)  # the gateway's key
        self._offline: Bool = np.zeros(0, bool)
        self._active: Bool = np.zeros(0, bool)
        self._explained: Bool = np.zeros(0, bool)
        self._episode: Int64 = np.zeros(0, np.int64)
        self._runs: dict[str | None, int] = {None: 0}
        self._known = 0

    def resume(self, alert: Alert, episode_us: int, newest_us: int) -> None:
        """Take up an alert's episode after a restart."""
        row = self._rows(np.array([alert.device], np.int32))
        self._active[row], self._episode[row] = True, episode_us
        self._last[row] = np.maximum(self._last[row], newest_us)

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Take up what ``snapshot`` gave; runs are numbered anew from the registry."""
        super().load(saved)
        self._known = 0
        self._meet()

    def forget(self, device: int) -> None:
        """Begin anew with this device."""
        super().forget(device)
        self._known = 0
        self._meet()

    def detect(self, block: Block, metrics: Mapping[str, int]) -> list[Detection]:
        """Note who is heard, and see who is not, at each tick that has passed."""
        key, at_us, steady = heard(block)
        row = self._rows(key)
        found: list[Detection] = []
        for run, mine in _by_run(self._run[row]):
            found += self._take(run, row[mine], at_us[mine], steady[mine])
        for status in block.statuses:
            row = self._rows(np.array([status.device], np.int32))
            at = np.maximum(self._clock(int(self._run[row[0]])), self._last[row])
            found += self._note(row, at, np.zeros(1, bool))
            self._offline[row] = status.online is False
        return found

    # ------------------------------------------------------------ who is heard

    def _take(self, run: int, row: Rows64, at_us: Int64, steady: Bool) -> Iterator[Detection]:
        """Arrivals of one run, each device's in order: those up to each tick, then the tick."""
        clock = self._clock(run)
        at_us = np.maximum(at_us, clock)  # a run's own clock may jump back
        edge = at_us // TICK_US
        for part in _by_tick(edge):
            first = int(at_us[part].min())
            if clock != NEVER:
                self._not_counted(run, first - clock)
                if first // TICK_US > clock // TICK_US:
                    yield from self._tick(run, first // TICK_US * TICK_US)
            for once in rounds_of(begins(row[part])):
                which = part[once]
                yield from self._note(row[which], at_us[which], steady[which])
            clock = int(at_us[part].max())

    def _clock(self, run: int) -> int:
        n = len(self.rows)
        mine = self._run[:n] == run
        last = self._last[:n]
        return int((last if mine.all() else last[mine]).max(initial=NEVER))

    def _not_counted(self, run: int, waited_us: int) -> None:
        """Nobody was heard for so long that we were deaf: that time passes for nobody."""
        if waited_us <= 1e6 * self.settings.deaf_s:
            return
        n = len(self.rows)
        mine = self._run[:n] == run
        often = np.flatnonzero(mine & (2e6 * self._every(slice(n)) < waited_us))
        if self._known_period(often).any():
            self._last[:n][mine & (self._last[:n] != NEVER)] += waited_us

    def _note(self, row: Rows64, at_us: Int64, steady: Bool) -> Iterator[Detection]:
        """Each row once; ``steady``: by what shows the device's period."""
        before = self._last[row]
        gap_s = (at_us - before) / 1e6
        gap_s[before == NEVER] = 0.0
        typical = np.exp(-gap_s / FORGET_S) * self._typical[row]
        np.maximum(typical, gap_s, out=typical)
        young = np.flatnonzero(self._n[row] < self.settings.learn_n)  # more need not be known
        if len(young):
            some = row[young]
            self._met[some] = np.where(self._met[some] == NEVER, at_us[young], self._met[some])
            self._n[some] += steady[young]
        self._last[row] = at_us
        flags = self._active, self._explained, self._offline
        if not any(np.count_nonzero(flag) for flag in flags) and np.count_nonzero(steady) == len(steady):
            self._typical[row] = typical
            return
        active = self._active[row]
        usual = np.flatnonzero(steady & ~(active | self._explained[row]))
        self._typical[row[usual]] = typical[usual]
        self._explained[row] = self._offline[row] = False
        back = np.flatnonzero(active)
        self._active[row[back]] = False
        for i in back:
            r, at = int(row[i]), int(at_us[i])
            children = np.flatnonzero(self._parent[: len(self.rows)] == self.rows.keys[r])
            self._last[children[self._explained[children]]] = at  # they get their time anew
            self._explained[children] = False
            yield self._say("clear", r, at, float(gap_s[i]), {})

    # ------------------------------------------------------------ who is not

    def _tick(self, run: int, now_us: int) -> Iterator[Detection]:
        n = len(self.rows)
        if now_us // TICK_US % READ_AGAIN_TICKS == 0:
            self._known = 0
            self._meet()
        last = self._last[:n]
        # Nobody's limit is below the least, but for who has said that it goes.
        maybe = ((now_us - last > self.settings.s_min * 1e6) | self._offline[:n]) & (self._run[:n] == run)
        maybe &= last != NEVER  # a status alone, before anybody spoke, gives no time to count from
        row = np.flatnonzero(maybe & ~self._active[:n] & ~self._explained[:n])
        quiet_s = (now_us - last[row]) / 1e6
        limit_s = self._limit(row)
        over = quiet_s > limit_s
        if not over.any():
            return
        row, quiet_s, limit_s = row[over], quiet_s[over], limit_s[over]
        behind = self._parent[row] >= 0
        alone = np.flatnonzero(~behind | (quiet_s > 1.5 * limit_s))
        own = [i for i in alone if not behind[i]]
        yield from (self._begin(int(row[i]), quiet_s[i], limit_s[i], {}) for i in own if self._due(int(row[i])))
        for parent in np.unique(self._parent[row[[i for i in alone if behind[i]]]]):
            mine = [int(i) for i in alone if self._parent[row[i]] == parent]
            yield from self._of_gateway(int(parent), row, quiet_s, limit_s, mine)

    def _of_gateway(
        self, parent: int, row: Rows64, quiet_s: Float64, limit_s: Float64, due: list[int]
    ) -> Iterator[Detection]:
        """Children that are due: the gateway's silence, or their own."""
        n = len(self.rows)
        gateway = int(self.rows_of(np.array([parent], np.int32))[0])
        children = np.flatnonzero(self._parent[:n] == parent)
        silent = np.isin(children, row) | self._active[children] | self._explained[children]
        many = silent.sum() >= max(self.settings.children_min, self.settings.share * len(children))
        if self._active[gateway] or self._offline[gateway] or many:
            self._explained[children[silent & ~self._active[children]]] = True
            if not self._active[gateway]:
                worst = max(due, key=lambda i: float(quiet_s[i]))
                features = {"children": len(children), "children_silent": int(silent.sum())}
                self._last[gateway] = max(self._last[gateway], self._last[row[worst]])
                yield self._begin(gateway, quiet_s[worst], limit_s[worst], features)
            return
        yield from (self._begin(int(row[i]), quiet_s[i], limit_s[i], {}) for i in due if self._due(int(row[i])))

    def _due(self, row: int) -> bool:
        """Whether the registry as it is now still expects the device."""
        device = self._device(int(self.rows.keys[row]))
        return device is not None and not device.disabled

    def _every(self, row: Rows64 | slice) -> Float64:
        """What is known of each device's period, s."""
        return np.where(self._period[row] > 0, self._period[row], self._typical[row])

    def _known_period(self, row: Rows64) -> Bool:
        s = self.settings
        long = self._last[row] - self._met[row] >= s.learn_s * 1e6
        return np.asarray((self._period[row] > 0) | ((self._n[row] >= s.learn_n) & long))

    def _limit(self, row: Rows64) -> Float64:
        s = self.settings
        limit = np.where(self._known_period(row), np.maximum(s.periods * self._every(row), s.s_min), np.inf)
        return np.where(self._offline[row], s.offline_s, limit)

    def _begin(self, row: int, quiet_s: float, limit_s: float, features: Mapping[str, Any]) -> Detection:
        at_us = int(self._last[row]) + round(float(limit_s) * 1e6)
        self._active[row], self._episode[row] = True, at_us
        return self._say("onset", row, at_us, float(limit_s), features)

    def _say(self, phase: str, row: int, at_us: int, quiet_s: float, features: Mapping[str, Any]) -> Detection:
        episode_us = int(self._episode[row])
        every_s = float(self._every(np.array([row]))[0])
        said = {
            **features,
            "period_s": round(every_s, 1),
            "period_from": "registry" if self._period[row] else "itself",
        }
        limit = round(quiet_s if phase == "onset" else 0.0, 1)
        return Detection(
            rule=self.rule.id, kind=self.rule.kind, phase=phase, device=int(self.rows.keys[row]),
            episode_us=episode_us, at_us=at_us, sampled_us=at_us, received_us=at_us, severity=MAINTAINER_SEVERITY,
            metric="silent_s", value=round(quiet_s, 1), limit=limit, unit="s", late=False,
            title=self.rule.title, window_us=(episode_us, at_us), features=said,
        )  # fmt: skip

    # ------------------------------------------------------------ the registry

    def _rows(self, keys: Int32 | Int64) -> Rows64:
        row = self.rows_of(keys)
        if len(self.rows) > self._known:
            self._meet()
        return row

    def _meet(self) -> None:
        """What the registry says of devices met for the first time, or read again."""
        for row in range(self._known, len(self.rows)):
            device = self._device(int(self.rows.keys[row]))
            if device is None:
                self._run[row] = 0
                continue
            self._run[row] = self._runs.setdefault(device.run, len(self._runs))
            self._parent[row] = -1 if device.parent is None else device.parent
            self._period[row] = device.period_s or 0.0
        self._known = len(self.rows)


def heard(block: Block) -> tuple[Int64, Int64, Bool]:
    """Keys and arrivals of the block's messages, each device's together and in order; which show its period."""
    m = block.messages
    events: list[CameraEvent | Position] = [*block.camera_events, *block.positions]
    steady = np.ones(len(m.device), bool)
    if not events:
        return m.device, m.received_us, steady
    key = np.concatenate([m.device, np.array([e.device for e in events], np.int64)])
    at_us = np.concatenate([m.received_us, np.array([e.received_us for e in events], np.int64)])
    steady = np.concatenate([steady, np.zeros(len(events), bool)])
    order = order_by(key, at_us)
    key, at_us, steady = key[order], at_us[order], steady[order]
    cut = begins(key, at_us)
    return key[cut], at_us[cut], steady[cut]


def _by_run(run: Int32) -> Iterator[tuple[int, Bool | slice]]:
    """Each run with its rows."""
    if len(run) and not np.count_nonzero(run):  # real traffic only
        yield 0, slice(None)
        return
    numbers = np.flatnonzero(np.bincount(run)).tolist()
    for number in numbers:
        yield number, run == number if len(numbers) > 1 else slice(None)


def _by_tick(edge: Int64) -> Iterator[Rows64]:
    """Places of the rows of each tick, earliest tick first, as they stand."""
    if edge.min() == edge.max():
        yield np.arange(len(edge))
        return
    order = np.argsort(edge, kind="stable")
    yield from np.split(order, np.flatnonzero(begins(edge[order]))[1:])
