"""``gridpulse device``: credentials of devices and gateways in the broker and the registry."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from db.devices import register_devices, set_disabled
from db.pool import Connection, connect
from domain.errors import GridpulseError, NotFound
from server import accounts
from server.connect import database_url
from server.embedded.stack import running_urls
from server.settings import load_settings
from server.tables import print_table

Result = TypeVar("Result")

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
EFFECTIVE_WITHIN_S = 8.0

app = typer.Typer(help="Device and gateway credentials.", no_args_is_help=True)
DeviceId = Annotated[str, typer.Argument(help="1-64 of A-Za-z0-9._-")]

SELECT = """
SELECT coalesce(d.id, a.username), coalesce(d.kind, CASE WHEN a.gateway THEN 'gateway' END), d.town, d.online,
       d.last_seen, a.username IS NOT NULL AND NOT a.disabled, coalesce(d.disabled, a.disabled), a.children
FROM device d FULL JOIN broker_account a ON a.username = d.id
WHERE d.run IS NULL AND coalesce(d.id, a.username) > %s
ORDER BY 1 LIMIT %s
"""
PAGE = 1000


@app.command("add")
def add(
    device_id: DeviceId,
    gateway: Annotated[bool, typer.Option("--gateway", help="it publishes for other devices too")] = False,
    children: Annotated[
        list[str] | None, typer.Option(help="which devices a gateway speaks for: ids or globs, '*' = all")
    ] = None,
    kind: Annotated[str, typer.Option(help="vibration, temperature, camera, vehicle, …")] = "sensor",
) -> None:
    """Let a device publish; prints its password once.

    Example: gridpulse device add VB-9001 --kind vibration
    """
    check_name(device_id)
    if children and not gateway:
        raise typer.BadParameter("--children goes with --gateway")
    password = secrets.token_urlsafe(18)

    async def work(conn: Connection) -> None:
        await register_devices(conn, [(device_id, None, "gateway" if gateway else kind)])
        await set_disabled(conn, device_id, False)
        await accounts.write_account(conn, device_id, password, gateway=gateway, children=children or [])
        await effective(device_id, password)

    on_database(work)
    typer.echo(password)


@app.command("password")
def password(device_id: DeviceId) -> None:
    """Give a device another password; prints it once.

    Example: gridpulse device password VB-9001
    """
    new = secrets.token_urlsafe(18)

    async def work(conn: Connection) -> None:
        if not await accounts.set_password(conn, device_id, new):
            raise NotFound(f"{device_id} has no credentials; make them with `gridpulse device add {device_id}`")
        await effective(device_id, new)

    on_database(work)
    typer.echo(new)


@app.command("disable")
def disable(device_id: DeviceId) -> None:
    """Shut a device out: the broker refuses it and its messages go to quarantine.

    Example: gridpulse device disable VB-9001
    """

    async def work(conn: Connection) -> None:
        account = await accounts.set_disabled(conn, device_id, True)
        device = await set_disabled(conn, device_id, True)
        if not (account or device):
            raise NotFound(f"there is no device {device_id}; see `gridpulse device list`")

    on_database(work)


@app.command("list")
def list_devices(
    after: Annotated[str, typer.Option(help="start behind this id")] = "",
    limit: Annotated[int, typer.Option(min=1, max=PAGE, help="devices a page")] = 200,
) -> None:
    """Devices and gateways, a page at a time.

    Example: gridpulse device list --limit 50
    """

    async def work(conn: Connection) -> list[tuple[Any, ...]]:
        return await (await conn.execute(SELECT, [after, limit])).fetchall()

    rows = on_database(work)
    print_table(
        ("id", "kind", "town", "online", "last seen (UTC)", "credentials", "disabled", "children"),
        (
            (id_, kind, town, online, seen and f"{seen:%Y-%m-%d %H:%M:%SZ}", credentials, disabled,
             " ".join(children or ()))
            for id_, kind, town, online, seen, credentials, disabled, children in rows
        ),
    )  # fmt: skip
    if len(rows) == limit:
        typer.echo(f"more: gridpulse device list --after {rows[-1][0]}", err=True)


def check_name(device_id: str) -> None:
    """Raises: typer.BadParameter for an id the contract does not allow."""
    if not NAME.fullmatch(device_id):
        raise typer.BadParameter(f"{device_id!r}: an id is 1-64 of A-Za-z0-9._-")


async def effective(username: str, password: str) -> None:
    """Wait until the embedded broker lets the account in, so that the next command can use it.

    Raises: GridpulseError after EFFECTIVE_WITHIN_S.
    """
    urls = running_urls(load_settings().home)
    if urls is None or urls.mqtt_url is None:
        typer.echo("the broker is not ours: make the account there too", err=True)
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + EFFECTIVE_WITHIN_S
    while not await let_in(urls.mqtt_url, username, password):
        if loop.time() > end:
            raise GridpulseError("the broker does not know the account yet; is the server still running?")
        await asyncio.sleep(0.1)


async def let_in(mqtt_url: str, username: str, password: str) -> bool:
    """Whether the broker accepts these credentials now."""
    from ingest.session import Endpoint, may_connect

    endpoint = Endpoint.parse(mqtt_url)
    return await may_connect(endpoint, username, password)


def on_database(work: Callable[[Connection], Awaitable[Result]]) -> Result:
    """Run ``work`` on a connection of the running server's database."""

    async def run() -> Result:
        async with await connect(database_url(), name="gridpulse-cli") as conn:
            return await work(conn)

    return asyncio.run(run())
