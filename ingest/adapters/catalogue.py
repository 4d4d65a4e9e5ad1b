"""The adapters by name. A new one is a module with ``adapter(ports)``, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingest.adapters import (
    chirpstack,
    dahua,
    frigate,
    gat1400,
    gb28181,
    hikvision,
    home_assistant,
    onvif,
    openeew,
    senml,
    sparkplug,
    tasmota,
    thingsboard,
    ttn,
    zigbee2mqtt,
)
from ingest.adapters.things import Adapt, Ports

ADAPTERS: Mapping[str, Callable[[Ports], Adapt]] = {
    "chirpstack": chirpstack.adapter,
    "dahua": dahua.adapter,
    "frigate": frigate.adapter,
    "gat1400": gat1400.adapter,
    "gb28181": gb28181.adapter,
    "hikvision": hikvision.adapter,
    "home_assistant": home_assistant.adapter,
    "onvif": onvif.adapter,
    "openeew": openeew.adapter,
    "senml": senml.adapter,
    "sparkplug": sparkplug.adapter,
    "tasmota": tasmota.adapter,
    "thingsboard": thingsboard.adapter,
    "ttn": ttn.adapter,
    "zigbee2mqtt": zigbee2mqtt.adapter,
}

RETAINED = frozenset({"home_assistant"})
"""Learn from retained messages, so the broker is to send those again at every connection."""
