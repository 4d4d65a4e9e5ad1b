"""ChirpStack v4: uplinks of LoRaWAN devices, as its MQTT integration publishes JSON.

    application/{application}/device/{DevEUI}/event/up        readings
    application/{application}/device/{DevEUI}/event/status    battery and margin
    …/event/join, ack, txack, log, location, integration      ignored

    field                        ours
    deviceInfo.devEui            device; the topic's must agree
    time                         t (nine digits of fraction are cut to microseconds)
    object                       readings: what the device profile's codec decoded
    rxInfo[].rssi                status: the strongest, rssi_dbm
    batteryLevel (status)        status: battery_pct
    margin (status)              reading link_margin_db

Without a codec in ChirpStack there is no ``object``: the uplink is then only a sign of
life. Zero values are left out by ChirpStack (protobuf JSON), so a missing field is not an error.
"""

from __future__ import annotations

from domain.errors import PayloadError
from ingest.adapters.fields import Fields, fields_of
from ingest.adapters.lorawan import best_rssi
from ingest.adapters.metric_names import Metrics
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online, readings


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """One uplink or status. Raises: PayloadError."""
    levels = given.topic.split("/")
    if len(levels) < 4 or levels[-2] != "event" or levels[-1] not in ("up", "status"):
        return []
    message = fields_of(given)
    info = message.object("deviceInfo")
    named = info.text("devEui")
    if levels[-4] == "device" and levels[-3].lower() != named.lower():
        raise PayloadError("device_mismatch", f"{info.at('devEui')} is not the topic's {levels[-3][:64]!r}")
    device = device_id(named.lower())
    time_us = message.time_or_arrival("time", given)
    if levels[-1] == "status":
        return status(message, device, time_us)
    values = Metrics()
    decoded = message.object_or("object")
    if decoded is not None:
        values.add_all(decoded.values, decoded.path)
    rssi = best_rssi(message.objects("rxInfo"))
    return [*readings(device, values.values, time_us), online(device, True, time_us, rssi_dbm=rssi)]


def status(message: Fields, device: str, time_us: int) -> list[Thing]:
    """What the device answered to a status request. Raises: PayloadError."""
    margin = message.number_or("margin")
    values = {} if margin is None else {"link_margin_db": margin}
    battery = None if message.values.get("batteryLevelUnavailable") is True else message.number_or("batteryLevel")
    return [*readings(device, values, time_us), online(device, True, time_us, battery_pct=battery)]
