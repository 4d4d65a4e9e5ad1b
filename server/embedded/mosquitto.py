"""The private Mosquitto: the repository's ``mosquitto.conf`` with this home's places put in.

Refuses to run as root and to take a port that somebody else uses.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import signal
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from db.credentials import Revoked
from domain.errors import EmbeddedError
from ingest.endpoint import take_over
from server.embedded.broker_accounts import (
    SERVER_NAME,
    SIMULATOR_NAME,
    BrokerAccount,
    hash_password,
    is_password,
    parse_passwords,
    render_acl,
    render_passwords,
)
from server.embedded.home import Home, write_private
from server.embedded.privileges import RunAs, give, give_tree
from server.embedded.process import Child, StopPlan, stop_orphans
from server.embedded.tls import BrokerTls, TlsListener

#: SIGTERM lets the broker write its sessions and queues down.
STOP_PLAN: StopPlan = ((signal.SIGTERM, 30.0),)

_ANSWER_S = 20.0

#: Files of the broker that are no device's connection.
FILES_KEPT = 512

#: The broker has read its files again by then.
TAKE_OVER_AGAIN_S = 0.5

log = logging.getLogger(__name__)


def template_path() -> Path:
    """``mosquitto.conf``: at the top of the repository, or beside us in an installed wheel."""
    beside = Path(__file__).with_name("mosquitto.conf")
    top = Path(__file__).resolve().parents[2] / "mosquitto.conf"
    for path in (top, beside):
        if path.is_file():
            return path
    raise EmbeddedError(f"mosquitto.conf is missing ({top}): get it back from the repository")


def render_conf(template: str, places: Mapping[str, str]) -> str:
    """The template with each setting of ``places`` in the place of the template's own.

    A setting that the template lacks is appended. Comments and all else stay as they are.
    """
    left = dict(places)
    lines = []
    for line in template.splitlines():
        name = line.split(" ", 1)[0]
        if name in places:
            if name in left:
                lines.append(f"{name} {left.pop(name)}")
            continue
        lines.append(line)
    lines += [f"{name} {value}" for name, value in left.items()]
    return "# Written by Gridpulse at each start from mosquitto.conf.\n" + "\n".join(lines) + "\n"


def places(
    home: Home, host: str, port: int, max_connections: int, tls: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The settings that depend on the home; ``tls``: the settings of a listener with TLS.

    The listener that strangers reach is the default one, whose limit of connections
    holds (see ``mosquitto.conf``); with TLS the plain one comes after it.
    """
    plain = {"port": str(port), "bind_address": host, "max_connections": str(max_connections)}
    return {
        **(plain if tls is None else tls),
        "persistence_location": f"{home.broker}/store/",
        "password_file": f"{home.broker}/passwords",
        "acl_file": f"{home.broker}/acl",
        "pid_file": f"{home.broker}/mosquitto.pid",
        # Our standard error is home/logs/mosquitto.log, kept within a bound by us.
        "log_dest": "stderr",
        **({} if tls is None else {"listener": f"{port} {host}"}),
    }


def client_host(bind_host: str) -> str:
    """Where a program on this machine reaches a broker bound to ``bind_host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1", "localhost": "127.0.0.1"}.get(
        bind_host, bind_host
    )


def mqtt_url(name: str, password: str, host: str, port: int) -> str:
    """A login's address of the broker."""
    reach = client_host(host)
    return f"mqtt://{name}:{password}@{f'[{reach}]' if ':' in reach else reach}:{port}"


def require_free_port(host: str, port: int, setting: str = "GRIDPULSE_MQTT_PORT") -> None:
    """Bind it for a moment: says who must change what before the broker only says "error"."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or "127.0.0.1", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the broker does: connections that are just closing do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise EmbeddedError(_port_advice(host, port, setting, error)) from error


def _port_advice(host: str, port: int, setting: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken by another program: set {setting} to a free one, or stop what uses it "
            "(an installed Mosquitto runs as a service: systemctl disable --now mosquitto)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} needs more rights than we have: set {setting} above 1023"
    address = setting.replace("PORT", "HOST")
    return f"the broker cannot listen on {host!r} ({error}): set {address} to one of our addresses"


async def clear_the_way(home: Home, door: DoorSettings) -> None:
    """End the broker of a killed server, then see that nobody else has the port."""
    await stop_orphans(home.broker, "mosquitto", STOP_PLAN)
    require_free_port(door.host, door.port)
    if door.tls is not None:
        require_free_port(door.tls.host, door.tls.port, "GRIDPULSE_MQTT_TLS_PORT")


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Where the broker listens and whom it may refuse.

    ``max_connections``: at the door that strangers reach; ``count_denied``: log every
    packet, so that refused topics can be counted.
    """

    host: str
    port: int
    max_connections: int = 16_000
    tls: TlsListener | None = None
    count_denied: bool = False


def raise_files(pid: int) -> None:
    """Let the broker open as many files as it may: each connection is one, and 1,024 is a usual soft limit."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


def bounded_connections(wanted: int) -> int:
    """At most what leaves the broker files for its store, its accounts and our own connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or wanted <= hard - FILES_KEPT:
        return wanted
    log.warning("the broker takes %d connections, not %d: the limit of open files is %d (ulimit -Hn)",
                max(hard - FILES_KEPT, 1), wanted, hard)  # fmt: skip
    return max(hard - FILES_KEPT, 1)


class Mosquitto:
    """One running private broker."""

    def __init__(
        self, home: Home, run_as: RunAs, secrets: Mapping[str, str], door: DoorSettings, tls: BrokerTls | None
    ) -> None:
        self._home = home
        self._door = door
        self._tls = tls
        self._run_as = run_as
        self._secrets = secrets
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The broker's process."""
        assert self._child is not None
        return self._child

    @classmethod
    async def start(cls, home: Home, program: Path, run_as: RunAs, door: DoorSettings) -> Mosquitto:
        """Bring the broker of ``home`` up; it takes connections when this returns."""
        await clear_the_way(home, door)
        host, port = door.host, door.port
        secrets = {
            SERVER_NAME: home.secret("mqtt-server"),
            SIMULATOR_NAME: home.secret("mqtt-simulator"),
        }
        tls = None if door.tls is None else BrokerTls(home.tls, home.broker, door.tls, run_as)
        broker = cls(home, run_as, secrets, door, tls)
        broker._prepare()
        broker._child = Child.start(
            "mosquitto",
            [str(program), "-c", str(home.broker / "mosquitto.conf")],
            run_as=run_as,
            death_signal="TERM",
            cwd=home.broker,
            log=home.logs / "mosquitto.log",
        )
        raise_files(broker.child.pid)
        try:
            await _listens(broker.child, client_host(host), port)
        except BaseException:
            await broker.stop()
            raise
        return broker

    def urls(self) -> tuple[str, str]:
        """The server's and the simulators' address."""
        server, simulator = (
            mqtt_url(name, self._secrets[name], self._door.host, self._door.port)
            for name in (SERVER_NAME, SIMULATOR_NAME)
        )
        return server, simulator

    def _prepare(self) -> None:
        for folder in (self._home.broker, self._home.broker / "store"):
            folder.mkdir(exist_ok=True)
            give_tree(folder, self._run_as)
            give(folder, self._run_as, 0o700)
        if self._tls is not None:
            self._tls.prepare()
        limit = bounded_connections(self._door.max_connections)
        tls = None if self._tls is None else self._tls.settings(limit)
        found = places(self._home, self._door.host, self._door.port, limit, tls)
        conf = render_conf(template_path().read_text(), found)
        if self._door.count_denied:
            conf += "log_type debug\n"
        write_private(self._home.broker / "mosquitto.conf", conf, self._run_as)
        if not self._accounts_are_ours():
            self._write([])

    def _accounts_are_ours(self) -> bool:
        """True when the last start's files still fit: its devices may log in at once."""
        if not (self._home.broker / "acl").is_file():
            return False
        kept = parse_passwords(self._written("passwords"))
        return all(is_password(secret, kept.get(name, "")) for name, secret in self._secrets.items())

    async def write_accounts(
        self, accounts: Sequence[BrokerAccount], revoked: Sequence[Revoked] = ()
    ) -> None:
        """Let exactly these accounts in, beside the server's and the simulators' own, and no revoked certificate.

        On SIGHUP the broker reads the files and itself cuts off clients that came in
        by a password which holds no more. One that came in by a certificate it leaves
        connected, with nothing it may write or read: those we take over by their client
        id, which is the device's id there.
        """
        gone = self._names() - {account.username for account in accounts} - set(self._secrets)
        newly = self._tls.write_list(revoked) if self._tls is not None else set()
        changed = self._write(accounts)
        if changed or self._tls is not None:  # with TLS the list of revoked certificates is renewed, too
            self.child.signal(signal.SIGHUP)
        if self._tls is not None and self._tls.listener.login == "certificate":
            await self._cut_off(gone | {each.device for each in revoked if each.serial in newly})

    def _names(self) -> set[str]:
        return set(parse_passwords(self._written("passwords")))

    async def _cut_off(self, client_ids: Iterable[str]) -> None:
        """End these clients' connections. Twice: the first may come before the broker has read its files."""
        ids = sorted(client_ids)
        for pause_s in (0.0, TAKE_OVER_AGAIN_S):
            if ids:
                await asyncio.sleep(pause_s)
                await take_over(self.urls()[0], ids)

    def _write(self, accounts: Sequence[BrokerAccount]) -> bool:
        """Write the files; False when they held all that already."""
        written = {name: self._written(name) for name in ("acl", "passwords")}
        kept = parse_passwords(written["passwords"])
        hashes = {
            name: kept[name] if is_password(secret, kept.get(name, "")) else hash_password(secret)
            for name, secret in self._secrets.items()
        }
        everybody = [
            BrokerAccount(SERVER_NAME, hashes[SERVER_NAME], "server"),
            BrokerAccount(SIMULATOR_NAME, hashes[SIMULATOR_NAME], "simulator"),
            *accounts,
        ]
        passwords, acl = render_passwords(everybody), render_acl(everybody)
        if written == {"acl": acl, "passwords": passwords}:
            return False
        # Rights before logins: an account is never in with more than it should have.
        write_private(self._home.broker / "acl", acl, self._run_as)
        write_private(self._home.broker / "passwords", passwords, self._run_as)
        return True

    def _written(self, name: str) -> str:
        try:
            return (self._home.broker / name).read_text()
        except OSError:
            return ""

    async def stop(self) -> None:
        """End the broker; it has written its queues down and is gone when this returns."""
        await self.child.stop(STOP_PLAN)


async def _listens(child: Child, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _ANSWER_S
    while loop.time() < deadline:
        if not child.running:
            raise EmbeddedError(f"the private broker did not start: {child.obituary()}")
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise EmbeddedError(f"the private broker does not answer: {child.obituary()}")
