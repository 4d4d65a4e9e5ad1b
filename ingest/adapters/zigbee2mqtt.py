"""zigbee2mqtt: the flat JSON of Zigbee devices.

{base}/{friendly name}                 {"temperature": 27.34, "humidity": 44.72, "linkquality": 80}
{base}/{friendly name}/availability    "online" | "offline" | {"state": "online"}
{base}/bridge/…                        the bridge's own: ignored
{base}/{friendly name}/set, get        commands: ignored

field                    ours
topic behind the base    device (a friendly name may hold / and Chinese)
last_seen                t: ISO 8601 or epoch ms, as zigbee2mqtt is set; else the arrival
numbers, true/false      readings; ON and OFF are 1 and 0; other texts and lists are left out
battery                  also the device's status
"""

from __future__ import annotations

from ingest.adapters.fields import Fields, json_of
from ingest.adapters.metric_names import Metrics
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online, readings

LEFT_OUT = frozenset({"last_seen", "elapsed", "update", "update_available", "device"})


def adapter(ports: Ports) -> Adapt:
    """Keeps no state."""
    return adapt


def adapt(given: Given) -> list[Thing]:
    """The readings of one device, or its availability. Raises: PayloadError."""
    levels = given.rest.split("/")
    if levels[0] == "bridge" or levels[-1] in ("set", "get") or "set" in levels[1:]:
        return []
    if levels[-1] == "availability" and len(levels) > 1:
        return [availability(given, "/".join(levels[:-1]))]
    message = Fields.of(json_of(given.payload), "payload")
    time_us = message.time_or_arrival("last_seen", given)
    values = Metrics()
    values.add_all({k: v for k, v in message.values.items() if k not in LEFT_OUT}, "payload")
    return readings(device_id(given.rest), values.values, time_us)


def availability(given: Given, name: str) -> Thing:
    """Older versions send the bare word. Raises: PayloadError."""
    word = given.payload.decode("utf-8", "replace").strip()
    if word not in ("online", "offline"):
        word = Fields.of(json_of(given.payload), "payload").text("state")
    return online(device_id(name), word == "online", given.clock_us)
