"""Hand-overs at borders to the live feed: "it is now yours" to the town entered, "it has left" to the town left.

Table ``handover`` is the only source, followed by LISTEN with a poll behind it like
alert changes; what is pushed is committed. A frame goes to each subscription of
channel ``vehicles`` whose account sees the town left or entered (the whole city's
accounts see both), and like an alert it is never skipped for a newer one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from api.feed import Feed, ValueSubscription
from api.filters import AlertFilter
from api.messages import frame
from api.metrics import LIVE_FRAMES
from api.queries.trips import HANDOVERS_AFTER, NEWEST_HANDOVER
from api.reader import reading
from db.listen import wakeups
from db.pool import Pool
from domain.errors import DatabaseUnavailable
from domain.people import Actor

log = logging.getLogger(__name__)

CHANNEL = "handover"
POLL_S = 1.0
PAGE = 500


class Handovers:
    """The follower of one process."""

    def __init__(self, pool: Pool, database_url: str, feed: Feed) -> None:
        self.pool = pool
        self.database_url = database_url
        self.feed = feed
        self.newest: int | None = None

    async def run(self) -> None:
        """Push what is committed, until cancelled."""
        async for _ in wakeups(self.database_url, CHANNEL, poll_s=POLL_S, name="gridpulse-live-handovers"):
            try:
                await self.catch_up()
            except DatabaseUnavailable as error:
                log.warning("cannot read hand-overs now, trying again: %s", error)
                await asyncio.sleep(POLL_S)

    async def catch_up(self) -> None:
        """Push all rows after the newest one known; the first call only finds where to begin."""
        if self.newest is None:
            async with reading(self.pool, asked=False) as reader:
                row = await reader.row(NEWEST_HANDOVER)
            assert row is not None
            self.newest = row["seq"]
            return
        while True:
            async with reading(self.pool, asked=False) as reader:
                rows = await reader.rows(HANDOVERS_AFTER, {"seq": self.newest, "limit": PAGE})
            for row in rows:
                self.push(row)
                self.newest = row["seq"]
            if len(rows) < PAGE:
                return
            await asyncio.sleep(0)

    def push(self, row: dict[str, Any]) -> None:
        """One hand-over to whom it concerns."""
        texts: dict[tuple[str, str], str | None] = {}
        for subscription in list(self.feed.subscriptions):
            if subscription.channel != "vehicles" or not wanted(subscription, row["exercise"]):
                continue
            view = (subscription.client.actor.area, subscription.id)
            if view not in texts:
                shown = handover_json(row, subscription.client.actor)
                texts[view] = None if shown is None else frame("handover", id=subscription.id, **shown)
            text = texts[view]
            if text is not None and subscription.client.offer(text):
                LIVE_FRAMES.labels("handovers").inc()


def wanted(subscription: ValueSubscription, exercise: str | None) -> bool:
    """Exercises go to who asked for them only."""
    return AlertFilter(exercise=subscription.exercise).matches_exercise(exercise)


def handover_json(row: dict[str, Any], actor: Actor) -> dict[str, Any] | None:
    """The hand-over as one account sees it; None when neither side is in its area.

    ``yours``: true for who gets the vehicle, false for who gives it, null for who sees both.
    """
    body = row["body"]
    gives, gets = (actor.sees(*codes(body[side])) for side in ("left", "entered"))
    if not gives and not gets:
        return None
    yours = None if gives and gets else gets
    return {
        "seq": row["seq"], "change": row["change"], **body, "exercise": row["exercise"], "yours": yours,
        "text": words(row["change"], body, yours),
    }  # fmt: skip


def codes(side: dict[str, Any]) -> tuple[str | None, ...]:
    """The place codes of one side of the border."""
    return side["grid"], side["village"], side["town"]


def words(change: str, body: dict[str, Any], yours: bool | None) -> dict[str, str]:
    """The sentence for a person."""
    vehicle, left, entered = body["vehicle"], body["left"]["name"], body["entered"]["name"]
    if change == "withdrawn":
        return {
            "zh": f"更正：车辆 {vehicle} 并未由{left['zh']}驶入{entered['zh']}",
            "en": f"Correction: {vehicle} did not cross from {left['en']} into {entered['en']}",
        }
    if yours:
        return {
            "zh": f"车辆 {vehicle} 已由{left['zh']}驶入{entered['zh']}，现归你处负责",
            "en": f"{vehicle} has entered {entered['en']} from {left['en']}: it is now yours",
        }
    if yours is False:
        return {
            "zh": f"车辆 {vehicle} 已驶出{left['zh']}，移交{entered['zh']}负责",
            "en": f"{vehicle} has left {left['en']}: it is now {entered['en']}'s",
        }
    return {
        "zh": f"车辆 {vehicle} 由{left['zh']}驶入{entered['zh']}，由{entered['zh']}接手",
        "en": f"{vehicle} has crossed from {left['en']} into {entered['en']}, which takes over",
    }
