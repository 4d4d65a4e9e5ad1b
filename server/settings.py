"""Settings: read once, from ``GRIDPULSE_…`` and ``gridpulse.toml``; unknown or wrong ones stop the start.

The environment wins over the file. Names, defaults and meanings are section 3 of
the contract; ``docs/reference/settings.md`` is checked against this file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from db.maintenance import Retention
from domain.errors import SettingsError

PREFIX = "GRIDPULSE_"
READINGS_DAYS, WAVEFORMS_DAYS, POSITIONS_DAYS = 90.0, 30.0, 30.0
MINUTES_DAYS = 400.0
FILE = "gridpulse.toml"

# Read by the test run and by the embedded stack's programs, not by the server.
NOT_SETTINGS = frozenset({"GRIDPULSE_CACHE", "GRIDPULSE_REQUIRE_BROWSER"})


class Settings(BaseModel):
    """All settings. Frozen: what was read at the start holds to the end."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    home: Path = Field(Path(".gridpulse"), description="all state: embedded database, broker, secrets, logs")
    database_url: str = Field("", description="a TimescaleDB >= 2.14; empty = the embedded one")
    mqtt_url: str = Field("", description="mqtt:// or mqtts://user:password@host:port; empty = embedded")
    mqtt_host: str = Field("127.0.0.1", description="address the embedded broker listens on")
    mqtt_port: int = Field(1883, ge=1, le=65535, description="port of the embedded broker")
    http_host: str = Field("127.0.0.1", description="address of the page and the API")
    http_port: int = Field(8080, ge=1, le=65535, description="port of the page and the API")
    timezone: str = Field("Asia/Shanghai", description="for device times without a zone, calendars, display")
    auto_register: bool = Field(False, description="unknown devices: register them, or quarantine")
    runs_as_live: bool = Field(False, description="whether runs may act as live traffic (demo, test homes)")
    retention_days: float | None = Field(None, gt=0, description="days for all three tables at once")
    retention_days_readings: float | None = Field(None, gt=0, description="days readings are kept; 90")
    retention_days_waveforms: float | None = Field(None, gt=0, description="days waveforms are kept; 30")
    retention_days_positions: float | None = Field(None, gt=0, description="days positions are kept; 30")
    retention_days_minutes: float | None = Field(
        None, gt=0, description="days rollups by minute are kept, never shorter than readings; 400"
    )
    retention_days_hours: float | None = Field(
        None, gt=0, description="days rollups by hour are kept, never shorter than readings; empty = for good"
    )

    @field_validator("home")
    @classmethod
    def absolute(cls, home: Path) -> Path:
        """The same folder whatever the working directory becomes."""
        return home.expanduser().absolute()

    @field_validator("timezone")
    @classmethod
    def known_zone(cls, name: str) -> str:
        """Only a zone that exists."""
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"there is no time zone {name!r}; an example is Asia/Shanghai") from error
        return name

    @field_validator("database_url")
    @classmethod
    def postgres_url(cls, url: str) -> str:
        """Only a PostgreSQL address."""
        if url and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must look like postgresql://user:password@host:5432/gridpulse")
        return url

    @field_validator("mqtt_url")
    @classmethod
    def broker_url(cls, url: str) -> str:
        """Only an MQTT address."""
        if url and not url.startswith(("mqtt://", "mqtts://")):
            raise ValueError("must look like mqtt://user:password@host:1883")
        return url

    @property
    def retention(self) -> Retention:
        """The retention times together."""
        all_three = self.retention_days
        return Retention(
            self.retention_days_readings or all_three or READINGS_DAYS,
            self.retention_days_waveforms or all_three or WAVEFORMS_DAYS,
            self.retention_days_positions or all_three or POSITIONS_DAYS,
            self.retention_days_minutes or MINUTES_DAYS,
            self.retention_days_hours,
        )


def load_settings(
    environment: Mapping[str, str] | None = None, folder: Path | None = None, **overrides: Any
) -> Settings:
    """Settings from ``overrides``, then the environment, then ``gridpulse.toml`` in ``folder``.

    Overrides are what a command knows better (the demo's defaults do not go here:
    see ``with_demo_defaults``).
    Raises: SettingsError naming the setting and the reason.
    """
    values = given(environment if environment is not None else os.environ, folder or Path.cwd())
    return build({**values, **overrides})


def with_demo_defaults(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """The same with the demo's defaults: unknown devices are registered, runs may act as live traffic."""
    values = given(environment if environment is not None else os.environ, folder or Path.cwd())
    return build({"auto_register": True, "runs_as_live": True, **values})


def given(environment: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """What the user said, by field name. Raises: SettingsError."""
    return {**from_file(folder / FILE), **from_environment(environment)}


def build(values: Mapping[str, Any]) -> Settings:
    """Check values. Raises: SettingsError with every wrong one."""
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = (f"{PREFIX}{e['loc'][0]!s}".upper() + f": {e['msg']}" for e in error.errors())
        raise SettingsError("; ".join(problems)) from error


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The ``GRIDPULSE_…`` variables by field name. Raises: SettingsError for an unknown one."""
    values: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            values[known(name.removeprefix(PREFIX).lower(), name)] = value
    return values


def from_file(path: Path) -> dict[str, Any]:
    """The file's keys; none where there is no file. Raises: SettingsError."""
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    prefix = PREFIX.lower()
    return {known(name.lower().removeprefix(prefix), f"{path}: {name}"): v for name, v in values.items()}


def known(field: str, shown: str) -> str:
    """``field`` when it is one of ours. Raises: SettingsError with the nearest name."""
    if field in Settings.model_fields:
        return field
    near = difflib.get_close_matches(field, Settings.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else "; see docs/reference/settings.md"
    raise SettingsError(f"{shown} is not a setting{hint}")
