"""Hooks on their way into ingest: bounded, answered late rather than cut, cleaned first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from api.ports import Received
from domain.errors import DatabaseUnavailable
from ingest.messages import Message, Refusal
from ingest.service import IngestService
from server import hooks
from server.hooks import HookIntake


class Slow:
    """An ingest service that commits when it is told to."""

    def __init__(self) -> None:
        self.waiting_for_database = False
        self.go = asyncio.Event()
        self.taken: list[Message] = []
        self.refused: list[Refusal] = []

    async def submit(self, messages: Sequence[Message]) -> tuple[int, Sequence[Refusal]]:
        await self.go.wait()
        self.taken += messages
        return len(messages) - len(self.refused), self.refused


def intake(service: Slow) -> HookIntake:
    return HookIntake(cast(IngestService, service), lambda: 1_795_400_000_000_000)


async def test_it_is_answered_after_its_commit() -> None:
    service = Slow()
    work = asyncio.create_task(intake(service)("hikvision", "CAM-1", "aa.jpg", b"<a/>"))
    await asyncio.sleep(0)
    assert not work.done()
    service.go.set()
    await work
    assert [(m.topic, m.payload, m.packet_id) for m in service.taken] == [
        ("hooks/hikvision/CAM-1/aa.jpg", b"<a/>", None)
    ]


async def test_it_says_what_became_of_a_body() -> None:
    service = Slow()
    service.go.set()
    assert await intake(service)("dahua", "D", None, b"x") == Received(1, [])
    service.refused = [Refusal(service.taken[0], None, None, "wrong_type", "index is no number")]
    assert await intake(service)("dahua", "D", None, b"x") == Received(0, [("wrong_type", "index is no number")])


async def test_while_the_database_is_away_it_is_refused_at_once() -> None:
    service = Slow()
    service.waiting_for_database = True
    with pytest.raises(DatabaseUnavailable):
        await intake(service)("hikvision", None, None, b"")
    assert service.taken == []


async def test_what_takes_too_long_is_refused_but_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "ANSWER_WITHIN_S", 0.01)
    service = Slow()
    take = intake(service)
    with pytest.raises(DatabaseUnavailable, match="send it again"):
        await take("hikvision", None, None, b"<a/>")
    service.go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(service.taken) == 1


async def test_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "WAITING_MAX", 2)
    service = Slow()
    take = intake(service)
    waiting = [asyncio.create_task(take("dahua", "D", None, b"x")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable, match="2 messages wait"):
        await take("dahua", "D", None, b"x")
    service.go.set()
    await asyncio.gather(*waiting)


async def test_persons_are_gone_before_anything_sees_them() -> None:
    service = Slow()
    service.go.set()
    await intake(service)(
        "gat1400", None, None, b'{"NotificationID": "1", "FaceObjectList": {"FaceObject": [{"Name": "x"}]}}'
    )
    assert service.taken[0].payload == b'{"NotificationID":"1"}'
