"""A mis-set sensor: its alert goes when its calibration is right, and comes where a wrong one hid it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from tests.fix_server import LiveServer

pytestmark = pytest.mark.stack

METRIC = "trial_lean_deg"
RULE: dict[str, Any] = {
    "detector": "threshold", "kind": "trial.lean", "applies_to": {"devices": ["LEAN-*"]},
    "settings": {
        "metric": METRIC, "unit": "deg", "levels": {"3": 5}, "clear": 4,
        "title": {"zh": "倾斜", "en": "Leaning"},
    },
}  # fmt: skip


async def until(live: LiveServer, device: str, value: float, reached: Callable[[], bool], what: str) -> None:
    """Readings of ``value`` until something has come of them."""
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end, what
        await live.publish(f"sensors/{device}/readings", {"t": time.time(), "values": {METRIC: value}})


async def test_alerts_of_mis_set_sensors(live_server: LiveServer) -> None:
    server, base = live_server.server, f"{live_server.base_url}/api/v1"
    engineer = {"Authorization": f"Bearer {server.token('engineer')}"}
    token = server.token()

    def conditions(device: str) -> list[str]:
        found = server.get("/alerts", token, kind="trial.lean", state="new")["items"]
        return [alert["condition"] for alert in found if alert["device"]["id"] == device]

    def values(device: str, **query: Any) -> list[float]:
        answer = server.get("/readings", token, device=device, **query)
        return [item["value"] for item in answer["items"]]

    assert httpx.put(f"{base}/rules/trial.lean", json=RULE, headers=engineer).status_code == 201
    try:
        # It says tenths of a degree: 42 is 4.2 degrees, less 1 that its mount is askew.
        await until(live_server, "LEAN-1", 42.0, lambda: conditions("LEAN-1") == ["active"], "a false alarm")
        calibration = json.dumps({METRIC: {"scale": 0.1, "offset": -1, "unit": "deg", "date": "2026-05-01"}})
        server.cli("device", "calibrate", "LEAN-1", calibration)
        await until(live_server, "LEAN-1", 42.0, lambda: conditions("LEAN-1") == ["cleared"], "its end")
        assert {round(value, 9) for value in values("LEAN-1")} == {3.2}, "what came before is read back right too"
        assert set(values("LEAN-1", raw=True)) == {42.0}
        assert {round(value, 9) for value in values("LEAN-1", step="1m")} == {3.2}
        assert server.get("/readings", token, device="LEAN-1")["calibrated"] == [METRIC]

        # This one's calibration is wrong and hides that its house leans.
        wrong = {"kind": "tilt", "calibration": {METRIC: {"scale": 0.1}}}
        assert httpx.put(f"{base}/devices/LEAN-2", json=wrong, headers=engineer).status_code == 201
        await until(live_server, "LEAN-2", 6.5, lambda: len(values("LEAN-2")) >= 3, "readings stored")
        assert conditions("LEAN-2") == []
        refused = server.cli("device", "calibrate", "LEAN-2", '{"trial_lean_deg": {"scale": 0}}', check=False)
        assert (refused.returncode, "scale of 0" in refused.stderr) == (1, True)
        assert httpx.put(f"{base}/devices/LEAN-2", json={"kind": "tilt"}, headers=engineer).status_code == 200
        await until(live_server, "LEAN-2", 6.5, lambda: conditions("LEAN-2") == ["active"], "the alert it hid")
    finally:
        httpx.delete(f"{base}/rules/trial.lean", params={"version": 1}, headers=engineer)
