"""ThingsBoard's gateway interface: one message carries several devices.

    v1/gateway/telemetry      {"Device A": [{"ts": 1483228800000, "values": {"temperature": 42}}], "Device B": […]}
    v1/gateway/connect        {"device": "Device A"}
    v1/gateway/disconnect     {"device": "Device A"}
    v1/gateway/attributes, rpc, claim       ignored

    field            ours
    key              device
    ts               t, epoch milliseconds; an item without it: the arrival
    values (or the   readings
      item itself)

``v1/devices/me/telemetry`` names no device: on a shared broker it is refused as ``bad_id``.
"""

from __future__ import annotations

from domain.errors import PayloadError
from domain.readings import NO_SEQ
from ingest.adapters.fields import Fields, fields_of, shown
from ingest.adapters.metric_names import Metrics
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online
from ingest.codec import VALUES_MAX, Values, check_values


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """The devices of one message. Raises: PayloadError; one bad item refuses the whole message."""
    levels = given.topic.split("/")
    if levels[-1] == "telemetry" and levels[-2:-1] == ["me"]:
        raise PayloadError("bad_id", "v1/devices/me names no device; use the gateway's topics")
    if levels[-1] in ("connect", "disconnect"):
        message = fields_of(given)
        return [online(device_id(message.text("device")), levels[-1] == "connect", given.clock_us)]
    if levels[-1] != "telemetry":
        return []
    message = fields_of(given)
    things = [thing for name in message.values for thing in device_of(name, message, given)]
    total = sum(len(thing.content.metric) for thing in things if isinstance(thing.content, Values))
    if total > VALUES_MAX:
        raise PayloadError("too_many_values", f"{total} values in one message, more than {VALUES_MAX}")
    return things


def device_of(name: str, message: Fields, given: Given) -> list[Thing]:
    """All items of one device as one content. Raises: PayloadError."""
    device = device_id(name)
    items = message.values[name]
    if not isinstance(items, list):
        raise PayloadError("wrong_type", f"{message.at(name)} is not a list")
    columns = Values([], [], [], [])
    for index, item in enumerate(items):
        fields = Fields.of(item, f"{message.path}.{shown(name)}[{index}]")
        time_us = fields.time_or_arrival("ts", given)
        inner = fields.object("values") if "values" in fields else fields
        values = Metrics()
        values.add_all({key: value for key, value in inner.values.items() if key != "ts"}, inner.path)
        columns.metric.extend(values.values)
        columns.value.extend(values.values.values())
        columns.time_us.extend([time_us] * len(values.values))
    if not columns.metric:
        return []
    columns.seq.extend([NO_SEQ] * len(columns.metric))
    check_values(columns.metric, columns.value)
    return [Thing(device, "sensor", columns, max(columns.time_us))]
