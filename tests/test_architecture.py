"""The house as drawn in ARCHITECTURE.md, checked."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("domain", "ingest", "alerting", "geo", "api", "simulators", "db", "server")

# Who may touch which part of the world; everything else is decided without it.
ALLOWED = {
    "psycopg": ("db/", "*/store.py", "api/reader.py", "server/"),
    "psycopg_pool": ("db/", "server/"),
    "mqtt5": ("ingest/session.py", "ingest/connection.py", "ingest/endpoint.py", "simulators/"),
    "aiomqtt": ("simulators/",),
    "paho": ("simulators/",),
    "fastapi": ("api/", "server/wiring.py"),
    "starlette": ("api/",),
    "uvicorn": ("api/", "server/run.py"),
}
PURE = ("domain", "alerting/detectors", "alerting/lifecycle.py", "alerting/dispatch", "ingest/codec.py",
        "ingest/adapters", "ingest/media/hosts.py",
        "ingest/batching.py", "ingest/timeliness.py", "ingest/ledger.py", "ingest/topics.py", "ingest/times.py",
        "geo/datum.py", "geo/locate.py", "geo/codes.py", "geo/polygons.py", "geo/grids.py",
        "geo/tracks.py", "alerting/trips/permits.py", "alerting/trips/trip.py", "alerting/trips/render.py",
        "alerting/trips/reconcile.py",
        "geo/zones.py", "geo/borders.py", "geo/cameras.py", "geo/place_imports.py",
        "geo/validate.py", "geo/datum_proof.py", "geo/beidou.py", "geo/projected.py", "geo/generate.py",
        "geo/parse.py", "geo/conflicts.py", "geo/matching.py", "geo/search.py",
        "alerting/neighbours.py", "alerting/replacing.py", "alerting/applies.py", "alerting/holders.py",
        "alerting/retiring.py", "alerting/rules.py", "alerting/rule_file.py", "alerting/units.py",
        "alerting/checkpoints.py", "alerting/association.py", "alerting/association_rules.py",
        "alerting/association_triggers.py", "alerting/association_events.py", "alerting/association_found.py",
        "alerting/association_clock.py", "alerting/association_picks.py", "alerting/incidents/desk.py",
        "alerting/incidents/words.py", "api/incidents.py")  # fmt: skip
IMPURE = {"time", "asyncio", "socket", "logging", "random", "os", "psycopg"}


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def is_allowed(path: str, patterns: tuple[str, ...]) -> bool:
    return any(
        path.startswith(pattern) or (pattern.startswith("*/") and path.endswith(pattern[1:]))
        for pattern in patterns
    )


@pytest.mark.parametrize("library", ALLOWED)
def test_only_the_edge_touches_the_world(library: str) -> None:
    strangers = [
        name
        for path in sources()
        if library in tops(path) and not is_allowed(name := path.relative_to(ROOT).as_posix(), ALLOWED[library])
    ]
    assert not strangers, f"{library} belongs to {ALLOWED[library]}"


def test_pure_modules_have_no_clock_and_no_io() -> None:
    impure = {
        path.relative_to(ROOT).as_posix(): found
        for part in PURE
        for path in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))
        if (found := tops(path) & IMPURE)
    }
    assert not impure


def test_layers_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_nothing_connects_at_import() -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('connected at import')\n"
        "socket.socket.connect = refuse\n"
        "import server.cli, server.run, server.wiring\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
