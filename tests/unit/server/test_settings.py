from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import SettingsError
from server.settings import load_settings, with_demo_defaults


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert (settings.mqtt_port, settings.http_host, settings.http_port) == (1883, "127.0.0.1", 8080)
    assert (settings.timezone, settings.auto_register, settings.runs_as_live) == ("Asia/Shanghai", False, False)
    assert (settings.retention.readings_days, settings.retention.waveforms_days) == (90, 30)


def test_the_demo_registers_and_lets_runs_be_live_unless_told_otherwise(tmp_path: Path) -> None:
    assert with_demo_defaults({}, tmp_path).runs_as_live is True
    assert with_demo_defaults({"GRIDPULSE_RUNS_AS_LIVE": "false"}, tmp_path).runs_as_live is False


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "gridpulse.toml").write_text('http_port = 9000\nmqtt_port = 1999\nGRIDPULSE_TIMEZONE = "UTC"\n')
    settings = load_settings({"GRIDPULSE_HTTP_PORT": "9001"}, tmp_path)
    assert (settings.http_port, settings.mqtt_port, settings.timezone) == (9001, 1999, "UTC")


def test_one_number_of_days_serves_all_three_tables(tmp_path: Path) -> None:
    retention = load_settings(
        {"GRIDPULSE_RETENTION_DAYS": "7", "GRIDPULSE_RETENTION_DAYS_WAVEFORMS": "2"}, tmp_path
    ).retention
    assert (retention.readings_days, retention.waveforms_days, retention.positions_days) == (7, 2, 7)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GRIDPULSE_HOEM", "x", "GRIDPULSE_HOEM is not a setting; did you mean GRIDPULSE_HOME"),
        ("GRIDPULSE_HTTP_PORT", "eighty", "GRIDPULSE_HTTP_PORT: .*integer"),
        ("GRIDPULSE_HTTP_PORT", "70000", "GRIDPULSE_HTTP_PORT: .*65535"),
        ("GRIDPULSE_TIMEZONE", "Asia/Dongguan", "there is no time zone 'Asia/Dongguan'"),
        ("GRIDPULSE_DATABASE_URL", "mysql://x", "must look like postgresql://"),
        ("GRIDPULSE_MQTT_URL", "tcp://x", "must look like mqtt://"),
        ("GRIDPULSE_RETENTION_DAYS_READINGS", "-1", "greater than 0"),
        ("GRIDPULSE_AUTO_REGISTER", "perhaps", "GRIDPULSE_AUTO_REGISTER: .*bool"),
    ],
)
def test_a_wrong_setting_is_named_with_its_reason(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings({name: value}, tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gridpulse.toml").write_text("http_port = \n")
    with pytest.raises(SettingsError, match=r"gridpulse\.toml"):
        load_settings({}, tmp_path)
