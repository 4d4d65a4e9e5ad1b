"""Read recorded traffic: own recordings, OpenEEW archives, CSV; and write own ones. Pure but for reading files.

========  ====================================================================
own       JSONL, one message a line: ``{"t": arrival, epoch s, "topic": …, "payload": text or
          {"b64": …}, "clock"?: of a run, epoch s, "retain"?: true}``
OpenEEW   JSONL, one packet of 32 samples a line, gal; ``device_t`` and ``cloud_t`` are of the
          *last* sample; in device order, so it is sorted by arrival (``cloud_t``) first
CSV       header ``timestamp,value`` (device = file name, metric = value) or
          ``time,device,metric,value``; arrival = event time
========  ====================================================================

All but CSV may be gzipped (``.gz``). A bad line is an ImportFileError with its number.

OpenEEW's two clocks: by default a packet's ``t`` comes from ``device_t``, the device's
own word, and ``cloud_t`` is its arrival; a wrong device clock stays visible as
it was. ``clock="cloud"`` takes both from ``cloud_t``.
"""

from __future__ import annotations

import base64
import binascii
import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast
from zoneinfo import ZoneInfo

import msgspec

from domain.clock import US_PER_S, to_us
from domain.errors import ImportFileError
from simulators.run import RUN_PREFIX

CSV_HEADERS = {("timestamp", "value"), ("time", "device", "metric", "value")}


@dataclass(frozen=True, slots=True)
class Packet:
    """One recorded message. ``at_us``: arrival; ``t_us``: event time where the reader knows it."""

    at_us: int
    topic: str
    payload: bytes
    retain: bool = False
    t_us: int | None = None

    @property
    def device(self) -> str:
        """The id in the topic; the whole topic when it is another vendor's."""
        parts = self.topic.split("/")
        ours = len(parts) == 3 and parts[0] in ("sensors", "cameras", "vehicles")
        return parts[1] if ours else self.topic

    @property
    def is_waveform(self) -> bool:
        """Whether this is a vibration sensor's packet."""
        return self.topic.startswith("sensors/") and self.topic.endswith("/waveform")


def read_recording(path: Path, *, zone: ZoneInfo, clock: str = "device") -> Iterator[Packet]:
    """The packets of a file by arrival. Raises: ImportFileError.

    ``zone``: for CSV times without one; ``clock``: ``device`` or ``cloud``, see above.
    """
    if path.name.removesuffix(".gz").endswith(".csv"):
        return read_csv(path, zone)
    first = next(json_lines(path), None)
    if first is None:
        raise ImportFileError(f"{path}: the file has no messages")
    keys = first[1].keys()
    if "topic" in keys:
        return (own_packet(path, number, row) for number, row in json_lines(path))
    if {"device_id", "device_t", "cloud_t", "sr"} <= keys:
        packets = [openeew_packet(path, number, row, clock) for number, row in json_lines(path)]
        return iter(sorted(packets, key=lambda packet: packet.at_us))
    raise ImportFileError(
        f"{path} line 1: neither an own recording (t, topic, payload) nor an OpenEEW packet "
        "(device_id, device_t, cloud_t, sr, x, y, z)"
    )


# ---------------------------------------------------------------- JSON lines


def open_text(path: Path) -> IO[str]:
    """A text file, unpacked when it ends in .gz."""
    if path.suffix == ".gz":
        return cast(IO[str], gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open("r", encoding="utf-8", newline="")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a text file. Raises: ImportFileError."""
    number = 0
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        where = f" after line {number}" if number else ""
        raise ImportFileError(f"{path}: cannot be read{where}: {error}") from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of each line that is not empty. Raises: ImportFileError."""
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ImportFileError(f"{path} line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ImportFileError(f"{path} line {number}: not an object")
        yield number, row


class OwnLine(msgspec.Struct, omit_defaults=True):
    """A line of an own recording."""

    t: float
    topic: str
    payload: str | dict[str, str]
    clock: float | None = None
    retain: bool = False


def own_packet(path: Path, number: int, row: dict[str, Any]) -> Packet:
    """A line as a packet; a run's topic loses its prefix, its clock is its arrival."""
    try:
        line = msgspec.convert(row, OwnLine)
        payload = payload_bytes(line.payload)
    except (msgspec.ValidationError, KeyError, binascii.Error, ValueError) as error:
        raise ImportFileError(f"{path} line {number}: {error}") from error
    at_s = line.t if line.clock is None else line.clock
    return Packet(round(at_s * US_PER_S), RUN_PREFIX.sub("", line.topic, count=1), payload, line.retain)


def payload_bytes(payload: str | dict[str, str]) -> bytes:
    """The bytes a recorded payload stands for."""
    if isinstance(payload, str):
        return payload.encode()
    return base64.b64decode(payload["b64"], validate=True)


def own_line(at_us: int, topic: str, payload: bytes, *, clock_us: int | None, retain: bool) -> bytes:
    """One line of an own recording, newline included."""
    try:
        text: str | dict[str, str] = payload.decode()
    except UnicodeDecodeError:
        text = {"b64": base64.b64encode(payload).decode()}
    clock = None if clock_us is None else clock_us / US_PER_S
    return msgspec.json.encode(OwnLine(at_us / US_PER_S, topic, text, clock, retain)) + b"\n"


# ---------------------------------------------------------------- OpenEEW


class OpenEEWLine(msgspec.Struct):
    """A packet of the archive."""

    device_id: str
    x: list[float]
    y: list[float]
    z: list[float]
    device_t: float
    cloud_t: float
    sr: float


def openeew_packet(path: Path, number: int, row: dict[str, Any], clock: str) -> Packet:
    """A line as our waveform message: the same numbers, the time of the *first* sample, no seq."""
    try:
        line = msgspec.convert(row, OpenEEWLine)
        if not (line.sr > 0 and line.x and len(line.x) == len(line.y) == len(line.z)):
            raise ValueError("sr must be above 0, and x, y, z of the same length")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", line.device_id):
            raise ValueError("device_id may have 1 to 64 of A-Za-z0-9._-")
    except (msgspec.ValidationError, ValueError) as error:
        raise ImportFileError(f"{path} line {number}: {error}") from error
    last_s = line.cloud_t if clock == "cloud" else line.device_t
    first_us = round((last_s - (len(line.x) - 1) / line.sr) * US_PER_S)
    body = {
        "t": first_us / US_PER_S,
        "rate_hz": line.sr,
        "unit": "gal",
        "x": line.x,
        "y": line.y,
        "z": line.z,
    }
    topic = f"sensors/{line.device_id}/waveform"
    return Packet(round(line.cloud_t * US_PER_S), topic, msgspec.json.encode(body), t_us=first_us)


# ---------------------------------------------------------------- CSV


def read_csv(path: Path, zone: ZoneInfo) -> Iterator[Packet]:
    """The rows of a CSV file by time. Raises: ImportFileError."""
    lines = text_lines(path)
    header_line = next(lines, (1, ""))[1].lstrip("\ufeff")
    header = tuple(name.strip().lower() for name in next(csv.reader([header_line]), []))
    if header not in CSV_HEADERS:
        raise ImportFileError(f"{path} line 1: the header must be timestamp,value or time,device,metric,value")
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.name.removesuffix(".gz").removesuffix(".csv"))[:64]
    packets = []
    for number, line in lines:
        if cells := next(csv.reader([line]), []):
            packets.append(csv_packet(path, number, cells, header, stem, zone))
    return iter(sorted(packets, key=lambda packet: packet.at_us))


def csv_packet(
    path: Path, number: int, cells: list[str], header: tuple[str, ...], stem: str, zone: ZoneInfo
) -> Packet:
    """A row as a readings message."""
    try:
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        t_us = csv_time_us(row.get("time") or row["timestamp"], zone)
        value = float(row["value"])
        if not math.isfinite(value):
            raise ValueError(f"value {row['value']} is not a finite number")
    except (ValueError, KeyError, OverflowError) as error:
        raise ImportFileError(f"{path} line {number}: {error}") from error
    body = {"t": t_us / US_PER_S, "values": {row.get("metric", "value"): value}}
    topic = f"sensors/{row.get('device', stem)}/readings"
    return Packet(t_us, topic, msgspec.json.encode(body), t_us=t_us)


def csv_time_us(text: str, zone: ZoneInfo) -> int:
    """Epoch seconds, integer milliseconds, or ISO 8601; without a zone, ``zone``. Raises: ValueError."""
    try:
        number = float(text)
    except ValueError:
        when = datetime.fromisoformat(text)
        return to_us(when if when.tzinfo else when.replace(tzinfo=zone))
    if not math.isfinite(number):
        raise ValueError(f"time {text} is not a finite number")
    return round(number * (1000 if text.isdigit() and number >= 1e11 else US_PER_S))
