"""``gridpulse device``: credentials of devices and gateways in the broker and the registry."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from api.accounts import audit
from db import credentials
from db.address_rule import settle_rule
from db.devices import register_devices, set_calibration, set_disabled
from db.pool import Connection, connect
from domain.calibration import checked_calibration
from domain.errors import BrokerUnavailable, GridpulseError, NotFound
from server.connect import database_url
from server.embedded.broker_accounts import hash_password, is_bridge_filter
from server.embedded.home import running_urls
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
SHOW = """
SELECT d.id, d.kind, d.name, d.lon, d.lat, d.datum_given, d.address_id, d.building, d.floor, d.town, d.village,
       d.grid, d.building_class, d.mount, d.period_s, d.calibration, d.disabled, d.online, d.last_seen, d.firmware,
       CASE WHEN a.username IS NULL THEN 'none' WHEN a.disabled THEN 'closed'
            WHEN a.gateway THEN 'gateway' ELSE 'device' END AS account,
       (SELECT count(*) FROM device_certificate c
        WHERE c.device = d.id AND c.revoked_at IS NULL AND c.not_after > now()) AS certificates
FROM device d LEFT JOIN broker_account a ON a.username = d.id
WHERE d.id = %(id)s AND d.run IS NULL
"""
PAGE = 1000
ACTOR = "cli"


@app.command("add")
def add(
    device_id: DeviceId,
    gateway: Annotated[bool, typer.Option("--gateway", help="it publishes for other devices too")] = False,
    children: Annotated[
        list[str] | None, typer.Option(help="which devices a gateway speaks for: ids or globs, '*' = all")
    ] = None,
    topics: Annotated[
        list[str] | None, typer.Option(help="topic filters of another vendor that are this bridge's own")
    ] = None,
    kind: Annotated[str, typer.Option(help="vibration, temperature, camera, vehicle, …")] = "sensor",
) -> None:
    """Let a device publish; prints its password once.

    Example: gridpulse device add VB-9001 --kind vibration
    """
    check_name(device_id)
    if children and not gateway:
        raise typer.BadParameter("--children goes with --gateway")
    check_topics(topics or [], gateway)
    password = secrets.token_urlsafe(18)

    async def work(conn: Connection) -> None:
        credentials.refuse_reserved(device_id)
        await register_devices(conn, [(device_id, None, "gateway" if gateway else kind)])
        await set_disabled(conn, device_id, False)
        await credentials.let_in(
            conn, device_id, hash_password(password), gateway=gateway, children=children or [], topics=topics or []
        )
        await audit(
            conn, ACTOR, "device.credentials", device_id,
            {"gateway": gateway, "children": children or [], "topics": topics or []},
        )  # fmt: skip
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
        if not await credentials.set_password(conn, device_id, hash_password(new)):
            raise NotFound(f"{device_id} has no credentials; make them with `gridpulse device add {device_id}`")
        await audit(conn, ACTOR, "device.password", device_id, {})
        await effective(device_id, new)

    on_database(work)
    typer.echo(new)


@app.command("disable")
def disable(device_id: DeviceId) -> None:
    """Shut a device out: the broker refuses it and its messages go to quarantine.

    Example: gridpulse device disable VB-9001
    """

    async def work(conn: Connection) -> None:
        account = await credentials.set_disabled(conn, device_id, True)
        device = await set_disabled(conn, device_id, True)
        if not (account or device):
            raise NotFound(f"there is no device {device_id}; see `gridpulse device list`")
        await audit(conn, ACTOR, "device.disable", device_id, {})

    on_database(work)


@app.command("revoke")
def revoke(device_id: DeviceId) -> None:
    """Take a device's password and certificates away at once: an open connection ends too.

    It stays registered; `gridpulse device add` or `gridpulse ca device` lets it in again with new ones.

    Example: gridpulse device revoke VB-9001
    """

    async def work(conn: Connection) -> int:
        had, certificates = await credentials.revoke(conn, device_id)
        if not (had or certificates):
            raise NotFound(f"{device_id} has no credentials; see `gridpulse device list`")
        await audit(conn, ACTOR, "device.revoke", device_id, {"password": had, "certificates": certificates})
        return certificates

    typer.echo(f"{device_id}: account closed, {on_database(work)} certificates revoked")


@app.command("calibrate")
def calibrate(
    device_id: DeviceId,
    calibration: Annotated[str, typer.Argument(metavar="JSON", help="by metric or axis; {} = none")],
) -> None:
    """Say what makes a device's raw values the quantities: raw * scale + offset. In force within seconds.

    What was received stays as it was sent; what is looked at and read back from now on is calibrated.

    Example: gridpulse device calibrate TL-9001 '{"tilt_x_deg": {"scale": 1.02, "offset": -0.1}}'
    """
    try:
        checked = checked_calibration(json.loads(calibration))
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"this is not JSON: {error}") from error

    async def work(conn: Connection) -> None:
        if not await set_calibration(conn, device_id, checked):
            raise NotFound(f"there is no device {device_id}; see `gridpulse device list`")
        await audit(conn, ACTOR, "device.calibrate", device_id, {"calibration": checked})

    on_database(work)
    typer.echo(json.dumps(checked))


@app.command("show")
def show(
    device_id: DeviceId, as_json: Annotated[bool, typer.Option("--json", help="as one JSON object")] = False
) -> None:
    """All that the registry knows of a device, with its credentials.

    Example: gridpulse device show VB-9001
    """

    async def work(conn: Connection) -> dict[str, Any]:
        cursor = await conn.execute(SHOW, {"id": device_id})
        row = await cursor.fetchone()
        if row is None:
            raise NotFound(f"there is no device {device_id}; see `gridpulse device list`")
        return dict(zip((column.name for column in cursor.description or ()), row, strict=True))

    shown = on_database(work)
    if as_json:
        typer.echo(json.dumps(shown, default=str, ensure_ascii=False))
        return
    print_table(("field", "value"), ((name, shown_value(value)) for name, value in shown.items()))


def shown_value(value: object) -> str:
    """A field for people: nothing for what is not known."""
    if value is None or value in ("", {}):
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


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


def check_topics(topics: list[str], gateway: bool) -> None:
    """Raises: typer.BadParameter for filters that cannot be a bridge's own."""
    if topics and not gateway:
        raise typer.BadParameter("--topics goes with --gateway")
    for pattern in topics:
        if not is_bridge_filter(pattern):
            raise typer.BadParameter(f"{pattern!r}: a bridge's topics begin with a name that is not Gridpulse's")


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
    """Whether the broker accepts these credentials now; one that is busy may do so later."""
    from ingest.endpoint import Endpoint, may_connect

    try:
        return await may_connect(Endpoint.parse(mqtt_url), username, password)
    except BrokerUnavailable:
        return False


def on_database(work: Callable[[Connection], Awaitable[Result]]) -> Result:
    """Run ``work`` on a connection of the running server's database."""

    async def run() -> Result:
        async with await connect(database_url(), name="gridpulse-cli") as conn:
            await settle_rule(conn, load_settings().address_rule)
            return await work(conn)

    return asyncio.run(run())
