"""The readings of a whole block as columns, checked a column at a time. Pure.

``codec.decode_readings`` judges one payload and words its refusal; ``columns_of``
judges thousands at once by the same rules. It refuses to word a refusal: a message
that a column check objects to is only named, and goes through ``codec`` by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import chain

import numpy as np

from domain.errors import PayloadError
from domain.readings import NO_SEQ, Bool, Float64, Int32, Int64
from ingest.codec import SEQ_MAX, VALUES_MAX, ReadingsMessage, Values, improper_names
from ingest.times import AHEAD_US_MAX, MS_FROM, OLDEST_US, parse_time

Readings = ReadingsMessage | list[ReadingsMessage]

EXACT_US = 2**53
"""Up to here a float64 holds every microsecond (year 2255); what lies beyond is judged one by one."""

WRONG_SEQ = -2


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """Values in the order received, ``(n,)`` each; ``message`` is the index of the message they came in."""

    message: Int32
    metric: list[str]
    time_us: Int64
    value: Float64
    seq: Int64

    def __len__(self) -> int:
        return len(self.metric)

    def kept(self, keep: Bool) -> ReadingColumns:
        """The values of the messages to ``keep (messages,)``, which are numbered anew without the others."""
        rows = keep[self.message]
        renumbered = np.cumsum(keep, dtype=np.int32) - 1
        return ReadingColumns(
            renumbered[self.message[rows]],
            [name for name, wanted in zip(self.metric, rows.tolist(), strict=True) if wanted],
            self.time_us[rows], self.value[rows], self.seq[rows],
        )  # fmt: skip

    @classmethod
    def none(cls) -> ReadingColumns:
        """No values."""
        return cls.of_values([])

    @classmethod
    def of_values(cls, contents: Sequence[tuple[int, Values]]) -> ReadingColumns:
        """Values that were checked one by one, each with its message's index."""
        counts = [len(values.metric) for _, values in contents]
        return cls(
            np.repeat(np.array([message for message, _ in contents], dtype=np.int32), counts),
            [name for _, values in contents for name in values.metric],
            np.array([t for _, values in contents for t in values.time_us], dtype=np.int64),
            np.array([v for _, values in contents for v in values.value], dtype=np.float64),
            np.array([seq for _, values in contents for seq in values.seq], dtype=np.int64),
        )

    def merged(self, other: ReadingColumns) -> ReadingColumns:
        """Both, in the order of their messages."""
        if not len(other):
            return self
        message = np.concatenate([self.message, other.message])
        order = np.argsort(message, kind="stable")
        names = self.metric + other.metric
        return ReadingColumns(
            message[order], [names[row] for row in order.tolist()],
            np.concatenate([self.time_us, other.time_us])[order],
            np.concatenate([self.value, other.value])[order], np.concatenate([self.seq, other.seq])[order],
        )  # fmt: skip


def columns_of(
    contents: Sequence[Readings], message: Int32, clock_us: Int64, zone: tzinfo
) -> tuple[ReadingColumns, set[int]]:
    """The columns of all ``contents``, and the indices of messages to be looked at one by one.

    ``message (c,)``: each content's message index; ``clock_us (c,)``: its arrival.
    """
    items, per_content = flat(contents)
    owner = np.repeat(np.arange(len(contents)), per_content)  # content of each item
    given = [item.values for item in items]
    counts = np.fromiter(map(len, given), dtype=np.int64, count=len(given))
    names = list(chain.from_iterable(given))
    value = np.fromiter(chain.from_iterable(map(dict.values, given)), dtype=np.float64, count=len(names))
    time_us, wrong = times_us([item.t for item in items], clock_us[owner], zone)
    seq = np.array([checked_seq(item.seq) for item in items], dtype=np.int64)
    wrong |= seq == WRONG_SEQ

    row_owner = np.repeat(owner, counts)
    totals = np.bincount(row_owner, minlength=len(contents))
    suspects = [
        owner[wrong],
        np.flatnonzero((totals == 0) | (totals > VALUES_MAX)),
        row_owner[~np.isfinite(value)],
        row_owner[improper_rows(names)],
    ]
    columns = ReadingColumns(message[row_owner], names, np.repeat(time_us, counts), value, np.repeat(seq, counts))
    return columns, set(message[np.concatenate(suspects)].tolist())


def flat(contents: Sequence[Readings]) -> tuple[list[ReadingsMessage], list[int]]:
    """All single readings, and how many each content had."""
    items: list[ReadingsMessage] = []
    counts: list[int] = []
    for content in contents:
        if type(content) is list:
            items += content
            counts.append(len(content))
        else:
            items.append(content)  # type: ignore[arg-type]  # the union's other half
            counts.append(1)
    return items, counts


def checked_seq(seq: int | None) -> int:
    """The number, NO_SEQ for none, WRONG_SEQ for one out of range."""
    if seq is None:
        return NO_SEQ
    return seq if 0 <= seq < SEQ_MAX else WRONG_SEQ


def times_us(times: Sequence[float | int | str], clock_us: Int64, zone: tzinfo) -> tuple[Int64, Bool]:
    """Event times in microseconds, and which of them must be looked at one by one."""
    kinds = set(map(type, times))
    if not kinds <= {float, int}:
        return one_by_one(times, clock_us, zone)
    try:
        given = np.array(times, dtype=np.float64)
    except OverflowError:
        return one_by_one(times, clock_us, zone)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = given * 1e6
        if int in kinds:
            whole = np.fromiter((type(t) is int for t in times), dtype=np.bool_, count=len(times))
            scaled = np.where(whole & (np.abs(given) >= MS_FROM), given * 1e3, scaled)
        exact = np.abs(scaled) < EXACT_US
    us = np.rint(np.where(exact, scaled, 0.0)).astype(np.int64)
    return us, ~exact | implausible(us, clock_us)


def one_by_one(times: Iterable[float | int | str], clock_us: Int64, zone: tzinfo) -> tuple[Int64, Bool]:
    """The same where some are text, or too large for an array."""
    us = np.zeros(len(clock_us), dtype=np.int64)
    wrong = np.zeros(len(clock_us), dtype=np.bool_)
    for row, value in enumerate(times):
        try:
            us[row] = parse_time(value, zone)
        except PayloadError:
            wrong[row] = True
    return us, wrong | implausible(us, clock_us)


def implausible(us: Int64, clock_us: Int64) -> Bool:
    """What ``times.check_plausible`` would refuse."""
    wrong: Bool = (us > clock_us + AHEAD_US_MAX) | (us < OLDEST_US)
    return wrong


def improper_rows(names: list[str]) -> Bool | list[int]:
    """The rows whose metric has no proper name: hardly ever any."""
    improper = improper_names(set(names))
    return [row for row, name in enumerate(names) if name in improper]
