"""OpenEEW: acceleration in gal, in the three forms its firmware and archive have used.

    iot-2/type/OpenEEW/id/{mac}/evt/trace/fmt/json   {"d": {"device_id", "traces": [{"x","y","z"}, …]}}
    traces/{user}/{device}                           {"traces": {"x","y","z"}, "device_id", "sr", "device_t"}
    archive (.jsonl)                                 {"device_id", "x", "y", "z", "device_t", "cloud_t", "sr"}

    field                    ours
    device_id                device; the topic's, where it has one, must agree
    x y z (also in traces)   samples, gal → m/s²
    cloud_t, else device_t   time of the LAST sample, epoch seconds; the first form has none: the arrival
    sr                       rate_hz; 31.25 where it is left out

A whole message may be a JSON text inside a JSON text (the project's simulator sends
that): it is read as what it holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from domain.errors import PayloadError
from domain.readings import NO_SEQ
from ingest.adapters.fields import Fields, json_of, whole_seconds
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id
from ingest.codec import AXES, GAL_IN_M_S2, RATE_HZ_MAX, RATE_HZ_MIN, VALUES_MAX, Packet, float_axis
from ingest.times import check_plausible, check_range

RATE_HZ = 31.25
WRAPPED_MAX = 2


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """One packet. Raises: PayloadError."""
    message = unwrapped(given.payload)
    device = device_id(message.text("device_id"))
    check_topic(given.topic, message)
    samples = samples_of(message)
    rate_hz = message.number_or("sr") or RATE_HZ
    if not RATE_HZ_MIN <= rate_hz <= RATE_HZ_MAX:
        raise PayloadError("bad_rate", f"{message.at('sr')} {rate_hz} is not in {RATE_HZ_MIN}..{RATE_HZ_MAX:.0f}")
    n = samples.shape[1]
    start_us = check_range(last_us(message, given) - round((n - 1) / rate_hz * 1e6))
    check_plausible(start_us, given.clock_us)
    packet = Packet(start_us, NO_SEQ, rate_hz, "m/s2", samples, (True, True, True), None, GAL_IN_M_S2)
    return [Thing(device, "vibration", packet, start_us)]


def unwrapped(payload: bytes) -> Fields:
    """The message without its wrappings: texts inside texts, Watson's ``d``. Raises: PayloadError."""
    value = json_of(payload)
    for _ in range(WRAPPED_MAX):
        if isinstance(value, str):
            value = json_of(value.encode("utf-8", "replace"))
    message = Fields.of(value, "payload")
    return message.object("d") if "d" in message else message


def check_topic(topic: str, message: Fields) -> None:
    """The topic is what the broker checked, so it wins over the payload. Raises: PayloadError."""
    levels = topic.split("/")
    named = levels[-1] if "traces" in levels[:-1] else None
    if "id" in levels[:-1]:
        named = levels[levels.index("id") + 1]
    if named is not None and named != message.text("device_id"):
        raise PayloadError("device_mismatch", f"{message.at('device_id')} is not the topic's {named[:64]!r}")


def samples_of(message: Fields) -> Any:
    """All samples in order, shape (3, n), m/s². Raises: PayloadError."""
    if isinstance(message.values.get("traces"), list):
        traces = list(message.objects("traces"))
    else:
        traces = [message.object("traces") if "traces" in message else message]
    packets = [axes_of(trace) for trace in traces]
    if not packets or not sum(packet.shape[1] for packet in packets):
        raise PayloadError("empty", f"{message.path}: x, y, z hold no sample")
    samples = np.concatenate(packets, axis=1)
    if samples.shape[1] > VALUES_MAX:
        raise PayloadError("too_many_values", f"{message.path}: {samples.shape[1]} samples, more than {VALUES_MAX}")
    if not np.isfinite(samples).all():
        raise PayloadError("not_finite", f"{message.path}: a sample of x, y, z is not a finite number")
    return np.multiply(samples, GAL_IN_M_S2, dtype=np.float32)


def axes_of(trace: Fields) -> Any:
    """x, y, z of one trace. Raises: PayloadError."""
    columns = []
    for axis in AXES:
        if axis not in trace:
            raise trace.missing(axis)
        columns.append(float_axis(trace.at(axis), trace.values[axis]))
    if len({len(column) for column in columns}) > 1:
        raise PayloadError("bad_length", f"{trace.path}: x, y, z have different lengths")
    return np.stack(columns)


def last_us(message: Fields, given: Given) -> int:
    """Time of the last sample; the cloud's clock before the device's, which drifts. Raises: PayloadError."""
    for name in ("cloud_t", "device_t"):
        if name in message:
            return whole_seconds(message.number(name), message.at(name), given)
    return given.clock_us
