"""The hub: every committed change of alerts and incidents to every client that wants it, in cursor order.

``alert_change`` and ``incident_change``, which share one cursor, are the only source
(invariant 6): the hub follows them by LISTEN with a
poll behind it, so a lost notification costs a second and never a change. Dispatch
makes no await between two clients: nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from api.changes import Change, change_of, stage_seconds
from api.client import Client, Identity
from api.dispatch import Dispatcher, Subscription, reload_reason
from api.feed import Feed, LocatePoints, ValueSubscription
from api.handovers import Handovers
from api.incidents import CHANNEL as INCIDENTS
from api.incidents import IncidentChange, incident_change_of
from api.messages import SIGNED_OUT, SubscribeAlerts, SubscribeValues, frame
from api.metrics import ALERT_LATENCY, LIVE_CLIENTS, LIVE_FRAMES
from api.poll import poll_values, positions_since
from api.queries.alerts import CHANGES_AFTER, CURSOR_BOUNDS, MARK_PUSHED, NEWEST_CURSOR
from api.queries.people import SESSIONS_ALIVE, USERS_ENABLED
from api.reader import Reader, reading, writing
from api.registry import Registry
from api.snapshots import Snapshots, read_snapshot
from api.values import TICK_S, merge_items
from db.listen import wakeups
from db.pool import Connection, Pool, unavailable
from domain.clock import from_us
from domain.errors import DatabaseUnavailable, NotFound
from domain.people import Actor
from domain.readings import Block

log = logging.getLogger(__name__)

CHANNEL = "alert_change"
POLL_S = 1.0
PAGE = 500
PUSHED_EVERY_S = 0.5
PUSHED_TRIES = 3
PUSHED_MAX = 100_000
RECHECK_S = 30.0
READS_AT_ONCE = 4
VEHICLES_BACK_S = 900.0


class Hub:
    """All live clients of this process.

    ``ingest_here``: whether ``offer_block`` will be called; without it the values are
    polled from the tables. ``locate``: places of vehicles for users with an area.
    """

    def __init__(
        self,
        pool: Pool,
        database_url: str,
        now_us: Callable[[], int],
        *,
        locate: LocatePoints | None = None,
        ingest_here: bool = True,
    ) -> None:
        self.pool = pool
        self.database_url = database_url
        self.now_us = now_us
        self.ingest_here = ingest_here
        self.registry = Registry(pool, database_url)
        self.dispatcher = Dispatcher()
        self.dispatchers = {"alerts": self.dispatcher, INCIDENTS: Dispatcher(INCIDENTS)}
        self.feed = Feed(lambda: self.registry.devices, self.registry.metric, locate)
        self.handovers = Handovers(pool, database_url, self.feed)
        self.clients: dict[Client, None] = {}
        self.newest: int | None = None
        self.pushed: dict[str, tuple[int, int]] = {}
        self.reads = asyncio.Semaphore(READS_AT_ONCE)
        self.snapshots = Snapshots()
        self.recheck_asked = asyncio.Event()

    @property
    def parts(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """What follows the changes and keeps the clients served, each until cancelled."""
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("live-follow", self.follow),
            ("live-registry", self.registry.run),
            ("live-handovers", self.handovers.run),
            ("live-values", self.tick_values),
            ("live-pushed", self.keep_pushed),
            ("live-recheck", self.recheck_all),
        ]
        if not self.ingest_here:
            parts.append(("live-poll", lambda: poll_values(self.pool, self.feed, self.now_us)))
        return parts

    # ------------------------------------------------------------ clients

    def enter(self, client: Client) -> None:
        """A client said hello."""
        self.clients[client] = None
        LIVE_CLIENTS.set(len(self.clients))

    def leave(self, client: Client) -> None:
        """A client is gone; all it subscribed to is forgotten."""
        for subscription in list(client.subscriptions.values()):
            self.forget(subscription)
        client.subscriptions.clear()
        self.clients.pop(client, None)
        LIVE_CLIENTS.set(len(self.clients))

    def forget(self, subscription: Subscription | ValueSubscription) -> None:
        """End one subscription."""
        if isinstance(subscription, Subscription):
            self.dispatchers[subscription.channel].remove(subscription)
        else:
            self.feed.remove(subscription)

    def offer_block(self, block: Block) -> None:
        """A committed block, for the values channels. Never waits."""
        self.feed.offer_block(block)

    # ------------------------------------------------------------ alerts

    async def follow(self) -> None:
        """Read committed changes in order and dispatch them."""
        async for conn in wakeups(self.database_url, CHANNEL, poll_s=POLL_S, name="gridpulse-live"):
            try:
                with unavailable("reading changes"):
                    await self.catch_up(conn)
            except DatabaseUnavailable as error:
                log.warning("cannot read alert changes now, trying again: %s", error)
                await asyncio.sleep(POLL_S)

    async def catch_up(self, conn: Connection) -> None:
        """Dispatch all changes after the newest one known; the first call only finds where to begin."""
        if self.newest is None:
            await self.begin()
            return
        while changes := await changes_after(Reader(conn), self.newest):
            for change in changes:
                self.dispatch(change)
                self.newest = change.cursor
            await asyncio.sleep(0)  # let the writers run between pages

    async def begin(self) -> None:
        """Find where to begin, once, before the first snapshot or replay.

        What is committed before that is never dispatched: a subscription that was
        live already would have a hole.
        """
        async with reading(self.pool, asked=False) as reader:
            row = await reader.row(NEWEST_CURSOR)
        assert row is not None
        if self.newest is None:  # two may have asked
            self.newest = row["cursor"]

    def dispatch(self, change: Change | IncidentChange) -> None:
        """One change to all who want it."""
        if isinstance(change, IncidentChange):
            given = self.dispatchers[INCIDENTS].dispatch(change, self.now_us())
            LIVE_FRAMES.labels(INCIDENTS).inc(given)
            return
        given = self.dispatcher.dispatch(change, self.now_us())
        LIVE_FRAMES.labels("alerts").inc(given)
        if change.fresh:
            self.note_pushed(change)
            if change.change == "raised" and not change.facts.exercise and not change.alert.get("late"):
                for stage, seconds in stage_seconds(change.timeline).items():
                    ALERT_LATENCY.labels(stage).observe(seconds)

    async def subscribe_alerts(self, client: Client, wanted: SubscribeAlerts) -> None:
        """Snapshot or replay, then live. The caller waits, so that answers come in the order asked."""
        if self.newest is None:
            await self.begin()
        seen = wanted.filter.for_eyes_of(client.actor)
        subscription = self.dispatchers[wanted.channel].add(client, wanted.id, seen)
        client.subscriptions[wanted.id] = subscription
        try:
            if wanted.since is None:
                await self.snapshot(subscription)
            else:
                await self.replay(subscription, wanted.since)
        except BaseException:
            self.unsubscribe(client, wanted.id)
            raise

    def unsubscribe(self, client: Client, id_: str) -> bool:
        """End a subscription by its id; False when there is none."""
        subscription = client.subscriptions.pop(id_, None)
        if subscription is not None:
            self.forget(subscription)
        return subscription is not None

    async def snapshot(self, subscription: Subscription) -> None:
        """All open alerts (or incidents) the subscriber may see and wants, and the cursor of that moment."""
        reached = self.newest
        view = (subscription.channel, subscription.client.actor.area, subscription.filter)
        async with self.reads:
            # Many come at once after a restart: one that covers all dispatched before us will do.
            made = self.snapshots.fresh(view, reached, self.now_us())
            if made is None:
                made = await read_snapshot(self.pool, *view, self.now_us())
                self.snapshots.keep(view, made)
        subscription.client.offer(made.frame(subscription.id))
        self.go_live(subscription, made.cursor)

    async def replay(self, subscription: Subscription, since: int) -> None:
        """Every change after ``since`` in order, or ``reload``."""
        client = subscription.client
        async with self.reads, reading(self.pool, asked=False) as reader:
            bounds = await reader.row(CURSOR_BOUNDS)
        assert bounds is not None
        reason = reload_reason(since, **bounds)
        if reason is not None:
            self.unsubscribe(client, subscription.id)
            client.offer(frame("reload", id=subscription.id, reason=reason))
            return
        cursor = since
        while changes := await self.page_after(cursor):
            for change in changes:
                cursor = change.cursor
                mine = isinstance(change, IncidentChange) == (subscription.channel == INCIDENTS)
                if mine and change.wanted(client.actor, subscription.filter):
                    await client.room.wait()
                    client.offer(change.frame(subscription.id, self.now_us(), client.actor.area))
                    self.note_pushed(change)
            if client.closing is not None:
                return
        self.go_live(subscription, cursor)

    async def page_after(self, cursor: int) -> list[Change | IncidentChange]:
        """The next page of changes, for one who has fallen behind."""
        async with reading(self.pool, asked=False) as reader:
            return await changes_after(reader, cursor)

    def go_live(self, subscription: Subscription, cursor: int) -> None:
        """From here on the subscription is served by dispatch."""
        for change in self.dispatchers[subscription.channel].go_live(subscription, cursor, self.now_us()):
            if isinstance(change, Change):
                self.note_pushed(change)

    # ------------------------------------------------------------ pushed times

    def note_pushed(self, change: Change | IncidentChange) -> None:
        """Remember an alert's first push for the next batch; beyond the bound the oldest are forgotten."""
        if isinstance(change, Change) and change.fresh and change.pushed_us is not None:
            self.pushed.setdefault(change.alert["id"], (change.pushed_us, 0))
            while len(self.pushed) > PUSHED_MAX:
                self.pushed.pop(next(iter(self.pushed)))

    async def keep_pushed(self) -> None:
        """Write first pushes down in batches."""
        while True:
            await asyncio.sleep(PUSHED_EVERY_S)
            if self.pushed:
                try:
                    await self.write_pushed()
                except DatabaseUnavailable as error:
                    log.warning("cannot write pushed times now, trying again: %s", error)

    async def write_pushed(self) -> None:
        """One batch. A row that a writer holds is tried again; one that has its time already is left."""
        batch = dict(self.pushed)
        ats = [from_us(at_us) for at_us, _ in batch.values()]
        async with writing(self.pool) as conn:
            cursor = await conn.execute(MARK_PUSHED, {"ids": list(batch), "ats": ats})
            written = {str(row[0]) for row in await cursor.fetchall()}
        for id_, (at_us, tries) in batch.items():
            if id_ in written or tries + 1 >= PUSHED_TRIES:
                self.pushed.pop(id_, None)
            else:
                self.pushed[id_] = (at_us, tries + 1)

    # ------------------------------------------------------------ values

    async def subscribe_values(self, client: Client, wanted: SubscribeValues) -> None:
        """Newest values from now on; vehicles begin with their last known positions.

        Raises: NotFound for a device that is unknown or outside the area.
        """
        key = None
        if wanted.device is not None:
            key = await self.device_key(client.actor, wanted.device, wanted.exercise)
        subscription = self.feed.add(client, wanted.id, wanted.channel, key, wanted.exercise)
        client.subscriptions[wanted.id] = subscription
        if wanted.channel == "vehicles":
            after = from_us(self.now_us() - round(VEHICLES_BACK_S * 1e6))
            fresh = await positions_since(self.pool, after)
            merge_items(subscription.waiting, self.feed.visible(fresh, subscription))

    async def device_key(self, actor: Actor, device_id: str, exercise: str | None) -> int:
        """The key of a device the actor may see. Raises: NotFound."""
        key = self.registry.key_of(device_id, exercise)
        if key is None:
            await self.registry.load()
            key = self.registry.key_of(device_id, exercise)
        if key is None or not self.registry.devices[key].seen_by(actor):
            raise NotFound(f"there is no device {device_id!r}")
        return key

    async def tick_values(self) -> None:
        """Four times a second, what is new."""
        while True:
            await asyncio.sleep(TICK_S)
            if self.feed.subscriptions:
                self.feed.tick()

    # ------------------------------------------------------------ sessions

    def recheck_soon(self) -> None:
        """Somebody signed out or was disabled in this process."""
        self.recheck_asked.set()

    async def recheck_all(self) -> None:
        """Close the sockets of who is signed out, each 30 s and when asked."""
        while True:
            try:
                async with asyncio.timeout(RECHECK_S):
                    await self.recheck_asked.wait()
            except TimeoutError:
                pass
            self.recheck_asked.clear()
            if self.clients:
                try:
                    await self.recheck()
                except DatabaseUnavailable as error:
                    log.warning("cannot check sessions now, trying again: %s", error)

    async def recheck(self) -> None:
        """One round over all clients."""
        clients = list(self.clients)
        now_us = self.now_us()
        names = sorted({client.actor.name for client in clients})
        digests = list({c.identity.session for c in clients if c.identity.session is not None})
        async with reading(self.pool, asked=False) as reader:
            users = await reader.rows(USERS_ENABLED, {"names": names})
            alive = await reader.rows(SESSIONS_ALIVE, {"digests": digests, "now": from_us(now_us)})
        actors = {row["name"]: Actor(row["name"], row["role"], row["area"]) for row in users}
        sessions = {bytes(row["digest"]) for row in alive}
        for client in clients:
            if not still_signed_in(client.identity, actors, sessions, now_us):
                client.end(SIGNED_OUT, "signed out")


async def changes_after(reader: Reader, cursor: int) -> list[Change | IncidentChange]:
    """The next page of changes."""
    rows = await reader.rows(CHANGES_AFTER, {"cursor": cursor, "limit": PAGE})
    return [incident_change_of(row) if row["is_incident"] else change_of(row) for row in rows]


def still_signed_in(
    identity: Identity, actors: Mapping[str, Actor], sessions: set[bytes], now_us: int
) -> bool:
    """Whether session, account, role and area are what they were at hello."""
    return (
        identity.expires_us > now_us
        and actors.get(identity.actor.name) == identity.actor
        and (identity.session is None or identity.session in sessions)
    )
