"""Tasmota: telemetry of one board and its sensors, with local time without a zone.

tele/{topic}/SENSOR    {"Time": "2020-01-01T00:00:00", "AHT1X-0x38": {"Temperature": 24.7}, "TempUnit": "C"}
tele/{topic}/STATE     {"Time": …, "UptimeSec": 66972, "Vcc": 3.423, "Wifi": {"RSSI": 72, "Signal": -64}}
tele/{topic}/LWT       Online | Offline
stat/…, cmnd/…, INFO…  answers and commands: ignored

field                  ours
level before the last  device
Time                   t, in GRIDPULSE_TIMEZONE where it has no zone
numbers of SENSOR      readings; a second sensor's quantity of the same name keeps the sensor's name
TempUnit F             temperatures are turned into °C; PressureUnit mmHg, inHg into hPa
UptimeSec, Vcc, Wifi   readings uptime_s, supply_v, wifi_quality_pct; Wifi.Signal is the status's rssi_dbm
"""

from __future__ import annotations

from typing import Any

from domain.errors import PayloadError
from ingest.adapters.fields import Fields, fields_of
from ingest.adapters.metric_names import Metrics
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online, readings

LEFT_OUT = frozenset({"Time", "TempUnit", "PressureUnit", "Epoch", "Uptime"})
HPA = {"hPa": 1.0, "mmHg": 1.33322, "inHg": 33.8639}
TEMPERATURES = frozenset({"Temperature", "DewPoint"})
PRESSURES = frozenset({"Pressure", "SeaPressure"})


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """The readings or the status of one board. Raises: PayloadError."""
    levels = given.topic.split("/")
    last = levels[-1]
    if last not in ("SENSOR", "STATE", "LWT") or len(levels) < 2 or "tele" not in levels:
        return []
    device = device_id(*(levels[-2:-1] if levels[-2] != "tele" else levels[-3:-2]))
    if last == "LWT":
        return [lwt(given, device)]
    message = fields_of(given)
    time_us = message.time("Time", given)
    if last == "STATE":
        return state(message, device, time_us)
    values = Metrics()
    values.add_all(converted(message), "payload")
    return readings(device, values.values, time_us)


def lwt(given: Given, device: str) -> Thing:
    """Raises: PayloadError for another word."""
    word = given.payload.strip().lower()
    if word not in (b"online", b"offline"):
        raise PayloadError("wrong_type", "payload is neither Online nor Offline")
    return online(device, word == b"online", given.clock_us)


def state(message: Fields, device: str, time_us: int) -> list[Thing]:
    """How the board itself is. Raises: PayloadError."""
    values: dict[str, float] = {}
    for name, ours in (("UptimeSec", "uptime_s"), ("Vcc", "supply_v"), ("LoadAvg", "load_pct")):
        number = message.number_or(name)
        if number is not None:
            values[ours] = number
    wifi = message.object_or("Wifi")
    quality = wifi.number_or("RSSI") if wifi else None
    if quality is not None:
        values["wifi_quality_pct"] = quality
    signal = wifi.number_or("Signal") if wifi else None
    return [*readings(device, values, time_us), online(device, True, time_us, rssi_dbm=signal)]


def converted(message: Fields) -> dict[str, Any]:
    """The sensors' blocks in °C and hPa. Raises: PayloadError for a unit nobody knows."""
    fahrenheit = (message.text_or("TempUnit") or "C") == "F"
    unit = message.text_or("PressureUnit") or "hPa"
    if unit not in HPA:
        raise PayloadError("bad_unit", f"{message.at('PressureUnit')} is none of {', '.join(HPA)}")
    blocks = {name: value for name, value in message.values.items() if name not in LEFT_OUT}
    return {name: block_of(value, fahrenheit, HPA[unit]) for name, value in blocks.items()}


def block_of(block: Any, fahrenheit: bool, hpa: float) -> Any:
    """One sensor's block."""
    if not isinstance(block, dict):
        return block
    out: dict[str, Any] = {}
    for name, value in block.items():
        number = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))
        if number and fahrenheit and name in TEMPERATURES and abs(value) < 1e6:
            out[name] = round((value - 32) / 1.8, 4)
        elif number and name in PRESSURES and hpa != 1.0 and abs(value) < 1e6:
            out[name] = round(value * hpa, 4)
        elif name != "Time":
            out[name] = value
    return out
