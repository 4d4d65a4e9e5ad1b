"""Files of ``timestamp,value`` read in chunks, and scores written; times and values are echoed as given."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import numpy as np

from domain.clock import to_us
from domain.errors import ImportFileError
from domain.readings import Float64, Int64

CHUNK_ROWS = 20_000
TIME_NAMES = ("timestamp", "time", "date", "datetime", "t")
VALUE_NAMES = ("value", "values", "v")
BLANK = frozenset({"", "nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf", "infinity", "-infinity"})
MS_FROM = 1e11
"""A number from here on is milliseconds, as in messages."""
HOUR_US = 3_600_000_000
LONGEST = 40
"""Characters of a wrong cell that a message repeats."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows: their cells as given, and what they mean; NaN for a blank value."""

    time_text: Sequence[str]
    value_text: Sequence[str]
    time_us: Int64
    value: Float64
    done: int
    """Bytes of the file read so far, about."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where time and value stand, and whether the first row says so."""

    time: int
    value: int
    header: bool


def read_chunks(path: Path, zone: ZoneInfo, rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """The file's rows; ``-`` is standard input. Raises: ImportFileError that names the line."""
    with _opened(path) as file:
        reader = csv.reader(file)
        columns: Columns | None = None
        cells: list[list[str]] = []
        lines: list[int] = []
        try:
            for row in reader:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                if columns is None:
                    columns = find_columns(path, row, zone)
                    if columns.header:
                        continue
                cells.append(row)
                lines.append(reader.line_num)
                if len(cells) == rows:
                    yield parsed(path, cells, lines, columns, zone, _position(file))
                    cells, lines = [], []
            if cells and columns is not None:
                yield parsed(path, cells, lines, columns, zone, _position(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ImportFileError(f"{path}, line {reader.line_num + 1}: not UTF-8 text in CSV: {error}") from error
    if columns is None:
        raise ImportFileError(f"{path} has no rows; it needs the columns timestamp,value")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdin
        return
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        yield file


def _position(file: TextIO) -> int:
    buffer: Any = getattr(file, "buffer", None)
    try:
        return int(buffer.tell())
    except (OSError, AttributeError, ValueError):
        return 0


def find_columns(path: Path, first: Sequence[str], zone: ZoneInfo) -> Columns:
    """Time and value by the names of the first row, else the first two. Raises: ImportFileError."""
    names = [cell.strip().lower() for cell in first]
    time = next((names.index(name) for name in TIME_NAMES if name in names), None)
    value = next((names.index(name) for name in VALUE_NAMES if name in names), None)
    if time is not None and value is not None:
        return Columns(time, value, True)
    if len(first) >= 2 and time is None and value is None:
        try:
            one_time_us(first[0], zone)
            one_value(first[1])
        except ValueError:
            pass
        else:
            return Columns(0, 1, False)
    raise ImportFileError(f"{path}, line 1: name two columns timestamp and value, not {','.join(first)[:80]!r}")


def parsed(
    path: Path, cells: list[list[str]], lines: list[int], columns: Columns, zone: ZoneInfo, done: int
) -> Chunk:
    """A chunk of its rows' cells. Raises: ImportFileError that names the line."""
    try:
        times = [row[columns.time] for row in cells]
        values = [row[columns.value] for row in cells]
    except IndexError:
        n = next(i for i, row in enumerate(cells) if len(row) <= max(columns.time, columns.value))
        short = f"{path}, line {lines[n]}: only {len(cells[n])} columns; it needs timestamp and value"
        raise ImportFileError(short) from None
    try:
        return Chunk(times, values, times_us(times, zone), numbers(values), done)
    except ValueError:
        raise ImportFileError(f"{path}, line {_first_wrong(times, values, lines, zone)}") from None


def _first_wrong(times: list[str], values: list[str], lines: list[int], zone: ZoneInfo) -> str:
    for time, value, line in zip(times, values, lines, strict=True):
        try:
            one_time_us(time, zone)
        except ValueError:
            return f"{line}: timestamp {time[:LONGEST]!r} is neither epoch seconds nor like 2026-11-25 08:00:00"
        try:
            one_value(value)
        except ValueError:
            return f"{line}: value {value[:LONGEST]!r} is not a number; leave it blank where there is none"
    raise AssertionError("each cell is right by itself and they are wrong together")


def numbers(texts: Sequence[str]) -> Float64:
    """Values, NaN for blank ones. Raises: ValueError."""
    try:
        out = np.array(texts, dtype=np.float64)
    except ValueError:
        out = np.array([one_value(text) for text in texts])
    return np.where(np.isfinite(out), out, np.nan)


def one_value(text: str) -> float:
    """One value, NaN for a blank one. Raises: ValueError."""
    clean = text.strip()
    return np.nan if clean.lower() in BLANK else float(clean)


def times_us(texts: Sequence[str], zone: ZoneInfo) -> Int64:
    """Event times; text without a zone is in ``zone``. Raises: ValueError."""
    try:
        return epoch_us(np.array(texts, dtype=np.float64))
    except ValueError:
        pass
    if all(len(text) in (16, 19, 23, 26) and text[4] == "-" and "Z" not in text[10:] for text in texts) and not any(
        "+" in text[10:] or "-" in text[10:] for text in texts
    ):
        return in_zone(np.array(texts, dtype="datetime64[us]").astype(np.int64), zone)
    return np.array([one_time_us(text, zone) for text in texts], np.int64)


def epoch_us(number: Float64) -> Int64:
    """Of epoch seconds or milliseconds. Raises: ValueError."""
    seconds = np.where(np.abs(number) >= MS_FROM, number / 1000.0, number)
    if not (np.abs(seconds) < MS_FROM).all():
        raise ValueError("not a time")
    return np.rint(seconds * 1e6).astype(np.int64)


def in_zone(local_us: Int64, zone: ZoneInfo) -> Int64:
    """UTC of local times; the hour that comes twice in autumn is taken as its first."""
    hour, place = np.unique(local_us // HOUR_US, return_inverse=True)
    offsets = [_offset_us(int(h) * HOUR_US, zone) for h in hour]
    return np.asarray(local_us - np.array(offsets, np.int64)[place])


def _offset_us(local_us: int, zone: ZoneInfo) -> int:
    offset = (datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=local_us)).utcoffset()
    assert offset is not None, "a ZoneInfo has offsets"
    return round(offset.total_seconds() * 1e6)


def one_time_us(text: str, zone: ZoneInfo) -> int:
    """One event time. Raises: ValueError."""
    clean = text.strip()
    try:
        return int(epoch_us(np.array([float(clean)]))[0])
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(clean.replace("/", "-"))
        return to_us(when if when.tzinfo is not None else when.replace(tzinfo=zone))
    except OverflowError as error:
        raise ValueError(str(error)) from error


class ScoreFile:
    """Writes ``timestamp,value,score,alert``."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(("timestamp", "value", "score", "alert"))

    def write(self, times: Sequence[str], values: Sequence[str], score: Float64, alert: Any) -> None:
        """Some rows, in the order given."""
        shown = [f"{s:.4g}" if s else "0" for s in score.tolist()]
        self._rows.writerows(zip(times, values, shown, np.asarray(alert).astype(np.int8).tolist(), strict=True))
