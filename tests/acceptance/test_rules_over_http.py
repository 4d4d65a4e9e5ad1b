"""Rules as an engineer changes them: over HTTP, on a running server, which follows within seconds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.fix_server import LiveServer

pytestmark = pytest.mark.stack

RULE: dict[str, Any] = {
    "detector": "threshold", "kind": "trial.pressure", "applies_to": {"devices": ["PRESS-*"]},
    "settings": {
        "metric": "trial_pressure_kpa", "unit": "kPa", "levels": {"3": 100}, "clear": 90,
        "title": {"zh": "压力过高", "en": "Pressure too high"},
    },
}  # fmt: skip


class Client:
    def __init__(self, base_url: str, token: str) -> None:
        self.base, self.headers = f"{base_url}/api/v1", {"Authorization": f"Bearer {token}"}

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        given = {} if body is None else {"json": body}
        return httpx.request(method, self.base + path, params=query, headers=self.headers, timeout=60, **given)


async def test_from_a_proposal_to_an_alert_and_its_end(live_server: LiveServer, tmp_path: Path) -> None:
    server = live_server.server
    engineer, dispatcher = (Client(live_server.base_url, server.token(n)) for n in ("engineer", "dispatcher"))
    listed = dispatcher("GET", "/rules").json()["items"]
    assert {"fire.smoke", "vibration.limit"} <= {rule["id"] for rule in listed}
    assert dispatcher("PUT", "/rules/trial.pressure", RULE).status_code == 403
    wrong = engineer("PUT", "/rules/trial.pressure", {**RULE, "settings": {**RULE["settings"], "unit": "bar"}})
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "bad_rule")
    assert "kPa" in wrong.json()["detail"]

    device = "PRESS-1"
    for n in range(3):
        await live_server.publish(
            f"sensors/{device}/readings", {"t": time.time() - 30 + n, "values": {"trial_pressure_kpa": 120.0}}
        )

    def stored() -> bool:
        path = "/rules/trial.pressure/backtest"
        return bool(engineer("POST", path, RULE).json()["read"].get("readings", 0) >= 3)

    server.wait(stored, "the readings to be stored")
    tried = engineer("POST", "/rules/trial.pressure/backtest", RULE).json()
    assert (tried["would"]["alerts"], tried["does"]["alerts"], tried["complete"]) == (1, 0, True)
    streamed = engineer("POST", "/rules/trial.pressure/backtest", RULE, progress=True)
    lines = [json.loads(line) for line in streamed.text.splitlines()]
    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert lines[-1]["result"]["would"]["alerts"] == 1
    assert all("progress" in line for line in lines[:-1])

    written = engineer("PUT", "/rules/trial.pressure", RULE)
    assert (written.status_code, written.json()["version"], written.json()["warnings"]) == (201, 1, [])
    assert engineer("PUT", "/rules/trial.pressure", {**RULE, "version": 9}).status_code == 409

    async def raised() -> list[dict[str, Any]]:
        await live_server.publish(
            f"sensors/{device}/readings", {"t": time.time(), "values": {"trial_pressure_kpa": 121.0}}
        )
        found = dispatcher("GET", "/alerts", kind="trial.pressure").json()["items"]
        return [alert for alert in found if alert["device"]["id"] == device]

    end = time.monotonic() + 15
    while not await raised():
        assert time.monotonic() < end, "the running server follows the new rule"
    [alert] = await raised()
    assert (alert["evidence"]["rule"], alert["evidence"]["rule_version"]) == ("trial.pressure", 1)

    off = engineer("PUT", "/rules/trial.pressure", {**RULE, "version": 1, "enabled": False, "note": "tests"})
    assert off.json()["version"] == 2

    def over() -> bool:
        shown = dispatcher("GET", f"/alerts/{alert['id']}").json()
        reason = shown["history"][-1]["reason"]
        return bool(shown["condition"] == "cleared" and "switched off by engineer" in reason)

    server.wait(over, "the alert of the rule that is off to end", 15)
    versions = engineer("GET", "/rules/trial.pressure").json()["versions"]
    told = [(v["version"], v["actor"], v["note"]) for v in versions]
    assert told == [(2, "engineer", "tests"), (1, "engineer", "")]
    assert engineer("DELETE", "/rules/trial.pressure", version=1).status_code == 409
    assert engineer("DELETE", "/rules/trial.pressure", version=2).status_code == 204
    assert engineer("DELETE", "/rules/trial.pressure", version=3).status_code == 404

    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rule]]\nid = "trial.file"\ndetector = "threshold"\nkind = "trial.pressure"\n'
        '[rule.settings]\nmetric = "trial_presure_kpa"\nlevels = { 3 = 100 }\nclear = 90\n'
        'title = { zh = "压力", en = "Pressure" }\n'
    )
    dry = server.cli("import", "rules", str(path), "--dry-run")
    assert "did you mean trial_pressure_kpa" in dry.stderr
    assert "1 new, 0 changed, 0 the same, 0 bad; dry run, nothing written" in dry.stdout
    assert server.cli("import", "rules", str(path), "--strict", check=False).returncode == 1
