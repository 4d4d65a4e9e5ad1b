"""``gridpulse ca``: a small authority for the embedded broker's certificate and for devices'.

Made for tests and for houses without an authority of their own; its key lies in the home,
readable by its owner only.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from api.accounts import audit
from db import credentials
from db.devices import register_devices, set_disabled
from db.pool import Connection
from domain.errors import NotFound
from server.commands.devices import ACTOR, DeviceId, check_name, effective, on_database
from server.embedded.broker_accounts import hash_password
from server.embedded.home import Home, write_private
from server.embedded.tls import TlsFolder
from server.settings import load_settings
from server.tables import print_table

app = typer.Typer(help="Certificates of the broker and of devices.", no_args_is_help=True)
Hosts = Annotated[
    list[str], typer.Option("--host", help="a name or address by which devices reach the broker; may be repeated")
]


def tls_folder() -> TlsFolder:
    """The home's."""
    return TlsFolder(Home.at(load_settings().home).tls)


@app.command("init")
def init(host: Hosts) -> None:
    """Make an authority and the broker's certificate in the home's tls folder.

    Example: gridpulse ca init --host broker.example.net --host 192.0.2.7
    """
    folder = tls_folder()
    made = folder.make(host, datetime.now(UTC))
    typer.echo(
        f"{folder.folder}: authority until {made.not_after:%Y-%m-%d}, broker's certificate for {', '.join(host)}\n"
        "set GRIDPULSE_MQTT_TLS_PORT (8883 is usual) and start the server"
    )


@app.command("server")
def server(host: Hosts) -> None:
    """Make the broker's certificate anew; the server takes it at its next start.

    Example: gridpulse ca server --host broker.example.net
    """
    made = tls_folder().renew_server(host, datetime.now(UTC))
    typer.echo(f"broker's certificate for {', '.join(host)} until {made.not_after:%Y-%m-%d}")


@app.command("device")
def device(
    device_id: DeviceId,
    out: Annotated[Path, typer.Option(help="folder for ID.crt, ID.key and ca.crt")] = Path("."),
    kind: Annotated[str, typer.Option(help="of a device that is not registered yet")] = "sensor",
) -> None:
    """Make a device's certificate and let it in; the server must run.

    Example: gridpulse ca device VB-9001 --out certificates
    """
    check_name(device_id)
    folder, now = tls_folder(), datetime.now(UTC)
    made, nobodys = folder.issue(device_id, now), secrets.token_urlsafe(24)

    async def work(conn: Connection) -> None:
        async with conn.transaction():
            new = await credentials.let_in_by_certificate(
                conn, device_id, hash_password(nobodys), made.serial, now, made.not_after
            )
            await register_devices(conn, [(device_id, None, kind)])
            await set_disabled(conn, device_id, False)
            await audit(conn, ACTOR, "device.certificate", device_id, {"serial": made.serial})
        if new:
            await effective(device_id, nobodys)

    # Files first: a certificate that is let in and that nobody has would be of no use.
    out.mkdir(parents=True, exist_ok=True)
    write_private(out / f"{device_id}.key", made.key.decode())
    write_private(out / f"{device_id}.crt", made.certificate.decode())
    write_private(out / "ca.crt", folder.authority().certificate.decode())
    on_database(work)
    typer.echo(f"{out / device_id}.crt and .key, good until {made.not_after:%Y-%m-%d}, serial {made.serial}")


@app.command("list")
def list_certificates(
    device_id: Annotated[str | None, typer.Option("--device", help="of this device only")] = None,
) -> None:
    """Certificates of devices: until when they are good, and which are revoked.

    Example: gridpulse ca list --device VB-9001
    """

    async def work(conn: Connection) -> list[tuple[str, ...]]:
        cursor = await conn.execute(credentials.SELECT_CERTIFICATES, {"device": device_id})
        return [
            (serial, name, f"{issued:%Y-%m-%d}", f"{ends:%Y-%m-%d}", f"{gone:%Y-%m-%d %H:%M:%S}" if gone else "")
            for serial, name, issued, ends, gone in await cursor.fetchall()
        ]

    print_table(("serial", "device", "issued", "good until", "revoked (UTC)"), on_database(work))


@app.command("revoke")
def revoke(serial: Annotated[str, typer.Argument(help="as `gridpulse ca list` shows it")]) -> None:
    """Take one certificate away at once; the device's account and its other certificates stay.

    Example: gridpulse ca revoke 5f1c0a…
    """

    async def work(conn: Connection) -> str:
        name = await credentials.revoke_certificate(conn, serial.lower())
        if name is None:
            raise NotFound(f"no certificate with serial {serial} is in force; see `gridpulse ca list`")
        await audit(conn, ACTOR, "device.certificate_revoke", name, {"serial": serial.lower()})
        return name

    typer.echo(f"{on_database(work)}: certificate {serial} revoked")
