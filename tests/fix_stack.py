"""The real database and broker for tests: one private stack a test run.

``GRIDPULSE_TEST_DATABASE_URL`` and ``GRIDPULSE_TEST_MQTT_URL`` name others to use
instead. Each test that asks for ``database_url`` gets a database of its own,
copied from a migrated template.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import aiomqtt
import psycopg
import pytest

from db.migrate import migrate
from db.pool import Pool, open_pool
from ingest.endpoint import Endpoint
from server.embedded.stack import EmbeddedStack, embedded_stack

TEMPLATE = "gridpulse_template"
END = "test/end"
TERMINATE = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
_numbers = itertools.count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Broker:
    """The broker's addresses: of the server's account and of the simulators'."""

    url: str
    simulator_url: str
    stack: EmbeddedStack


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[EmbeddedStack]:
    home = Path(tempfile.mkdtemp(prefix="gridpulse-test-"))
    try:
        async with embedded_stack(
            home, database=True, broker=True, mqtt_host="127.0.0.1", mqtt_port=free_port()
        ) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def admin_url(stack: EmbeddedStack) -> str:
    url = os.environ.get("GRIDPULSE_TEST_DATABASE_URL") or stack.urls.database_url
    assert url is not None
    return url


@pytest.fixture(scope="session")
def template_database(admin_url: str) -> str:
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}".encode())
        conn.execute(f"CREATE DATABASE {TEMPLATE}".encode())
    migrate(on_database(admin_url, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(admin_url: str, template_database: str) -> Iterator[str]:
    name = f"gridpulse_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(admin_url, autocommit=True) as conn:
        # TimescaleDB's scheduler may look into the template at any time.
        conn.execute(f"ALTER DATABASE {template_database} WITH ALLOW_CONNECTIONS false".encode())
        conn.execute(TERMINATE, [template_database])
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY file_copy".encode())
        conn.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())
    yield on_database(admin_url, name)
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(database_url, name="test") as opened:
        yield opened


@pytest.fixture(scope="module")
async def clean_broker(stack: EmbeddedStack) -> None:
    """Take away what another module's devices left: retained states come to every new subscriber."""
    endpoint = Endpoint.parse(stack.urls.mqtt_url or "")
    async with aiomqtt.Client(
        endpoint.host, endpoint.port, username=endpoint.username, password=endpoint.password
    ) as client:
        await client.subscribe("#")
        await client.publish(END)
        async for message in client.messages:
            if message.topic.matches(END):
                return
            if message.retain:
                await client.publish(message.topic.value, b"", retain=True)


@pytest.fixture
def broker(stack: EmbeddedStack, clean_broker: None) -> Broker:
    urls = stack.urls
    assert urls.mqtt_url is not None
    assert urls.simulator_mqtt_url is not None
    return Broker(urls.mqtt_url, urls.simulator_mqtt_url, stack)


def on_database(url: str, name: str) -> str:
    """The same server, another database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path="/" + quote(name)))
