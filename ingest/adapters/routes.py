"""Which topics go to which adapter, and what comes of them. Pure; adapters may keep state.

A route is a topic filter, an adapter and a prefix for the ids it makes. Only topics that
are not the contract's come here, so the contract's own cost nothing. One message may
become several contents, of several devices; each counts as one message in the account,
and the MQTT message is acknowledged once, behind the last of them. A bad part refuses the
whole message: it goes to quarantine once, as it came.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache

from domain.errors import PayloadError
from ingest.adapters.catalogue import ADAPTERS, RETAINED
from ingest.adapters.hooks import PREFIX as HOOKS
from ingest.adapters.things import Adapt, Given, Options, Ports, Thing, device_id
from ingest.messages import Decoded, Message, Refusal
from ingest.topics import DEVICE_KINDS, NAME, Topic

OWN_TREES = frozenset({*DEVICE_KINDS, "runs", HOOKS})
TOPICS_CACHED = 1 << 16
REQUESTS_MAX = 256
"""Requests to devices that wait to be published; beyond it the oldest is dropped: who asks asks again."""

FILTER_CHARACTERS_MAX = 512
PREFIX = re.compile(r"[A-Za-z0-9._-]{0,32}")


@dataclass(frozen=True, slots=True)
class Route:
    """``filter``: an MQTT topic filter; ``prefix``: put before the ids this source makes."""

    filter: str
    adapter: str
    prefix: str = ""


def parse_route(pattern: str, target: str) -> Route:
    """``filter``, ``adapter`` or ``adapter@prefix``. Raises: ValueError that says what is wrong."""
    adapter, _, prefix = target.strip().partition("@")
    if adapter not in ADAPTERS:
        raise ValueError(f"there is no adapter {adapter!r}; there are {', '.join(sorted(ADAPTERS))}")
    if not PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix {prefix!r}: up to 32 of A-Za-z0-9._-")
    pattern = pattern.strip()
    levels = pattern.split("/")
    if not pattern or len(pattern) > FILTER_CHARACTERS_MAX or "\0" in pattern:
        raise ValueError(f"topic filter {pattern[:60]!r} is empty or too long")
    bad = any(("#" in level and (level != "#" or i + 1 < len(levels))) for i, level in enumerate(levels))
    if bad or any("+" in level and level != "+" for level in levels):
        raise ValueError(f"topic filter {pattern!r}: + and # stand for whole levels, # only at the end")
    if levels[0] in ("#", "+") or levels[0].startswith("$") or levels[0] in OWN_TREES:
        raise ValueError(f"topic filter {pattern!r} would reach into Gridpulse's own or the broker's topics")
    return Route(pattern, adapter, prefix)


def hook_route(adapter: str) -> Route:
    """The route of what comes over HTTP for an adapter."""
    return Route(f"{HOOKS}/{adapter}/#", adapter)


def rest_of(pattern: str, topic: str) -> str | None:
    """None where the filter does not match; else the topic from its first wildcard on, or its last level."""
    wanted, levels = pattern.split("/"), topic.split("/")
    first: int | None = None
    for index, level in enumerate(wanted):
        if level == "#":
            if index > len(levels):
                return None
            return "/".join(levels[index if first is None else first :])
        if index >= len(levels) or (level != "+" and level != levels[index]):
            return None
        if level == "+" and first is None:
            first = index
    if len(levels) != len(wanted):
        return None
    return levels[-1] if first is None else "/".join(levels[first:])


class Adapters:
    """All routes, in the order given; the first that matches takes the message."""

    def __init__(self, routes: Sequence[Route], zone: tzinfo, options: Options | None = None) -> None:
        self._zone = zone
        self._routes = tuple(routes)
        self._requests: deque[tuple[str, bytes]] = deque(maxlen=REQUESTS_MAX)
        self.counts: Counter[tuple[str, str]] = Counter()
        options = options or Options()
        # One state for all routes of an adapter and prefix: discovery describes other topics than its own,
        # and two sites whose names do not mix have prefixes.
        made: dict[tuple[str, str], Adapt] = {}
        for route in self._routes:
            if (route.adapter, route.prefix) not in made:
                ports = Ports(options, self._ask, _Note(self.counts, route.adapter))
                made[route.adapter, route.prefix] = ADAPTERS[route.adapter](ports)
        self._adapt = [made[route.adapter, route.prefix] for route in self._routes]
        self._match = lru_cache(maxsize=TOPICS_CACHED)(self._find)

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe besides the contract's topics."""
        return tuple(dict.fromkeys(r.filter for r in self._routes if not r.filter.startswith(f"{HOOKS}/")))

    @property
    def retained_filters(self) -> frozenset[str]:
        """Those whose retained messages are wanted again at every connection."""
        return frozenset(route.filter for route in self._routes if route.adapter in RETAINED)

    def translate(self, messages: Iterable[Message]) -> tuple[list[Decoded], list[Refusal]]:
        """Contents of all messages in order, and the messages that break their format or have no route."""
        decoded: list[Decoded] = []
        refused: list[Refusal] = []
        for message in messages:
            found = self._match(message.topic)
            if found is None:
                detail = "neither a topic of the contract, section 4, nor in an adapter's filter"
                refused.append(Refusal(message, None, None, "foreign_topic", detail))
                continue
            route, adapt, rest = found
            try:
                things = adapt(Given(message.topic, rest, message.payload, message.received_us, self._zone))
                made = [content_of(message, thing, route.prefix) for thing in things]
            except PayloadError as error:
                refused.append(Refusal(message, None, None, error.reason, error.detail))
                self.counts[route.adapter, "quarantined"] += 1
            except Exception as error:  # noqa: BLE001  ours to mend, but one message must not stop the stream
                detail = f"{route.adapter}: {type(error).__name__}: {error}"
                refused.append(Refusal(message, None, None, "decoder_error", detail))
                self.counts[route.adapter, "quarantined"] += 1
            else:
                decoded += made
                self.counts[route.adapter, "taken" if made else "ignored"] += 1
        return decoded, refused

    def requests(self) -> list[tuple[str, bytes]]:
        """What adapters asked to publish since the last call: topic and payload."""
        taken = list(self._requests)
        self._requests.clear()
        return taken

    def _find(self, topic: str) -> tuple[Route, Adapt, str] | None:
        for route, adapt in zip(self._routes, self._adapt, strict=True):
            rest = rest_of(route.filter, topic)
            if rest is not None:
                return route, adapt, rest
        return None

    def _ask(self, topic: str, payload: bytes) -> None:
        self._requests.append((topic, payload))


@dataclass(frozen=True, slots=True)
class _Note:
    """Counts what an adapter notes."""

    counts: Counter[tuple[str, str]]
    adapter: str

    def __call__(self, what: str) -> None:
        self.counts[self.adapter, what] += 1


def content_of(message: Message, thing: Thing, prefix: str) -> Decoded:
    """A thing as the contract's own message would be. Raises: PayloadError ``bad_id``."""
    name = device_id(prefix + thing.device_id) if prefix else thing.device_id
    if not NAME.fullmatch(name):
        raise PayloadError("bad_id", f"{name[:70]!r}: a device id is 1-64 of A-Za-z0-9._-")
    topic = Topic(name, thing.kind, None, False, thing.device_kind)
    return Decoded(message, topic, message.received_us, thing.time_us, thing.content)
