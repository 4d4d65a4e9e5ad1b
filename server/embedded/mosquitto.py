"""The private Mosquitto: the repository's ``mosquitto.conf`` with this home's places put in.

Refuses to run as root and to take a port that somebody else uses.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from domain.errors import EmbeddedError
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

#: SIGTERM lets the broker write its sessions and queues down.
STOP_PLAN: StopPlan = ((signal.SIGTERM, 30.0),)

_ANSWER_S = 20.0


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


def places(home: Home, host: str, port: int) -> dict[str, str]:
    """The settings that depend on the home."""
    return {
        "listener": f"{port} {host}",
        "persistence_location": f"{home.broker}/store/",
        "password_file": f"{home.broker}/passwords",
        "acl_file": f"{home.broker}/acl",
        "pid_file": f"{home.broker}/mosquitto.pid",
        # Our standard error is home/logs/mosquitto.log, kept within a bound by us.
        "log_dest": "stderr",
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


def require_free_port(host: str, port: int) -> None:
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
        raise EmbeddedError(_port_advice(host, port, error)) from error


def _port_advice(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is taken by another program: set GRIDPULSE_MQTT_PORT to a free one, or stop what uses it "
            "(an installed Mosquitto runs as a service: systemctl disable --now mosquitto)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} needs more rights than we have: set GRIDPULSE_MQTT_PORT above 1023"
    return f"the broker cannot listen on {host!r} ({error}): set GRIDPULSE_MQTT_HOST to one of our addresses"


async def clear_the_way(home: Home, host: str, port: int) -> None:
    """End the broker of a killed server, then see that nobody else has the port."""
    await stop_orphans(home.broker, "mosquitto", STOP_PLAN)
    require_free_port(host, port)


class Mosquitto:
    """One running private broker."""

    def __init__(self, home: Home, run_as: RunAs, secrets: Mapping[str, str]) -> None:
        self._home = home
        self._run_as = run_as
        self._secrets = secrets
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The broker's process."""
        assert self._child is not None
        return self._child

    @classmethod
    async def start(cls, home: Home, program: Path, run_as: RunAs, host: str, port: int) -> Mosquitto:
        """Bring the broker of ``home`` up; it takes connections when this returns."""
        await clear_the_way(home, host, port)
        secrets = {
            SERVER_NAME: home.secret("mqtt-server"),
            SIMULATOR_NAME: home.secret("mqtt-simulator"),
        }
        broker = cls(home, run_as, secrets)
        broker._prepare(host, port)
        broker._child = Child.start(
            "mosquitto",
            [str(program), "-c", str(home.broker / "mosquitto.conf")],
            run_as=run_as,
            death_signal="TERM",
            cwd=home.broker,
            log=home.logs / "mosquitto.log",
        )
        try:
            await _listens(broker.child, client_host(host), port)
        except BaseException:
            await broker.stop()
            raise
        return broker

    def urls(self, host: str, port: int) -> tuple[str, str]:
        """The server's and the simulators' address."""
        server, simulator = (
            mqtt_url(name, self._secrets[name], host, port) for name in (SERVER_NAME, SIMULATOR_NAME)
        )
        return server, simulator

    def _prepare(self, host: str, port: int) -> None:
        for folder in (self._home.broker, self._home.broker / "store"):
            folder.mkdir(exist_ok=True)
            give_tree(folder, self._run_as)
            give(folder, self._run_as, 0o700)
        conf = render_conf(template_path().read_text(), places(self._home, host, port))
        write_private(self._home.broker / "mosquitto.conf", conf, self._run_as)
        if not self._accounts_are_ours():
            self._write([])

    def _accounts_are_ours(self) -> bool:
        """True when the last start's files still fit: its devices may log in at once."""
        try:
            kept = parse_passwords((self._home.broker / "passwords").read_text())
        except OSError:
            return False
        if not (self._home.broker / "acl").is_file():
            return False
        return all(is_password(secret, kept.get(name, "")) for name, secret in self._secrets.items())

    def write_accounts(self, accounts: Sequence[BrokerAccount]) -> None:
        """Let exactly these accounts in, beside the server's and the simulators' own.

        The running broker reads the files a moment later; connected clients whose
        account is gone are cut off then.
        """
        self._write(accounts)
        self.child.signal(signal.SIGHUP)

    def _write(self, accounts: Sequence[BrokerAccount]) -> None:
        everybody = [
            BrokerAccount(SERVER_NAME, hash_password(self._secrets[SERVER_NAME]), "server"),
            BrokerAccount(SIMULATOR_NAME, hash_password(self._secrets[SIMULATOR_NAME]), "simulator"),
            *accounts,
        ]
        passwords, acl = render_passwords(everybody), render_acl(everybody)
        # Rights before logins: an account is never in with more than it should have.
        write_private(self._home.broker / "acl", acl, self._run_as)
        write_private(self._home.broker / "passwords", passwords, self._run_as)

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
