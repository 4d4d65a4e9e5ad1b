"""Home Assistant discovery: devices that describe their own topics.

    {prefix}/{component}/{object}/config, {prefix}/{component}/{node}/{object}/config    one entity
    {prefix}/device/{object}/config                                                      a device with "cmps"
    the state topics they name (put these under the same adapter in the settings)

    field (short form)                ours
    device.identifiers (dev.ids),     device; else the unique_id
      name
    state_topic (stat_t), ~           which topic carries the value
    value_template (val_tpl)          where in it: value, value_json.a.b, value_json['a'], with | float, | round …
    unit_of_measurement (unit_of_meas) and device_class (dev_cla)   the metric's name
    component binary_sensor,          1 for payload_on (pl_on; ON), 0 for payload_off
      payload_on, payload_off
    availability_topic (avty_t)       status: payload_available / payload_not_available

Components other than sensor and binary_sensor are ignored, as are templates beyond the
simple ones: what computes in Jinja is not run here. An empty payload forgets the entity.
A state has no time of its own: the arrival's. State: at most ENTITIES_MAX entities, then
new ones are refused as ``too_many_entities``. Nothing is kept over a restart: the broker
sends the retained configurations again at each connection. A state that nobody has
described (yet) is quarantined as ``not_described``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from domain.errors import PayloadError
from ingest.adapters.fields import Fields, fields_of, json_of, number_of, shown
from ingest.adapters.metric_names import WORDS, Metrics
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online, readings

ENTITIES_MAX = 20_000
ENTITIES_OF_TOPIC_MAX = 200
READ = frozenset({"sensor", "binary_sensor"})
LONG = {
    "stat_t": "state_topic", "val_tpl": "value_template", "unit_of_meas": "unit_of_measurement",
    "dev_cla": "device_class", "uniq_id": "unique_id", "pl_on": "payload_on", "pl_off": "payload_off",
    "avty_t": "availability_topic", "pl_avail": "payload_available", "pl_not_avail": "payload_not_available",
    "dev": "device", "ids": "identifiers", "cmps": "components", "p": "platform", "obj_id": "object_id",
}  # fmt: skip
"""Short names of discovery, as far as they are read here."""

_TEMPLATE = re.compile(
    r"^\{\{\s*(?P<base>value_json|value)(?P<path>(?:\.[A-Za-z_]\w{0,63}|\[\s*(?:'[^']{1,64}'|\"[^\"]{1,64}\"|\d{1,4})\s*\])*)"
    r"(?:\s*\|\s*(?:float|int|round)(?:\([^(){}]{0,20}\))?)*\s*\}\}$"
)
_STEP = re.compile(r"\.(\w+)|\[\s*(?:'([^']*)'|\"([^\"]*)\"|(\d+))\s*\]")


@dataclass(frozen=True, slots=True)
class Entity:
    """One quantity of a device: where it stands in which topic. ``path`` None: the whole payload."""

    device: str
    name: str
    unit: str | None
    path: tuple[str, ...] | None
    on: str | None
    off: str | None
    availability: str | None = None
    available: str = "online"
    gone: str = "offline"


class Discovery:
    """All entities learnt, by the topic that carries them and by the configuration that described them."""

    def __init__(self, ports: Ports) -> None:
        self._note = ports.note
        self._by_topic: defaultdict[str, dict[str, Entity]] = defaultdict(dict)
        self._topics: dict[str, list[tuple[str, str]]] = {}
        self._entities = 0

    def __call__(self, given: Given) -> list[Thing]:
        """A configuration is learnt, a state is read. Raises: PayloadError."""
        if given.topic.endswith("/config"):
            self._learn(given)
            return []
        entities = self._by_topic.get(given.topic)
        if not entities:
            raise PayloadError("not_described", "topic: no discovery configuration names it as a state_topic")
        return list(states(given, entities))

    def _learn(self, given: Given) -> None:
        self._forget(given.topic)
        if not given.payload:
            return
        described = list(entities_of(given.topic, fields_of(given)))
        if self._entities + len(described) > ENTITIES_MAX:
            raise PayloadError("too_many_entities", f"components: more than {ENTITIES_MAX} entities are described")
        for key, topic, entity in described:
            if topic not in self._by_topic or len(self._by_topic[topic]) < ENTITIES_OF_TOPIC_MAX:
                self._by_topic[topic][f"{given.topic} {key}"] = entity
                self._topics.setdefault(given.topic, []).append((topic, f"{given.topic} {key}"))
                self._entities += 1
            else:
                self._note("forgotten")

    def _forget(self, config: str) -> None:
        for topic, key in self._topics.pop(config, []):
            if self._by_topic[topic].pop(key, None) is not None:
                self._entities -= 1
            if not self._by_topic[topic]:
                del self._by_topic[topic]


def adapter(ports: Ports) -> Adapt:
    """Keeps what was described."""
    return Discovery(ports)


def long_names(fields: Fields) -> Fields:
    """The object with its short names written out."""
    return Fields({LONG.get(name, name): value for name, value in fields.values.items()}, fields.path)


def entities_of(topic: str, config: Fields) -> Iterator[tuple[str, str, Entity]]:
    """(key, state topic, entity) of one configuration. Raises: PayloadError."""
    levels = topic.split("/")
    config = long_names(config)
    owner = long_names(config.object_or("device") or Fields({}, config.at("device")))
    if "components" in config:
        for key, part in config.object("components").values.items():
            component = long_names(Fields.of(part, f"{config.at('components')}.{shown(key)}"))
            shared = {n: v for n, v in config.values.items() if n not in ("device", "components")}
            merged = Fields({**shared, **component.values}, component.path)
            yield from entity(key, component.text_or("platform") or "", merged, owner)
        return
    component_name = levels[-4] if len(levels) > 4 and levels[-4] in READ else levels[-3] if len(levels) > 2 else ""
    yield from entity("", component_name, config, owner)


def entity(key: str, component: str, config: Fields, owner: Fields) -> Iterator[tuple[str, str, Entity]]:
    """One component, where it is one we read. Raises: PayloadError."""
    if component not in READ:
        return
    base = config.text_or("~") or ""
    topic = full(config.text("state_topic"), base)
    device = owner_id(owner) or device_id(config.text("unique_id"))
    path = template_path(config.text_or("value_template"), config.at("value_template"))
    last = path[-1] if path else None
    name = last or config.text_or("device_class") or config.text_or("object_id") or config.text_or("name") or key
    binary = component == "binary_sensor"
    availability = config.text_or("availability_topic")
    found = Entity(
        device, name or "value", config.text_or("unit_of_measurement"), path,
        (config.text_or("payload_on") or "ON") if binary else None,
        (config.text_or("payload_off") or "OFF") if binary else None,
        full(availability, base) if availability else None,
        config.text_or("payload_available") or "online", config.text_or("payload_not_available") or "offline",
    )  # fmt: skip
    yield key, topic, found
    if found.availability:
        yield f"{key} availability", found.availability, found


def full(topic: str, base: str) -> str:
    """A topic with ``~`` written out."""
    if topic.startswith("~"):
        return base + topic[1:]
    return topic[:-1] + base if topic.endswith("~") else topic


def owner_id(owner: Fields) -> str | None:
    """The device's own name. Raises: PayloadError."""
    ids = owner.values.get("identifiers")
    first = ids[0] if isinstance(ids, list) and ids else ids
    if isinstance(first, str) and first:
        return device_id(first)
    name = owner.text_or("name")
    return device_id(name) if name else None


def template_path(template: str | None, where: str) -> tuple[str, ...] | None:
    """Where in the JSON the value stands; None: the payload is the value. Raises: PayloadError ``unsupported``."""
    if template is None:
        return None
    match = _TEMPLATE.match(template.strip())
    if match is None:
        raise PayloadError("unsupported", f"{where} computes: {shown(template)!r}; only value_json.… is read")
    if match["base"] == "value":
        return None
    return tuple(next(filter(None, step.groups()), "") for step in _STEP.finditer(match["path"]))


def states(given: Given, entities: dict[str, Entity]) -> Iterator[Thing]:
    """The values of one state message, by device. Raises: PayloadError."""
    document = (
        json_of(given.payload) if any(e.path for e in entities.values() if not is_availability(e, given)) else None
    )
    by_device: dict[str, Metrics] = {}
    told: set[str] = set()
    for e in entities.values():
        if is_availability(e, given):
            if e.device not in told:
                told.add(e.device)
                yield availability(given, e)
            continue
        value = value_at(document, e, given)
        if value is not None:
            by_device.setdefault(e.device, Metrics()).add(e.name, value, unit=e.unit)
    for device, values in by_device.items():
        yield from readings(device, values.values, given.clock_us)


def is_availability(e: Entity, given: Given) -> bool:
    """Whether this topic is the entity's availability."""
    return e.availability == given.topic


def availability(given: Given, e: Entity) -> Thing:
    """Raises: PayloadError for a word that was not announced."""
    word = given.payload.decode("utf-8", "replace")
    if word not in (e.available, e.gone):
        raise PayloadError("wrong_type", f"payload is neither {shown(e.available)} nor {shown(e.gone)}")
    return online(e.device, word == e.available, given.clock_us)


def value_at(document: Any, e: Entity, given: Given) -> float | None:
    """One entity's value; None where this message does not carry it. Raises: PayloadError."""
    value: Any = given.payload.decode("utf-8", "replace").strip() if not e.path else document
    for step in e.path or ():
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    if value is None or value in ("unknown", "unavailable", ""):
        return None
    if e.on is not None and isinstance(value, str | bool):
        word = str(value)
        if word in (e.on, e.off):
            return float(word == e.on)
    where = ".".join(("payload", *(e.path or ())))
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.lower() in WORDS:
        return WORDS[value.lower()]
    return number_of(value, where)
