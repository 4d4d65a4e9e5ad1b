"""``gridpulse up`` and ``gridpulse migrate``."""

from __future__ import annotations

import asyncio
import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from db.address_rule import settle_rule
from db.migrate import migrate as run_migrations
from db.pool import connect
from server.arenas import share_heaps
from server.connect import database_url
from server.progress import Startup
from server.settings import Settings, load_settings, with_demo_defaults

DEMO_CITY = "dongguan"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Role(StrEnum):
    """What this process does."""

    ALL = "all"
    INGEST = "ingest"
    API = "api"


def up(
    demo: Annotated[str, typer.Option("--demo", metavar="NAME", help="the demo city to serve")] = DEMO_CITY,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="an empty city, no demo traffic")] = False,
    role: Annotated[Role, typer.Option(help="all in one process, or one side of it")] = Role.ALL,
) -> None:
    """Run everything in the foreground; Ctrl-C stops what it started.

    Example: gridpulse up --no-demo
    """
    if demo != DEMO_CITY:
        raise typer.BadParameter(f"there is one demo city: {DEMO_CITY}", param_hint="--demo")
    settings = load_settings() if no_demo else with_demo_defaults()
    log_to(settings)
    share_heaps()
    from server.run import run_server  # its imports take longer than `--help` should

    asyncio.run(run_server(settings, role=role.value, demo=not no_demo, startup=Startup()))


def migrate() -> None:
    """Bring the database's schema up to date; doing it again does nothing.

    Example: GRIDPULSE_DATABASE_URL=postgresql://… gridpulse migrate
    """
    settings = load_settings()
    url = database_url(settings)
    ran = run_migrations(url)
    asyncio.run(_settle_addresses(url, settings))
    typer.echo("\n".join(ran) if ran else "nothing to do")


async def _settle_addresses(url: str, settings: Settings) -> None:
    async with await connect(url, name="gridpulse migrate") as conn:
        await settle_rule(conn, settings.address_rule, may_change=True)


def log_to(settings: Settings) -> None:
    """Everything to ``home/logs/gridpulse.log``, warnings to standard error too."""
    folder: Path = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(folder / "gridpulse.log", encoding="utf-8")
    to_file.setLevel(logging.INFO)
    to_terminal = logging.StreamHandler()
    to_terminal.setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=[to_file, to_terminal], force=True)
