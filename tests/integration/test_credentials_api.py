"""The registry's details and the broker's credentials over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import credentials
from domain.errors import NotAllowed
from server.accounts import load_door
from server.commands.traffic_runs import copy_devices
from server.embedded.broker_accounts import is_password
from tests.integration.api_house import MACHONG, House, house

__all__ = ["house"]

pytestmark = pytest.mark.stack

API = "/api/v1"
DETAILS: dict[str, Any] = {
    "kind": "tilt", "address_id": "4419000030010100001000000", "floor": -1, "period_s": 30.0,
    "calibration": {"tilt_x_deg": {"scale": 1.02, "offset": -0.1, "unit": "deg", "date": "2026-05-01"}},
}  # fmt: skip


async def audit_of(house: House, target: str) -> list[tuple[str, str, dict[str, Any]]]:
    async with house.pool.connection() as conn:
        cursor = await conn.execute("SELECT actor, action, body FROM audit WHERE target = %s ORDER BY id", [target])
        return [(str(actor), str(action), body) for actor, action, body in await cursor.fetchall()]


async def names_let_in(house: House) -> dict[str, str]:
    return {account.username: account.password_hash for account in (await load_door(house.pool)).accounts}


async def test_what_a_device_measures_from_and_with(house: House) -> None:
    path, engineer = f"{API}/devices/TL-1", house.as_user("engineer")
    assert (await house.http.put(path, headers=engineer, json=DETAILS)).status_code == 201
    shown = (await house.get(path)).json()
    assert {name: shown[name] for name in DETAILS} == DETAILS
    assert shown["building"] == "4419000030010100001", "the address names it"
    plain = {"kind": "tilt", "calibration": {"t": {}}}
    assert (await house.http.put(path, headers=engineer, json=plain)).status_code == 200
    shown = (await house.get(path)).json()
    assert (shown["building"], shown["floor"]) == (None, None)
    assert shown["calibration"] == {"t": {"scale": 1.0, "offset": 0.0, "unit": "", "date": None}}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"calibration": {"t": {"scale": 0}}}, "scale"),
        ({"calibration": {"T X": {}}}, "T X"),
        ({"calibration": {"t": {"date": "may"}}}, "date"),
        ({"building": "1" * 19}, "building"),
    ],
)
async def test_details_that_cannot_be_are_named(house: House, wrong: dict[str, Any], named: str) -> None:
    answer = await house.http.put(
        f"{API}/devices/TL-1", headers=house.as_user("engineer"), json={**DETAILS, **wrong}
    )
    assert answer.status_code == 422, answer.text
    assert named in answer.json()["detail"]


async def test_a_runs_copy_keeps_the_calibration_of_what_the_device_said_itself(house: House) -> None:
    path, engineer = f"{API}/devices/TL-1", house.as_user("engineer")
    assert (await house.http.put(path, headers=engineer, json=DETAILS)).status_code == 201
    async with house.pool.connection() as conn:
        await copy_devices(conn, "replayed", ["TL-1"], own=["TL-1"])
        await copy_devices(conn, "simulated", ["TL-1"])
    replayed, simulated = [(await house.get(path, exercise=run)).json() for run in ("replayed", "simulated")]
    assert replayed["calibration"] == DETAILS["calibration"]
    assert (simulated["calibration"], simulated["floor"]) == ({}, -1)


async def test_credentials_are_made_shown_once_and_taken_away(house: House) -> None:
    path, engineer = f"{API}/devices/TL-1", house.as_user("engineer")
    assert (await house.http.post(f"{path}/credentials", headers=engineer)).status_code == 404
    await house.http.put(path, headers=engineer, json=DETAILS)
    assert (await house.http.post(f"{path}/credentials", headers=house.as_user("dispatcher"))).status_code == 403
    assert (await house.http.delete(f"{path}/credentials", headers=engineer)).status_code == 404
    made = await house.http.post(f"{path}/credentials", headers=engineer)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    assert is_password(made.json()["password"], (await names_let_in(house))["TL-1"])
    second = (await house.http.post(f"{path}/credentials", headers=engineer)).json()["password"]
    hashed = (await names_let_in(house))["TL-1"]
    assert is_password(second, hashed)
    assert not is_password(made.json()["password"], hashed), "the old one ended"
    assert (await house.http.delete(f"{path}/credentials", headers=engineer)).status_code == 204
    assert await names_let_in(house) == {}
    history = await audit_of(house, "TL-1")
    assert [(actor, action) for actor, action, _ in history] == [
        ("engineer", "device.put"), ("engineer", "device.credentials"), ("engineer", "device.credentials"),
        ("engineer", "device.revoke"),
    ]  # fmt: skip
    assert second not in str(history), "the audit says who, never what"


async def test_a_disabled_or_deleted_device_is_not_let_in(house: House) -> None:
    path, engineer = f"{API}/devices/TL-1", house.as_user("engineer")
    await house.http.put(path, headers=engineer, json=DETAILS)
    await house.http.post(f"{path}/credentials", headers=engineer)
    await house.http.put(path, headers=engineer, json={**DETAILS, "disabled": True})
    assert await names_let_in(house) == {}
    await house.http.put(path, headers=engineer, json=DETAILS)
    assert set(await names_let_in(house)) == {"TL-1"}
    await house.http.delete(path, headers=engineer)
    await house.http.put(path, headers=engineer, json=DETAILS)
    assert await names_let_in(house) == {}, "registered anew is not let in anew"


async def test_names_of_our_own_and_gateways_of_a_small_area(house: House) -> None:
    engineer = house.as_user("engineer")
    path = f"{API}/devices/gridpulse-server"
    await house.http.put(path, headers=engineer, json={"kind": "tilt"})
    answer = await house.http.post(f"{path}/credentials", headers=engineer)
    assert answer.status_code == 403
    assert "another id" in answer.json()["detail"]
    await house.http.put(f"{API}/devices/G", headers=engineer, json={"kind": "gateway"})
    body = {"children": ["TL-*"]}
    assert (await house.http.post(f"{API}/devices/G/credentials", headers=engineer, json=body)).status_code == 422
    body["gateway"] = True  # type: ignore[assignment]
    assert (await house.http.post(f"{API}/devices/G/credentials", headers=engineer, json=body)).status_code == 201
    async with house.pool.connection() as conn:
        await conn.execute("UPDATE app_user SET area = %s WHERE name = 'engineer'", [MACHONG])
    assert (await house.http.post(f"{API}/devices/G/credentials", headers=engineer, json=body)).status_code == 403


async def test_certificates_are_noted_and_revoked(house: House) -> None:
    now = datetime.now(UTC)
    async with house.pool.connection() as conn:
        await credentials.let_in_by_certificate(conn, "C1", "$7$1$aa$aa", "ab1", now, now + timedelta(days=9))
        await credentials.let_in_by_certificate(conn, "C1", "$7$1$bb$bb", "ab2", now, now + timedelta(days=9))
        await credentials.let_in_by_certificate(conn, "C2", "$7$1$cc$cc", "ab3", now, now - timedelta(days=9))
        with pytest.raises(NotAllowed):
            await credentials.let_in_by_certificate(conn, "gridpulse-x", "h", "ab4", now, now)
        assert (await names_let_in(house))["C1"] == "$7$1$aa$aa", "an account that is there keeps its password"
        assert await credentials.revoke_certificate(conn, "ab1") == "C1"
        assert await credentials.revoke_certificate(conn, "ab1") is None
        assert await credentials.revoke(conn, "C1") == (True, 1)
        assert await credentials.revoke(conn, "C1") == (False, 0)
        later = now + timedelta(days=9)
        assert await credentials.let_in_by_certificate(conn, "C1", "$7$1$dd$dd", "ab5", now, later)
        assert (await names_let_in(house))["C1"] == "$7$1$dd$dd", "a closed account's old password stays dead"
        assert await credentials.revoke_certificate(conn, "ab3") == "C2"
    door = await load_door(house.pool)
    assert [each.serial for each in door.revoked] == ["ab1", "ab2"], "what has run out needs no list"
    assert [account.username for account in door.accounts] == ["C1", "C2"]
