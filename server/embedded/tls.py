"""The home's ``tls/`` folder: authority, the broker's certificate, and what the broker needs of them.

The authority's key stays here, readable by the server's account only; the broker gets
copies of the rest. Refuses to replace an authority: every device's certificate would end.
Files of another authority may be put here instead (``ca.crt``, ``server.crt``,
``server.key``, and ``crl.pem`` if it has one); without ``ca.key`` the list is theirs to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from db.credentials import Revoked
from domain.errors import EmbeddedError
from server.embedded.authority import (
    Certificate,
    issue_device,
    issue_server,
    list_serials,
    list_update,
    make_authority,
    next_update,
    read_certificate,
    revocation_list,
)
from server.embedded.home import write_private
from server.embedded.privileges import RunAs

Login = Literal["certificate", "password"]

AUTHORITY_NAME = "Gridpulse broker authority"
LIST = "crl.pem"
COPIED = ("ca.crt", "server.crt", "server.key")


@dataclass(frozen=True, slots=True)
class TlsListener:
    """A listener with TLS; ``login``: devices show a certificate, or a password over TLS."""

    host: str
    port: int
    login: Login


@dataclass(frozen=True)
class TlsFolder:
    """The files at ``folder``."""

    folder: Path

    def make(self, hosts: Sequence[str], now: datetime) -> Certificate:
        """A new authority and the broker's certificate. Raises: EmbeddedError when there is one."""
        if (self.folder / "ca.crt").exists():
            raise EmbeddedError(
                f"{self.folder} has an authority: `gridpulse ca server --host …` makes the broker's certificate "
                "anew; to begin again move the folder away, which ends every device's certificate"
            )
        authority = make_authority(AUTHORITY_NAME, now)
        server = issue_server(authority, hosts, now)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._put("ca", authority)
        self._put("server", server)
        return authority

    def renew_server(self, hosts: Sequence[str], now: datetime) -> Certificate:
        """The broker's certificate anew. Raises: EmbeddedError without an authority of ours."""
        made = issue_server(self.authority(), hosts, now)
        self._put("server", made)
        return made

    def issue(self, device_id: str, now: datetime) -> Certificate:
        """A certificate for a device. Raises: EmbeddedError without an authority of ours."""
        return issue_device(self.authority(), device_id, now)

    def authority(self) -> Certificate:
        """The authority with its key. Raises: EmbeddedError when it is not here."""
        try:
            return read_certificate((self.folder / "ca.crt").read_bytes(), (self.folder / "ca.key").read_bytes())
        except FileNotFoundError as error:
            raise EmbeddedError(
                f"{self.folder} has no authority: make one with `gridpulse ca init --host NAME`"
            ) from error

    def _put(self, name: str, made: Certificate) -> None:
        # The key first: a certificate without its key would stop the broker.
        write_private(self.folder / f"{name}.key", made.key.decode())
        write_private(self.folder / f"{name}.crt", made.certificate.decode())


class BrokerTls:
    """What the broker reads of it, in the broker's own folder."""

    def __init__(self, home_tls: Path, broker: Path, listener: TlsListener, run_as: RunAs) -> None:
        self.listener = listener
        self._source = TlsFolder(home_tls)
        self._broker = broker
        self._run_as = run_as

    def prepare(self) -> None:
        """Copy what the broker needs. Raises: EmbeddedError with what is missing."""
        for name in COPIED:
            try:
                text = (self._source.folder / name).read_text()
            except OSError as error:
                raise EmbeddedError(
                    f"GRIDPULSE_MQTT_TLS_PORT is set, and {self._source.folder / name} cannot be read: "
                    "make the broker's certificate with `gridpulse ca init --host NAME`"
                ) from error
            write_private(self._broker / name, text, self._run_as)
        if self._theirs is not None or not (self._broker / LIST).exists():
            self.write_list([])

    @property
    def _theirs(self) -> Path | None:
        """Another authority's list, where there is one."""
        if (self._source.folder / "ca.key").exists():
            return None
        path = self._source.folder / LIST
        return path if path.exists() else None

    @property
    def has_list(self) -> bool:
        """Whether the broker looks certificates up in a list."""
        return self.listener.login == "certificate" and (self._broker / LIST).exists()

    def write_list(self, revoked: Sequence[Revoked]) -> set[str]:
        """Put the revocation list where the broker reads it; the serials that are new on it."""
        path = self._broker / LIST
        if self._theirs is not None:
            write_private(path, self._theirs.read_text(), self._run_as)
            return set()
        if not (self._source.folder / "ca.key").exists():
            return set()
        before = path.read_bytes() if path.exists() else b""
        now = datetime.now(UTC)
        update = next_update(list_update(before), now)
        text = revocation_list(
            self._source.authority(), [(r.serial, r.at) for r in revoked], update, int(update.timestamp())
        )
        write_private(path, text.decode(), self._run_as)
        return {r.serial for r in revoked} - list_serials(before)

    def settings(self, max_connections: int) -> dict[str, str]:
        """The default listener of ``mosquitto.conf``, with TLS."""
        by_certificate = self.listener.login == "certificate"
        found = {
            "port": str(self.listener.port),
            "bind_address": self.listener.host,
            "max_connections": str(max_connections),
            "cafile": str(self._broker / "ca.crt"),
            "certfile": str(self._broker / "server.crt"),
            "keyfile": str(self._broker / "server.key"),
            "tls_version": "tlsv1.2",
            # The client id is the device's: nobody takes another's session over, and whom we
            # want to cut off we can find (see `Mosquitto.write_accounts`).
            "use_username_as_clientid": "true",
        }
        if by_certificate:
            found |= {"require_certificate": "true", "use_identity_as_username": "true"}
        if self.has_list:
            found["crlfile"] = str(self._broker / LIST)
        return found
