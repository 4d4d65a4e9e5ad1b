from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from server import broker_log
from server.broker_log import Follower, refusal

AT = "2026-11-25T15:16:43+0000: "


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Client BE9EF824 disconnected, not authorised.", "not_authorised"),
        ("OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed", "bad_certificate"),
        ("Client connection from 127.0.0.1 failed: error:0A000086:SSL routines::certificate verify failed.",
         "bad_certificate"),
        ("OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate", "no_certificate"),
        ("OpenSSL Error[0]: error:0A000126:SSL routines::unexpected eof while reading", "tls"),
        ("Client D2 disconnected due to oversize packet.", "too_large"),
        ("Client connection from 127.0.0.1 denied: max_connections exceeded.", "too_many_connections"),
        ("Unable to accept new connection, system socket count has been exceeded. Try", "too_many_connections"),
        ("Denied PUBLISH from D1 (d0, q1, r0, m1, 'sensors/D2/status', ... (2 bytes))", "denied_topic"),
        ("Client D1 disconnected due to protocol error.", "protocol"),
        ("New client connected from 127.0.0.1:40761 as D2 (p5, c1, k60, u'D2').", None),
        ("Client D1 disconnected.", None),
        ("Client <unknown> closed its connection.", None),
    ],
)  # fmt: skip
def test_what_mosquitto_writes(line: str, reason: str | None) -> None:
    assert refusal(AT + line) == reason


def test_a_growing_log_is_counted_once_and_through_its_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, counted, skipped = tmp_path / "log", Counter[str](), list[int]()
    line = AT + "Client D2 disconnected due to oversize packet.\n"
    log.write_text(line)
    follower = Follower(log, lambda reason: counted.update([reason]), skipped.append)
    follower.look()
    assert not counted, "what an earlier start wrote is not ours"
    with log.open("a") as file:
        file.write(line + line[:30])
        file.flush()
        follower.look()
        assert counted["too_large"] == 1
        file.write(line[30:])
        file.flush()
        follower.look()
        follower.look()
    assert counted["too_large"] == 2
    log.write_text(line)
    follower.look()
    assert counted["too_large"] == 3, "cut to nothing and begun anew"
    monkeypatch.setattr(broker_log, "LOOK_BYTES_MAX", 2 * len(line))
    with log.open("a") as file:
        file.write(line * 5)
    follower.look()
    assert (counted["too_large"], skipped) == (5, [3 * len(line)])
    log.unlink()
    follower.look()
