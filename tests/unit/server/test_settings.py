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
        ("GRIDPULSE_ADDRESS_DIGITS", "3,5,6", "GRIDPULSE_ADDRESS_DIGITS: .*26 digits; 16 to 25"),
        ("GRIDPULSE_ADDRESS_DIGITS", "25", "write the digits of base grid, building and room"),
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


def test_adapters_hooks_and_hosts_are_lists_and_tables_in_both_places(tmp_path: Path) -> None:
    (tmp_path / "gridpulse.toml").write_text(
        'media_hosts = ["cams.example.com"]\n[adapters]\n"frigate/#" = "frigate"\n"a/tele/#" = "tasmota@a."\n'
    )
    from_file = load_settings({}, tmp_path)
    given = {
        "GRIDPULSE_ADAPTERS": "frigate/#=frigate, a/tele/#=tasmota@a.",
        "GRIDPULSE_MEDIA_HOSTS": "cams.example.com, frigate.lan:5000=10.0.0.0/8",
        "GRIDPULSE_HOOKS": "gat1400,dahua",
        "GRIDPULSE_HOOK_SECRETS": "dahua=base64-ends-so==",
    }
    from_environment = load_settings(given, tmp_path)
    assert from_file.adapters == from_environment.adapters == {"frigate/#": "frigate", "a/tele/#": "tasmota@a."}
    assert from_environment.media_hosts == ("cams.example.com", "frigate.lan:5000=10.0.0.0/8")
    assert from_environment.hooks == ("gat1400", "dahua")
    assert from_environment.hook_secrets == {"dahua": "base64-ends-so=="}
    assert "base64" not in repr(from_environment)
    assert "gat1400" not in load_settings({}, tmp_path).hooks


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GRIDPULSE_ADAPTERS", "frigate/#=fridge", "there is no adapter 'fridge'"),
        ("GRIDPULSE_ADAPTERS", "sensors/#=tasmota", "Gridpulse's own"),
        ("GRIDPULSE_ADAPTERS", "frigate/#", "GRIDPULSE_ADAPTERS: .*no ="),
        ("GRIDPULSE_HOOKS", "hikvision, nobody", "nobody: there are dahua"),
        ("GRIDPULSE_HOOK_SECRETS", "dahua=short", "fewer than 16"),
        ("GRIDPULSE_MEDIA_HOSTS", "http://x/", "a host looks like"),
        ("GRIDPULSE_FRIGATE_URL", "frigate:5000", "must look like http://"),
    ],
)
def test_a_wrong_adapter_hook_or_host_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings({name: value}, tmp_path)
    assert "short" not in str(caught.value)
