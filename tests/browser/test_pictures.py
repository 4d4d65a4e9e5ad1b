"""A camera's picture beside its alert: posted with the event, seen by who opens the alert."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import httpx2
import pytest
from playwright.async_api import expect

from api.accounts import issue_token
from db.pool import connect
from tests.browser.conftest import LiveServer, VisitorMaker
from tests.unit.ingest.adapters.samples import HIKVISION_XML

pytestmark = [pytest.mark.browser, pytest.mark.stack]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def test_a_posted_picture_is_shown_with_its_alert(visitor: VisitorMaker, live_server: LiveServer) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    xml = HIKVISION_XML.replace("2022-01-31T13:53:05+01:00", now).encode()
    body = b"--x\r\nContent-Type: application/xml\r\n\r\n" + xml
    body += b"\r\n--x\r\nContent-Type: image/png\r\n\r\n" + PNG
    async with await connect(live_server.database_url, name="test") as conn:
        token = await issue_token(conn, "operator")
    async with httpx2.AsyncClient(base_url=live_server.base_url) as http:
        answer = await http.post(
            "/api/v1/hooks/hikvision?device=CAM-PICTURE",
            content=body + b"\r\n--x--\r\n",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=x"},
        )
    assert answer.status_code == 200, answer.text
    alert = await live_server.found("CAM-PICTURE")
    someone = await visitor()
    await someone.sign_in()
    await someone.open(alert)
    picture = someone.page.locator("#detail .pictures img")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("image => image.naturalWidth") == 1
