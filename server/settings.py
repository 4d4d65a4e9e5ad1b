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
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from db.maintenance import Retention
from domain.addresses import AddressRule
from domain.errors import SettingsError
from ingest.media.hosts import AllowedHost

PREFIX = "GRIDPULSE_"
READINGS_DAYS, WAVEFORMS_DAYS, POSITIONS_DAYS = 90.0, 30.0, 30.0
MINUTES_DAYS = 400.0
FILE = "gridpulse.toml"
HOOKS = ("dahua", "gb28181", "hikvision")
HOOKS_KNOWN = frozenset({*HOOKS, "gat1400"})
SECRET_CHARACTERS_MIN = 16

# Read by the test run and by the embedded stack's programs, not by the server.
NOT_SETTINGS = frozenset({"GRIDPULSE_CACHE", "GRIDPULSE_CHAOS_SEED", "GRIDPULSE_REQUIRE_BROWSER"})


class Settings(BaseModel):
    """All settings. Frozen: what was read at the start holds to the end."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    home: Path = Field(Path(".gridpulse"), description="all state: embedded database, broker, secrets, logs")
    database_url: str = Field("", description="a TimescaleDB >= 2.14; empty = the embedded one")
    mqtt_url: str = Field("", description="mqtt:// or mqtts://user:password@host:port; empty = embedded")
    mqtt_host: str = Field("127.0.0.1", description="address the embedded broker listens on")
    mqtt_port: int = Field(1883, ge=1, le=65535, description="port of the embedded broker")
    mqtt_max_connections: int = Field(
        16_000, ge=1, le=1_000_000, description="connections the embedded broker takes; more are closed"
    )
    mqtt_tls_port: int = Field(0, ge=0, le=65535, description="port of a second listener, with TLS; 0 = none")
    mqtt_tls_host: str = Field("127.0.0.1", description="address of the listener with TLS")
    mqtt_tls_login: Literal["certificate", "password"] = Field(
        "certificate", description="how devices log in over TLS: by their certificate, or by password"
    )
    mqtt_count_denied: bool = Field(
        False, description="log every packet of the embedded broker, so that refused topics are counted; slow"
    )
    http_host: str = Field("127.0.0.1", description="address of the page and the API")
    http_port: int = Field(8080, ge=1, le=65535, description="port of the page and the API")
    timezone: str = Field("Asia/Shanghai", description="for device times without a zone, calendars, display")
    address_digits: str = Field(
        "",
        description="digits of base grid, building and room in an address id, behind the village's 12;"
        " empty = the database's, 2,5,6 in a new one",
    )
    auto_register: bool = Field(False, description="unknown devices: register them, or quarantine")
    runs_as_live: bool = Field(False, description="whether runs may act as live traffic (demo, test homes)")
    ingest_connections: int = Field(
        2, ge=1, le=8, description="database connections on which a large batch is written at the same time"
    )
    adapters: dict[str, str] = Field({}, description="other vendors' topics: filter=adapter, …")
    frigate_url: str = Field("", description="address of Frigate's HTTP interface, for its pictures; empty = none")
    hooks: tuple[str, ...] = Field(HOOKS, description="adapters open under POST /api/v1/hooks/{adapter}")
    hook_secrets: dict[str, str] = Field({}, repr=False, description="adapter=secret, …; 16 characters at least")
    media_hosts: tuple[str, ...] = Field(
        (), description="hosts pictures and clips are fetched from: host, host:port=network, …; empty = none"
    )
    media_bytes_max: int = Field(10 * 2**30, ge=2**20, description="bytes of pictures and clips kept")
    retention_days_media: float = Field(30.0, gt=0, description="days pictures and clips are kept")
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

    @field_validator("address_digits")
    @classmethod
    def known_rule(cls, text: str) -> str:
        """Only numbers of digits that an id can have."""
        if text:
            AddressRule.parse(text)
        return text

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

    @field_validator("adapters", "hook_secrets", mode="before")
    @classmethod
    def pairs(cls, value: Any, about: ValidationInfo) -> Any:
        """``a=b, c=d`` of the environment as a table: a topic filter may hold a =, and so may a secret."""
        if not isinstance(value, str):
            return value
        parts = [part for part in value.split(",") if part.strip()]
        found = [part.rpartition("=") if about.field_name == "adapters" else part.partition("=") for part in parts]
        if not all(sign for _, sign, _ in found):
            raise ValueError("a part of it has no =; it looks like name=value, name=value")
        return {name.strip(): target.strip() for name, _, target in found}

    @field_validator("hooks", "media_hosts", mode="before")
    @classmethod
    def words(cls, value: Any) -> Any:
        """``a, b`` of the environment as a list."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("adapters")
    @classmethod
    def known_adapters(cls, table: dict[str, str]) -> dict[str, str]:
        """Only filters and adapters that there are."""
        if table:
            from ingest.adapters.routes import parse_route

            for pattern, name in table.items():
                parse_route(pattern, name)
        return table

    @field_validator("hooks")
    @classmethod
    def known_hooks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Only adapters that may come over HTTP."""
        if unknown := sorted(set(names) - HOOKS_KNOWN):
            raise ValueError(f"{', '.join(unknown)}: there are {', '.join(sorted(HOOKS_KNOWN))}")
        return names

    @field_validator("hook_secrets")
    @classmethod
    def long_secrets(cls, secrets: dict[str, str]) -> dict[str, str]:
        """Secrets that nobody guesses, for hooks that there are."""
        for name, secret in secrets.items():
            if name not in HOOKS_KNOWN:
                raise ValueError(f"{name}: there are {', '.join(sorted(HOOKS_KNOWN))}")
            if len(secret) < SECRET_CHARACTERS_MIN:
                raise ValueError(f"the secret of {name} has fewer than {SECRET_CHARACTERS_MIN} characters")
        return secrets

    @field_validator("media_hosts")
    @classmethod
    def known_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Only hosts that can be read."""
        for host in hosts:
            AllowedHost.parse(host)
        return hosts

    @field_validator("frigate_url")
    @classmethod
    def web_url(cls, url: str) -> str:
        """Only a web address."""
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must look like http://frigate:5000")
        return url

    @property
    def address_rule(self) -> AddressRule | None:
        """The rule of address ids that is asked for, if one is."""
        return AddressRule.parse(self.address_digits) if self.address_digits else None

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
