"""The queue policy of one client, with a transport that can be stopped."""

from __future__ import annotations

import asyncio
import json

import pytest

from api.client import Client, Identity
from domain.people import Actor

IDENTITY = Identity(Actor("a", "dispatcher", ""), None, 2**60)


class Pipe:
    """A transport that sends nothing while ``open`` is clear."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.code: int | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def send_text(self, data: str) -> None:
        await self.open.wait()
        self.sent.append(data)

    async def close(self, code: int, reason: str | None = None) -> None:
        self.code = code


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_go_out_in_order_and_the_end_comes_last() -> None:
    pipe = Pipe()
    client = Client(pipe, IDENTITY)
    for n in range(3):
        assert client.offer(str(n))
    writer = asyncio.create_task(client.write())
    await settle()
    client.end(4009, "signed out", "bye")
    await writer
    assert (pipe.sent, pipe.code) == (["0", "1", "2", "bye"], 4009)
    assert not client.offer("late")


async def test_too_many_frames_drop_the_queue_and_tell_to_resume() -> None:
    pipe = Pipe()
    pipe.open.clear()
    client = Client(pipe, IDENTITY, frames_max=4)
    writer = asyncio.create_task(client.write())
    accepted = 0
    while client.offer(str(accepted)):
        accepted += 1
        await asyncio.sleep(0)
    assert accepted == 5  # four wait, one is being sent
    pipe.open.set()
    await writer
    assert pipe.sent[0] == "0"
    assert json.loads(pipe.sent[1])["type"] == "lagging"
    assert (len(pipe.sent), pipe.code) == (2, 4008)


async def test_too_many_characters_lag_but_one_frame_of_any_size_passes() -> None:
    client = Client(Pipe(), IDENTITY, chars_max=10)
    assert client.offer("x" * 100)
    assert not client.offer("y")
    assert client.closing == (4008, "too many frames wait for this client")


async def test_room_is_cleared_at_half_and_set_again() -> None:
    client = Client(Pipe(), IDENTITY, frames_max=4)
    client.offer("a")
    client.offer("b")
    assert client.room.is_set()
    client.offer("c")
    assert not client.room.is_set()
    writer = asyncio.create_task(client.write())
    await client.room.wait()
    client.end(1000, "")
    await writer


async def test_one_value_frame_a_subscription_waits_and_none_closes_the_client() -> None:
    pipe = Pipe()
    pipe.open.clear()
    client = Client(pipe, IDENTITY, chars_max=10)
    writer = asyncio.create_task(client.write())
    assert client.offer_values("1", "d")
    assert not client.offer_values("2", "d")
    assert client.offer_values("3", "w")
    assert not client.offer_values("x" * 11, "v")
    assert client.closing is None
    pipe.open.set()
    await settle()
    assert client.offer_values("4", "d")
    client.end(1000, "")
    await writer
    assert pipe.sent == ["1", "3"]


async def test_only_the_first_end_counts_and_is_told() -> None:
    ended = []
    client = Client(Pipe(), IDENTITY)
    client.on_end = lambda: ended.append(1)
    client.end(4009, "a")
    client.end(4008, "b")
    assert client.closing == (4009, "a")
    assert ended == [1]


async def test_a_transport_that_breaks_ends_the_writer() -> None:
    class Broken(Pipe):
        async def send_text(self, data: str) -> None:
            raise ConnectionResetError

    client = Client(Broken(), IDENTITY)
    client.offer("x")
    with pytest.raises(ConnectionResetError):
        await client.write()
