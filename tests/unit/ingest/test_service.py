from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ingest.messages import Message, Rules, decode_block
from ingest.registry import Admitted
from ingest.service import lay_out_or_refuse

NOW_S = 1_795_413_600
RULES = Rules(ZoneInfo("Asia/Shanghai"), auto_register=True, runs_as_live=True)


def position(device: str, lon: float) -> Message:
    body = {"t": NOW_S, "lon": lon, "lat": 23.0, "datum": "gcj02"}
    return Message(f"vehicles/{device}/position", json.dumps(body).encode(), NOW_S * 10**6, None, False, 1, 1)


def test_a_message_that_breaks_its_batch_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(lon: float, lat: float, datum: str) -> tuple[float, float]:
        return 1 / (lon - 113), lat

    monkeypatch.setattr("ingest.batching.to_wgs84", breaks)
    checked = decode_block([position("A", 113.5), position("B", 113.0), position("A", 114.0)], RULES)
    assert not checked.refused
    device = np.array([1, 2, 1], dtype=np.int32)
    rows, broken = lay_out_or_refuse(Admitted(checked.decoded, [], checked.readings, device, {}, {}))
    assert [p.lon for _, p in rows.positions] == [2.0, 1.0]
    assert [(b.device_id, b.reason) for b in broken] == [("B", "decoder_error")]
