"""The values channels: devices, waveform, vehicles. Newest wins, thinned to one frame a tick.

A subscription whose last frame still waits to be sent gets no second one: its
values are merged and go with a later tick. Equal subscriptions share one text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from api.client import Client
from api.filters import AlertFilter
from api.messages import frame
from api.metrics import LIVE_FRAMES, VALUES_DROPPED
from api.registry import Known
from api.values import PACKETS_MAX, Board, Fresh, merge_items
from domain.people import Actor
from domain.places import Place
from domain.readings import Block

Items = dict[int, dict[str, Any]]
LocatePoints = Callable[[Any, Any], Sequence[Place]]


@dataclass(slots=True, eq=False)
class ValueSubscription:
    """One client's subscription to a values channel; ``waiting`` is what it has not been sent yet."""

    client: Client
    id: str
    channel: str
    key: int | None
    exercise: str | None
    waiting: Items = field(default_factory=dict)
    packets: list[dict[str, Any]] = field(default_factory=list)


class Feed:
    """All value subscriptions of this server."""

    def __init__(
        self,
        devices: Callable[[], Mapping[int, Known]],
        metric: Callable[[int], str | None],
        locate: LocatePoints | None,
    ) -> None:
        self.devices = devices
        self.metric = metric
        self.locate = locate
        self.board = Board()
        self.subscriptions: dict[ValueSubscription, None] = {}
        self.dropped = 0

    def add(
        self, client: Client, id_: str, channel: str, key: int | None, exercise: str | None
    ) -> ValueSubscription:
        """A new subscription."""
        subscription = ValueSubscription(client, id_, channel, key, exercise)
        self.subscriptions[subscription] = None
        return subscription

    def remove(self, subscription: ValueSubscription) -> None:
        """Forget a subscription; again is harmless."""
        self.subscriptions.pop(subscription, None)

    def offer_block(self, block: Block) -> None:
        """A committed block; costs nothing while nobody watches."""
        if self.subscriptions:
            self.board.take(block)

    def tick(self) -> None:
        """Send what is new since the last tick."""
        channels = {subscription.channel for subscription in self.subscriptions}
        watched = {s.key for s in self.subscriptions if s.key is not None}
        fresh = self.board.fresh(self.metric, watched, devices="devices" in channels)
        VALUES_DROPPED.inc(self.board.dropped - self.dropped)
        self.dropped = self.board.dropped
        self.send(fresh)

    def send(self, fresh: Fresh) -> None:
        """Send these values, each to whom it concerns."""
        texts: dict[tuple[str, str, str | None, str], tuple[Items, str]] = {}
        for subscription in list(self.subscriptions):
            if subscription.channel == "waveform":
                self.send_waveform(subscription, fresh)
                continue
            area = subscription.client.actor.area
            view = (area, subscription.channel, subscription.exercise, subscription.id)
            if view not in texts:
                items = self.visible(fresh, subscription)
                texts[view] = (items, self.encode(subscription, items) if items else "")
            items, text = texts[view]
            self.give(subscription, items, text)

    def give(self, subscription: ValueSubscription, items: Items, text: str) -> None:
        """The shared text when nothing waited; else merged with what waited."""
        if subscription.waiting:
            merge_items(subscription.waiting, items)
            items = subscription.waiting
            text = "" if subscription.id in subscription.client.values_waiting else self.encode(subscription, items)
        if not items:
            return
        if text and subscription.client.offer_values(text, subscription.id):
            LIVE_FRAMES.labels(subscription.channel).inc()
            subscription.waiting = {}
        else:
            subscription.waiting = dict(items)

    def send_waveform(self, subscription: ValueSubscription, fresh: Fresh) -> None:
        """Packets of one device, each once, the oldest given up first."""
        assert subscription.key is not None
        subscription.packets += fresh.waveforms.get(subscription.key, [])
        del subscription.packets[:-PACKETS_MAX]
        known = self.devices().get(subscription.key)
        if not subscription.packets or known is None or subscription.id in subscription.client.values_waiting:
            return
        text = frame("waveform", id=subscription.id, device=known.id, items=subscription.packets)
        if subscription.client.offer_values(text, subscription.id):
            LIVE_FRAMES.labels("waveform").inc()
            subscription.packets = []

    def visible(self, fresh: Fresh, subscription: ValueSubscription) -> Items:
        """What of a channel the subscriber may and wants to see."""
        actor = subscription.client.actor
        wanted = AlertFilter(exercise=subscription.exercise)
        devices = self.devices()
        items = fresh.devices if subscription.channel == "devices" else fresh.vehicles
        known = {
            key: item
            for key, item in items.items()
            if key in devices and wanted.matches_exercise(devices[key].run)
        }
        if subscription.channel == "vehicles":
            return self.within(actor, known)
        return {key: item for key, item in known.items() if devices[key].seen_by(actor)}

    def within(self, actor: Actor, vehicles: Items) -> Items:
        """Vehicles that are now in the actor's area."""
        if not actor.area or not vehicles:
            return vehicles
        if self.locate is None:
            return {}
        lon = np.array([item["lon"] for item in vehicles.values()])
        lat = np.array([item["lat"] for item in vehicles.values()])
        places = self.locate(lon, lat)
        pairs = zip(vehicles.items(), places, strict=True)
        return {key: item for (key, item), p in pairs if actor.sees(p.grid, p.village, p.town)}

    def encode(self, subscription: ValueSubscription, items: Items) -> str:
        """One frame of items."""
        devices = self.devices()
        shown = [{"id": devices[key].id, **item} for key, item in items.items() if key in devices]
        return frame(subscription.channel, id=subscription.id, items=shown)
