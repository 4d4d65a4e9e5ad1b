"""Where the running services are, for commands that talk to them: settings first, else the home's own stack."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from domain.errors import GridpulseError
from server.embedded.home import EmbeddedUrls, running_urls, write_private
from server.settings import Settings, load_settings

START_FIRST = "start `gridpulse up` (or `make run`) in this folder first"


class NotRunning(GridpulseError):
    """The command needs a running server and there is none on this home."""


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """What a running server says of itself in ``home/run/server.json``."""

    pid: int
    http_url: str
    demo: bool
    runs_as_live: bool
    role: str


def record_path(home: Path) -> Path:
    """The file of a home's running server."""
    return home / "run" / "server.json"


@contextmanager
def recorded(home: Path, record: ServerRecord) -> Iterator[None]:
    """Say that this process serves the home, unless another does: a second page joins the first quietly."""
    if running_server(home) is not None:
        yield
        return
    record_path(home).parent.mkdir(parents=True, exist_ok=True)
    write_private(record_path(home), json.dumps(asdict(record)))
    try:
        yield
    finally:
        record_path(home).unlink(missing_ok=True)


def running_server(home: Path) -> ServerRecord | None:
    """The home's server when it runs; a record left by a killed one does not count."""
    try:
        record = ServerRecord(**json.loads(record_path(home).read_text(encoding="utf-8")))
        os.kill(record.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return record


def stack_urls(settings: Settings) -> EmbeddedUrls:
    """The addresses of the home's own services. Raises: NotRunning."""
    urls = running_urls(settings.home)
    if urls is None:
        raise NotRunning(f"nothing runs on {settings.home}: {START_FIRST}")
    return urls


def database_url(settings: Settings | None = None) -> str:
    """The database's address. Raises: NotRunning, SettingsError."""
    settings = settings or load_settings()
    if settings.database_url:
        return settings.database_url
    url = stack_urls(settings).database_url
    if url is None:
        raise NotRunning(f"the server on {settings.home} uses another database: set GRIDPULSE_DATABASE_URL")
    return url


def server_mqtt_url(settings: Settings | None = None) -> str:
    """The broker's address with the server's account. Raises: NotRunning, SettingsError."""
    settings = settings or load_settings()
    if settings.mqtt_url:
        return settings.mqtt_url
    url = stack_urls(settings).mqtt_url
    if url is None:
        raise NotRunning(f"the server on {settings.home} uses another broker: set GRIDPULSE_MQTT_URL")
    return url


def simulator_mqtt_url(settings: Settings | None = None) -> str:
    """The broker's address with the account that may publish runs. Raises: NotRunning, SettingsError."""
    settings = settings or load_settings()
    if settings.mqtt_url:
        return settings.mqtt_url
    return stack_urls(settings).simulator_mqtt_url or server_mqtt_url(settings)


def runs_as_live(settings: Settings | None = None) -> bool:
    """Whether runs may act as live traffic: what the running server says, else the setting."""
    settings = settings or load_settings()
    record = running_server(settings.home)
    return record.runs_as_live if record else settings.runs_as_live
