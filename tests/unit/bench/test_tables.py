"""Benchmarks of detectors run to their end, small: their figures are not looked at."""

from __future__ import annotations

import importlib
import sys

import pytest

from alerting.backtest import SCALARS
from bench import __main__ as every
from bench import detectors, memory, planted_faults


@pytest.mark.parametrize("name", every.NAMES)
def test_each_benchmark_can_be_started(name: str) -> None:
    assert callable(importlib.import_module(f"bench.{name}").main)


def test_the_detectors_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(detectors, "DEVICES", 100)
    monkeypatch.setattr(detectors, "READY", 1)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["detectors", "--seconds", "0.001"])
    detectors.main()
    table = capsys.readouterr().out
    assert "ALL default rules, device faults too, calm" in table
    for name in SCALARS:
        assert f"{name}, learnt" in table
    assert table.rstrip().splitlines()[-1].startswith("threshold, level, change, season and drift")


def test_the_memory_of_a_small_city(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["memory", "--devices", "10000", "--accelerometers", "100"])
    memory.main()
    assert "memory " in capsys.readouterr().out


def test_the_planted_faults_of_few_sensors(capsys: pytest.CaptureFixture[str]) -> None:
    planted_faults.scalar_table(["temperature"], 2, 26)
    assert "temperature" in capsys.readouterr().out
