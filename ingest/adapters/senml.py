"""SenML in JSON (RFC 8428): packs of records with base fields and relative times.

    any topic the settings name     [{"bn": "urn:dev:ow:10e2073a01080063:", "n": "t", "u": "Cel", "v": 21.5}]

    label                 ours
    bn + n                device (bn without "urn:dev:…:") and metric (n); without a bn the last part of n
                          is the metric, and without that the topic is the device
    bt + t                t, epoch seconds; below 2^28 relative to the arrival
    bu, u                 the unit at the metric's end
    bv + v, vb            value
    bs + s                value of metric …_sum
    vs, vd                texts and data: left out
    bver                  at most 10
    ut                    left out

A label that ends in ``_`` must be understood or the pack refused (4.4): it is refused.
"""

from __future__ import annotations

import re
from typing import Any

from domain.errors import PayloadError
from domain.readings import NO_SEQ
from ingest.adapters.fields import Fields, json_of, shown, whole_seconds
from ingest.adapters.metric_names import metric_name
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id
from ingest.codec import VALUES_MAX, Values, check_values

RELATIVE_BELOW = 2**28
VERSION_MAX = 10
VALUE_LABELS = ("v", "vs", "vb", "vd")
_URN = re.compile(r"^urn:dev:[a-z0-9]+:", re.IGNORECASE)
_SEPARATORS = ":/"


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """The pack's records by device, in order. Raises: PayloadError."""
    pack = json_of(given.payload)
    if not isinstance(pack, list):
        raise PayloadError("wrong_type", "payload is not a list of records")
    if len(pack) > VALUES_MAX:
        raise PayloadError("too_many_values", f"payload has {len(pack)} records, more than {VALUES_MAX}")
    base: dict[str, Any] = {}
    columns: dict[str, Values] = {}
    for index, item in enumerate(pack):
        record = Fields.of(item, f"payload[{index}]")
        learn(record, base)
        for device, metric, value, time_us in resolve(record, base, given):
            column = columns.setdefault(device, Values([], [], [], []))
            column.metric.append(metric)
            column.value.append(value)
            column.time_us.append(time_us)
            column.seq.append(NO_SEQ)
    for column in columns.values():
        check_values(column.metric, column.value)
    return [Thing(device_id(name), "sensor", column, max(column.time_us)) for name, column in columns.items()]


def learn(record: Fields, base: dict[str, Any]) -> None:
    """Base fields hold from their record on. Raises: PayloadError."""
    for label in record.values:
        if label.endswith("_"):
            raise PayloadError("wrong_type", f"{record.at(label)} must be understood, and is not")
    for label in ("bn", "bu"):
        if label in record:
            base[label] = record.text_or(label)
    for label in ("bt", "bv", "bs"):
        if label in record:
            base[label] = record.number(label)
    if record.number_or("bver") is not None and record.number("bver") > VERSION_MAX:
        raise PayloadError("wrong_type", f"{record.at('bver')} is more than {VERSION_MAX}")


def resolve(record: Fields, base: dict[str, Any], given: Given) -> list[tuple[str, str, float, int]]:
    """(device, metric, value, time) of one record: its value, its sum, both or none. Raises: PayloadError."""
    given_values = [label for label in VALUE_LABELS if label in record]
    if len(given_values) > 1:
        raise PayloadError("wrong_type", f"{record.path} has {' and '.join(given_values)}; one value is allowed")
    found: list[tuple[str, float]] = []
    if "v" in record or ("bv" in base and not given_values and "s" not in record and "n" in record):
        found.append(("", base.get("bv", 0.0) + (record.number_or("v") or 0.0)))
    if "vb" in record:
        flag = record.values["vb"]
        if not isinstance(flag, bool):
            raise PayloadError("wrong_type", f"{record.at('vb')} is not true or false")
        found.append(("", float(flag)))
    if "s" in record:
        found.append(("_sum", base.get("bs", 0.0) + record.number("s")))
    if not found:
        return []
    device, quantity = named(record, base, given)
    unit = None if "vb" in record else record.text_or("u") or base.get("bu")
    time_us = time_of_record(record, base, given)
    return [
        (device, metric_name(quantity + suffix, None if suffix else unit), value, time_us)
        for suffix, value in found
    ]


def named(record: Fields, base: dict[str, Any], given: Given) -> tuple[str, str]:
    """Device and quantity out of base name and name. Raises: PayloadError."""
    bn, n = base.get("bn") or "", record.text_or("n") or ""
    if bn and n:
        device, quantity = bn, n
    else:
        whole = bn or n
        at = max(whole.rfind(sign) for sign in _SEPARATORS)
        device, quantity = (whole[:at], whole[at + 1 :]) if at > 0 else (given.rest, whole)
    if not quantity:
        raise PayloadError("missing", f"{record.at('n')}: neither it nor bn names a quantity")
    device = _URN.sub("", device).strip(_SEPARATORS + "_-").replace(":", ".")
    if not device:
        raise PayloadError("bad_id", f"{record.at('bn')} names no device: {shown(bn)!r}")
    return device, quantity


def time_of_record(record: Fields, base: dict[str, Any], given: Given) -> int:
    """Base time and time added; small ones count from the arrival. Raises: PayloadError."""
    seconds = base.get("bt", 0.0) + (record.number_or("t") or 0.0)
    if seconds < RELATIVE_BELOW:
        seconds += given.clock_us / 1e6
    return whole_seconds(seconds, record.at("t"), given)
