"""Sparkplug B 3.0: nodes and devices that name their metrics once, at birth.

    spBv1.0/{group}/{NBIRTH|NDATA|NDEATH}/{edge node}
    spBv1.0/{group}/{DBIRTH|DDATA|DDEATH}/{edge node}/{device}
    spBv1.0/STATE/…, NCMD, DCMD                                    ignored

    field                       ours
    group.node or               device
      group.node.device
    metrics[].name              metric (of the birth, where the message has only the alias)
    metrics[].timestamp, else   t, epoch milliseconds
      timestamp
    metrics[].*_value           value; texts, data sets, templates and nulls are left out
    NBIRTH, DBIRTH              also status: online
    NDEATH, DDEATH              status: offline, at the arrival (a will has no time); a node takes
                                its devices with it
    seq                         0..255, must follow; a gap is counted and the node asked to be born again
    bdSeq                       a death is believed only with the number of the newest birth

State: for each edge node its aliases, its devices and the last ``seq``; at most
NODES_MAX nodes, the one not heard for longest is forgotten, and ALIASES_MAX aliases a
node. Births are not kept over a restart: data with an alias that nobody has explained
goes to quarantine as ``unknown_alias``, and the node is asked for a rebirth, at most once
in REBIRTH_EVERY_S seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from domain.errors import PayloadError
from domain.readings import NO_SEQ
from ingest.adapters.fields import number_of, shown, time_of
from ingest.adapters.metric_names import distinct, metric_name, snake
from ingest.adapters.sparkplug_wire import parse, rebirth_request, value_of
from ingest.adapters.things import Adapt, Given, Ports, Thing, device_id, online
from ingest.codec import VALUES_MAX, Values, check_values

NAMESPACE = "spBv1.0"
NODES_MAX = 2_000
ALIASES_MAX = 10_000
DEVICES_MAX = 1_000
REBIRTH_EVERY_S = 30.0
NEVER = -(1 << 62)
OWN = frozenset({"bdSeq", "Node Control/Rebirth", "Node Control/Reboot", "Node Control/Next Server"})
TYPES = frozenset({"NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a birth says of a metric, and its name here."""

    name: str
    datatype: int
    metric: str


@dataclass(slots=True)
class Node:
    """What is known of one edge node; ``seq`` None: not born while we listened."""

    seq: int | None = None
    birth: float | None = None
    asked_us: int = NEVER
    aliases: dict[int, Meaning] = field(default_factory=dict)
    named: dict[tuple[str, str], Meaning] = field(default_factory=dict)
    devices: set[str] = field(default_factory=set)


class Nodes:
    """All edge nodes, the one heard last at the end."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._nodes: OrderedDict[tuple[str, str], Node] = OrderedDict()
        self._base = NAMESPACE  # with what a bridge put before it

    def __call__(self, given: Given) -> list[Thing]:
        """One message. Raises: PayloadError."""
        levels = given.topic.split("/")
        at = levels.index(NAMESPACE) if NAMESPACE in levels else -1
        tail = levels[at + 1 :]
        if at < 0 or len(tail) < 3 or tail[1] not in TYPES:
            return []
        self._base = "/".join(levels[: at + 1])
        group, type_, edge, *device = tail
        if len(device) != (1 if type_[0] == "D" else 0):
            raise PayloadError("foreign_topic", f"{type_} with {len(tail)} levels behind {NAMESPACE}")
        payload = parse(given.payload)
        if len(payload.metrics) > VALUES_MAX:
            raise PayloadError("too_many_values", f"metrics has {len(payload.metrics)}, more than {VALUES_MAX}")
        node = self._node(group, edge)
        return Reading(self, node, (group, edge), device[0] if device else "", given, payload).of(type_)

    def _node(self, group: str, edge: str) -> Node:
        node = self._nodes.get((group, edge))
        if node is None:
            node = self._nodes[group, edge] = Node()
            if len(self._nodes) > NODES_MAX:
                self._nodes.popitem(last=False)
                self._ports.note("forgotten")
        self._nodes.move_to_end((group, edge))
        return node

    def ask_rebirth(self, node: Node, group: str, edge: str, given: Given) -> None:
        """Ask the node to be born again, unless it was just asked."""
        if given.clock_us - node.asked_us < REBIRTH_EVERY_S * 1e6:
            return
        node.asked_us = given.clock_us
        self._ports.note("rebirth_asked")
        self._ports.ask(f"{self._base}/{group}/NCMD/{edge}", rebirth_request(given.clock_us // 1000))

    def note(self, what: str) -> None:
        """Count."""
        self._ports.note(what)


@dataclass(slots=True)
class Reading:
    """One message of one node or device being read."""

    nodes: Nodes
    node: Node
    key: tuple[str, str]
    device: str
    given: Given
    payload: Any

    def of(self, type_: str) -> list[Thing]:
        """By message type. Raises: PayloadError."""
        match type_:
            case "NBIRTH":
                return self.node_birth()
            case "DBIRTH":
                return self.device_birth()
            case "NDEATH":
                return self.node_death()
            case "DDEATH":
                self.follow_seq()
                return [online(self.name(self.device), False, self.given.clock_us)]
        if self.node.seq is None:
            self.ask()
        else:
            self.follow_seq()
        return self.values()

    def node_birth(self) -> list[Thing]:
        """Everything known of the node ends here and begins anew."""
        birth = next((value_of(m, 8) for m in self.payload.metrics if m.name == "bdSeq"), None)
        self.node.seq = self.seq() or 0
        self.node.birth = birth
        self.node.aliases.clear()
        self.node.named.clear()
        self.node.devices.clear()
        self.learn()
        return [online(self.name(""), True, self.sent_us()), *self.values()]

    def device_birth(self) -> list[Thing]:
        """A device of a node, with its metrics."""
        if self.node.seq is None:
            self.ask()
        else:
            self.follow_seq()
        if len(self.node.devices) >= DEVICES_MAX and self.device not in self.node.devices:
            raise PayloadError(
                "too_many_devices", f"edge node {shown(self.key[1])} has {DEVICES_MAX} devices already"
            )
        self.node.devices.add(self.device)
        self.learn()
        return [online(self.name(self.device), True, self.sent_us()), *self.values()]

    def node_death(self) -> list[Thing]:
        """A will of an earlier connection may come after the next birth: its number tells."""
        number = next((value_of(m, 8) for m in self.payload.metrics if m.name == "bdSeq"), None)
        if self.node.birth is not None and number is not None and number != self.node.birth:
            self.nodes.note("stale_death")
            return []
        gone = ["", *sorted(self.node.devices)]
        self.node.seq = None
        return [online(self.name(device), False, self.given.clock_us) for device in gone]

    def learn(self) -> None:
        """Aliases and types of a birth. Raises: PayloadError."""
        taken: set[str] = set()
        for index, metric in enumerate(self.payload.metrics):
            if not metric.name:
                raise PayloadError("missing", f"metrics[{index}].name is not there, in a birth")
            if len(self.node.named) >= ALIASES_MAX:
                raise PayloadError("too_many_metrics", f"the node has more than {ALIASES_MAX} metrics")
            ours = distinct(metric_name(metric.name), snake(metric.name), taken)
            taken.add(ours)
            meaning = Meaning(metric.name, metric.datatype, ours)
            if metric.HasField("alias"):
                self.node.aliases[metric.alias] = meaning
            self.node.named[self.device, metric.name] = meaning

    def values(self) -> list[Thing]:
        """The numbers of the message. Raises: PayloadError ``unknown_alias``, and for numbers and times."""
        columns = Values([], [], [], [])
        for index, metric in enumerate(self.payload.metrics):
            meaning = self.explained(metric, index)
            value = None if meaning.name in OWN else value_of(metric, meaning.datatype)
            if value is None:
                continue
            columns.metric.append(meaning.metric)
            columns.value.append(number_of(value, f"metrics[{index}] {shown(meaning.name)}"))
            columns.time_us.append(self.metric_us(metric, index))
            columns.seq.append(NO_SEQ)
        if not columns.metric:
            return []
        check_values(columns.metric, columns.value)
        return [Thing(self.name(self.device), "sensor", columns, max(columns.time_us))]

    def explained(self, metric: Any, index: int) -> Meaning:
        """Name and type, from the birth or, without one, from the message. Raises: PayloadError."""
        if metric.name:
            known = self.node.named.get((self.device, metric.name))
            return known or Meaning(metric.name, metric.datatype, metric_name(metric.name))
        found = self.node.aliases.get(metric.alias) if metric.HasField("alias") else None
        if found is None:
            self.ask()
            named = f"alias {metric.alias}" if metric.HasField("alias") else "neither name nor alias"
            raise PayloadError("unknown_alias", f"metrics[{index}]: {named} that no birth explained; rebirth asked")
        return found

    def metric_us(self, metric: Any, index: int) -> int:
        """The metric's own time, else the message's. Raises: PayloadError."""
        if not metric.HasField("timestamp"):
            return self.sent_us()
        return milliseconds(metric.timestamp, f"metrics[{index}].timestamp", self.given)

    def sent_us(self) -> int:
        """The message's time, else the arrival."""
        if not self.payload.HasField("timestamp"):
            return self.given.clock_us
        return milliseconds(self.payload.timestamp, "timestamp", self.given)

    def seq(self) -> int | None:
        """The message's number. Raises: PayloadError."""
        if not self.payload.HasField("seq"):
            return None
        if self.payload.seq > 255:
            raise PayloadError("bad_seq", f"seq {self.payload.seq} is not in 0..255")
        return int(self.payload.seq)

    def follow_seq(self) -> None:
        """A number that does not follow: something was lost. The same again: delivered twice."""
        seq = self.seq()
        if seq is None or self.node.seq is None or seq == self.node.seq:
            return
        if seq != (self.node.seq + 1) % 256:
            self.nodes.note("seq_gap")
            self.ask()
        self.node.seq = seq

    def ask(self) -> None:
        """Ask for a rebirth of this node."""
        self.nodes.ask_rebirth(self.node, *self.key, self.given)

    def name(self, device: str) -> str:
        """Group, node and device as one id."""
        return device_id(*self.key, *([device] if device else []))


def milliseconds(value: int, path: str, given: Given) -> int:
    """Raises: PayloadError."""
    return time_of(value if value >= 10**11 else value / 1000, path, given)


def adapter(ports: Ports) -> Adapt:
    """Keeps the births."""
    return Nodes(ports)
