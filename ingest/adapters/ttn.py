"""The Things Stack v3 (TTN): uplinks of LoRaWAN devices.

    v3/{application}@{tenant}/devices/{device}/up      readings
    v3/…/join, down/…, service/…, location/…           ignored

    field                                     ours
    end_device_ids.device_id                  device; the topic's must agree
    uplink_message.received_at, else          t
      received_at
    uplink_message.decoded_payload            readings
    uplink_message.rx_metadata[].rssi         status: the strongest, rssi_dbm
    uplink_message.last_battery_percentage    status: battery_pct

Empty fields are left out by the stack; an uplink without a payload formatter is only a
sign of life.
"""

from __future__ import annotations

from domain.errors import PayloadError
from ingest.adapters.fields import fields_of
from ingest.adapters.lorawan import best_rssi
from ingest.adapters.metric_names import Metrics
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online, readings


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """One uplink. Raises: PayloadError."""
    levels = given.topic.split("/")
    if len(levels) < 3 or levels[-1] != "up" or levels[-3] != "devices":
        return []
    message = fields_of(given)
    ids = message.object("end_device_ids")
    named = ids.text("device_id")
    if named != levels[-2]:
        raise PayloadError("device_mismatch", f"{ids.at('device_id')} is not the topic's {levels[-2][:64]!r}")
    uplink = message.object("uplink_message")
    source = uplink if "received_at" in uplink else message
    time_us = source.time_or_arrival("received_at", given)
    values = Metrics()
    decoded = uplink.object_or("decoded_payload")
    if decoded is not None:
        values.add_all(decoded.values, decoded.path)
    battery = uplink.object_or("last_battery_percentage")
    device = device_id(named)
    heard = online(
        device, True, time_us, rssi_dbm=best_rssi(uplink.objects("rx_metadata")),
        battery_pct=battery.number_or("value") if battery else None,
    )  # fmt: skip
    return [*readings(device, values.values, time_us), heard]
