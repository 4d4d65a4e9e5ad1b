"""The HTTP intake without a database: who is let in, and what a body is taken for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.ports import HookPorts, Received
from api.routes import hooks as hooks_route
from api.routes.hooks import AT_ONCE, parts_of
from db.media import MediaFolder
from domain.errors import DatabaseUnavailable, PayloadError
from tests.unit.api.test_app import ports

SECRET = "a secret of many characters"
JPEG = b"\xff\xd8\xff\xe0picture"
URL = "/api/v1/hooks/hikvision"


@dataclass
class Intake:
    taken: list[tuple[str, str | None, str | None, bytes]] = field(default_factory=list)
    away: bool = False
    became: Received = field(default_factory=lambda: Received(1))

    async def __call__(self, adapter: str, device: str | None, picture: str | None, body: bytes) -> Received:
        if self.away:
            raise DatabaseUnavailable("the database is away: send it again")
        self.taken.append((adapter, device, picture, body))
        return self.became


@dataclass
class House:
    http: httpx2.AsyncClient
    intake: Intake
    hooks: HookPorts
    media: MediaFolder

    async def post(self, body: bytes = b"<a/>", secret: str | None = SECRET, url: str = URL, **headers: str) -> Any:
        if secret is not None:
            headers["Authorization"] = f"Bearer {secret}"
        return await self.http.post(url, content=body, headers=headers)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    intake, media = Intake(), MediaFolder(tmp_path)
    hooks = HookPorts(intake, frozenset({"hikvision", "dahua"}), {"hikvision": SECRET})
    app = create_app(replace(ports(), hooks=hooks, media=media))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        yield House(client, intake, hooks, media)


async def test_the_secret_lets_in_as_bearer_and_as_basic_password(house: House) -> None:
    assert (await house.post()).status_code == 200
    basic = base64.b64encode(f"cam:{SECRET}".encode()).decode()
    answer = await house.http.post(
        f"{URL}?device=CAM-1", content=b"<b/>", headers={"Authorization": f"Basic {basic}"}
    )
    assert answer.status_code == 200
    assert house.intake.taken == [("hikvision", None, None, b"<a/>"), ("hikvision", "CAM-1", None, b"<b/>")]


async def test_nobody_else_is_let_in_and_guessing_is_slowed(house: House) -> None:
    answer = await house.post(secret=None)
    assert (answer.status_code, "Basic" in answer.headers["www-authenticate"]) == (401, True)
    answers = [(await house.post(secret=None, Authorization="Basic !!")).status_code for _ in range(25)]
    assert set(answers) == {401, 429}
    assert (await house.post(url="/api/v1/hooks/gat1400")).status_code == 404
    assert (await house.post(url="/api/v1/hooks/hikvision?device=a/b")).status_code == 422
    assert house.intake.taken == []


async def test_while_the_database_is_away_it_is_503_with_a_time_to_come_back(house: House) -> None:
    house.intake.away = True
    answer = await house.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    house.hooks.under_way = AT_ONCE
    assert (await house.post()).status_code == 503


async def test_a_picture_is_kept_before_its_event_is_handed_over(house: House) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="a.xml"\r\nContent-Type: application/xml\r\n\r\n<a/>\r\n'
        b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG + b"\r\n--b--\r\n"
    )
    answer = await house.post(body, **{"Content-Type": 'multipart/form-data; boundary="b"'})
    assert answer.status_code == 200
    ((_, _, picture, text),) = house.intake.taken
    assert text == b"<a/>"
    assert picture is not None
    found = house.media.find(picture)
    assert found is not None
    assert found[0].read_bytes() == JPEG


async def test_the_answer_says_what_became_of_the_body_and_never_asks_for_it_again(house: House) -> None:
    answer = await house.post()
    assert (answer.status_code, answer.json()) == (200, {"received": True, "accepted": 1, "quarantined": []})
    house.intake.became = Received(0, [("wrong_type", "payload is a x, not an EventNotificationAlert")])
    answer = await house.post()
    [told] = answer.json()["quarantined"]
    assert (answer.status_code, answer.json()["accepted"], told["reason"]) == (200, 0, "wrong_type")
    assert "EventNotificationAlert" in told["detail"]


async def test_a_body_without_end_gives_its_place_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_route, "BODY_WITHIN_S", 0.05)

    async def endless() -> AsyncIterator[bytes]:
        yield b"--b\r\nContent-Type: text/xml\r\n\r\n"
        await asyncio.sleep(60)

    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "multipart/form-data; boundary=b"}
    answers = await asyncio.gather(
        *(house.http.post(URL, content=endless(), headers=headers) for _ in range(AT_ONCE + 1))
    )
    assert sorted(answer.status_code for answer in answers) == [408] * AT_ONCE + [503]
    assert house.hooks.under_way == 0
    assert (await house.post()).status_code == 200


async def test_bodies_are_bounded(house: House) -> None:
    assert (await house.post(b"x" * (256 * 1024 + 1))).status_code == 413
    assert (await house.post(b"x" * (4 * 1024 * 1024 + 1))).status_code == 413
    svg = b"--b\r\nContent-Type: image/svg+xml\r\n\r\n<svg/>\r\n--b\r\nContent-Type: a/b\r\n\r\n<a/>\r\n--b--"
    assert (await house.post(svg, **{"Content-Type": "multipart/mixed; boundary=b"})).status_code == 422


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<a/>", "multipart/form-data"),
        (b"nothing", "multipart/form-data; boundary=b"),
        (b"--b\r\nno head", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\n" * 40, "multipart/form-data; boundary=b"),
        (b"--b\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b"),
    ],
)
def test_multipart_that_cannot_be_read_says_so(body: bytes, content_type: str) -> None:
    with pytest.raises(PayloadError, match="bad_multipart"):
        parts_of(body, content_type)


async def test_a_process_without_ingest_says_so(tmp_path: Path) -> None:
    app = create_app(ports())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        assert (await client.post(URL, content=b"")).status_code == 501
