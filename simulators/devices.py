"""Simulated devices: measurements in, (topic, payload, time) out, in the contract's shape.

A device numbers its messages (``seq``) and keeps its last ones for a while, as
real ones do, so that ``{"resend": [17, 19]}`` can be answered. Nothing here
knows a clock, a broker or a run: topics are the ordinary ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from domain.clock import US_PER_S
from domain.readings import Float64

KEPT_MESSAGES = 600
"""How many messages a device can send again: ten minutes of waveforms; the oldest go first."""

SCALE_M_S2 = 0.0002
"""Step of the int16 samples: ±6.55 m/s² in all."""

OFFLINE = b'{"online":false}'


@dataclass(frozen=True, slots=True)
class Site:
    """A device of the registry as a scenario needs it: what it is and where (a vehicle: nan, nan)."""

    id: str
    kind: str
    lon: float
    lat: float
    address_id: str | None = None
    town: str | None = None
    building_class: str = "residential"
    mount: str = "foundation"


@dataclass(frozen=True, slots=True)
class Emission:
    """One message: ``at_us`` is the run's clock when the device sends it."""

    at_us: int
    topic: str
    payload: bytes
    retain: bool = False


class SimulatedDevice:
    """One device with its sequence numbers and its memory of what it sent."""

    def __init__(self, device_id: str, *, kept: int = KEPT_MESSAGES) -> None:
        self.id = device_id
        self.seq = 0
        self._kept = kept
        self._sent: OrderedDict[int, Emission] = OrderedDict()

    def reading(self, at_us: int, values: Mapping[str, float]) -> Emission:
        """Scalar values measured and sent at ``at_us``."""
        body = {
            "t": at_us / US_PER_S,
            "seq": self._next(),
            "values": {name: float(value) for name, value in values.items()},
        }
        return self._keep(Emission(at_us, f"sensors/{self.id}/readings", msgspec.json.encode(body)))

    def waveform(self, first_us: int, rate_hz: float, samples_m_s2: Float64) -> Emission:
        """A packet of ``(3, n)`` samples, sent one sample interval after its last; int16 MessagePack."""
        steps = np.clip(np.rint(samples_m_s2 / SCALE_M_S2), -32768, 32767).astype("<i2")
        body = {
            "t": first_us / US_PER_S,
            "seq": self._next(),
            "rate_hz": rate_hz,
            "unit": "m/s2",
            "scale": SCALE_M_S2,
            "x": steps[0].tobytes(),
            "y": steps[1].tobytes(),
            "z": steps[2].tobytes(),
        }
        at_us = first_us + round(steps.shape[1] / rate_hz * US_PER_S)
        return self._keep(Emission(at_us, f"sensors/{self.id}/waveform", msgspec.msgpack.encode(body)))

    def status(self, at_us: int, *, battery_pct: float = 100.0, rssi_dbm: float = -60.0) -> Emission:
        """The retained "I am here"."""
        body = {"online": True, "battery_pct": battery_pct, "rssi_dbm": rssi_dbm, "firmware": "sim-1"}
        return Emission(at_us, f"sensors/{self.id}/status", msgspec.json.encode(body), retain=True)

    def offline(self, at_us: int) -> Emission:
        """The retained "I am gone": also the last will's topic and payload."""
        return Emission(at_us, f"sensors/{self.id}/status", OFFLINE, retain=True)

    def camera_event(self, at_us: int, event_id: str, phase: str, fields: Mapping[str, Any]) -> Emission:
        """One message of a camera's event; ``fields`` are the contract's (type, score, box, …)."""
        body = {"event_id": event_id, "phase": phase, "t": at_us / US_PER_S, **fields}
        return Emission(at_us, f"cameras/{self.id}/events", msgspec.json.encode(body))

    def position(self, at_us: int, lon: float, lat: float, fields: Mapping[str, Any]) -> Emission:
        """Where a vehicle is, WGS-84; ``fields`` are speed_kmh, heading_deg, bed, cover."""
        body = {
            "t": at_us / US_PER_S,
            "seq": self._next(),
            "lon": round(float(lon), 6),
            "lat": round(float(lat), 6),
            "datum": "wgs84",
            **fields,
        }
        return self._keep(Emission(at_us, f"vehicles/{self.id}/position", msgspec.json.encode(body)))

    def answer(self, command: bytes, at_us: int) -> list[Emission]:
        """What the device sends again on ``{"resend": [first, last]}``; ``[17]`` is one message.

        Messages it no longer has are not sent; a command it cannot read is ignored.
        """
        wanted = resend_range(command)
        if wanted is None:
            return []
        first, last = wanted
        kept = [emission for seq, emission in self._sent.items() if first <= seq <= last]
        return [Emission(at_us, e.topic, e.payload, e.retain) for e in kept]

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _keep(self, emission: Emission) -> Emission:
        self._sent[self.seq] = emission
        if len(self._sent) > self._kept:
            self._sent.popitem(last=False)
        return emission


class Resend(msgspec.Struct):
    """The command's body."""

    resend: list[int]


def resend_range(command: bytes) -> tuple[int, int] | None:
    """First and last number a command asks for; None when it asks for nothing or cannot be read."""
    try:
        wanted = msgspec.json.decode(command, type=Resend).resend
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return (min(wanted), max(wanted)) if wanted else None
