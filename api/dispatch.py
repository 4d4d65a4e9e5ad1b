"""Who gets which change of an alert or incident: subscriptions grouped by view, and it is decided once per view.

A subscription starts *catching up*: changes that are dispatched meanwhile wait with
it. When its snapshot or replay has reached a cursor, what waited beyond it follows
and it is live: no change twice, none left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from api.client import Client
from api.filters import AlertFilter
from domain.people import Actor


class Change(Protocol):
    """What a dispatcher needs of a change of either channel."""

    @property
    def cursor(self) -> int:
        """Its place in the order of commits."""
        ...

    def wanted(self, actor: Actor, wanted: AlertFilter) -> bool:
        """Whether a subscriber gets it."""
        ...

    def frame(self, id_: str, now_us: int, area: str = "") -> str:
        """Its text for subscriptions of this name and area."""
        ...


WAITING_MAX = 10_000
"""Changes that may wait for one subscription's snapshot or replay; beyond it is lagging."""

REPLAY_MAX = 20_000
"""Changes a cursor may be behind; beyond, a snapshot is the smaller answer."""

View = tuple[str, AlertFilter, str]
"""Area, filter and subscription id: all who share them get the same text."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One client's subscription to alerts or incidents. ``waiting`` is None once it is live."""

    client: Client
    id: str
    filter: AlertFilter
    cursor: int
    waiting: list[Change] | None
    channel: str = "alerts"

    @property
    def view(self) -> View:
        """What decides the text."""
        return self.client.actor.area, self.filter, self.id


class Dispatcher:
    """All subscriptions to one channel of this server."""

    def __init__(self, channel: str = "alerts", *, waiting_max: int = WAITING_MAX) -> None:
        self.channel = channel
        self.views: dict[View, dict[Subscription, None]] = {}
        self.waiting_max = waiting_max

    def add(self, client: Client, id_: str, wanted: AlertFilter) -> Subscription:
        """A subscription that is catching up."""
        subscription = Subscription(client, id_, wanted, 0, [], self.channel)
        self.views.setdefault(subscription.view, {})[subscription] = None
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription; again is harmless."""
        members = self.views.get(subscription.view, {})
        members.pop(subscription, None)
        if not members:
            self.views.pop(subscription.view, None)

    def dispatch(self, change: Change, now_us: int) -> int:
        """Give a change to all who want it; returns how many got a frame. Never waits."""
        given = 0
        for (area, wanted, id_), members in list(self.views.items()):
            if not change.wanted(Actor("", "", area), wanted):
                continue
            for subscription in list(members):
                if subscription.waiting is not None:
                    self.wait(subscription, change)
                elif change.cursor > subscription.cursor:
                    given += subscription.client.offer(change.frame(id_, now_us, area))
        return given

    def wait(self, subscription: Subscription, change: Change) -> None:
        """Keep a change for a subscription that is catching up."""
        assert subscription.waiting is not None
        if len(subscription.waiting) >= self.waiting_max:
            subscription.client.lag("too many changes came while this client was catching up")
        else:
            subscription.waiting.append(change)

    def go_live(self, subscription: Subscription, cursor: int, now_us: int) -> list[Change]:
        """The snapshot or replay has reached ``cursor``; returns the waiting changes that followed it."""
        waiting, subscription.waiting, subscription.cursor = subscription.waiting or [], None, cursor
        followed = [change for change in waiting if change.cursor > cursor]
        for change in followed:
            subscription.client.offer(change.frame(subscription.id, now_us, subscription.client.actor.area))
        return followed


def reload_reason(since: int, oldest: int | None, newest: int | None, issued: int) -> str | None:
    """Why a cursor cannot be replayed, or None when it can.

    ``oldest``, ``newest``: cursors of the rows there are; ``issued``: the last one the
    sequence gave out, committed or not.
    """
    if since > issued:
        return "this cursor is unknown here; take a snapshot"
    if oldest is None:
        return None if since == issued else "the changes after this cursor are gone; take a snapshot"
    if since + 1 < oldest:
        return "the changes after this cursor are gone; take a snapshot"
    if newest is not None and newest - since > REPLAY_MAX:
        return f"more than {REPLAY_MAX} changes came since; take a snapshot"
    return None
