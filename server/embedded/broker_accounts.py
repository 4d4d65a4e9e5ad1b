"""Who may do what on the broker, as Mosquitto's password and ACL files. Pure.

Refuses names that could mean something else in a topic, in an ACL line or in a
password file, and two accounts of one name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from domain.errors import EmbeddedError

SERVER_NAME = "gridpulse-server"
SIMULATOR_NAME = "gridpulse-simulator"

#: All of a gateway's possible children.
ANY_CHILD = "*"

Role = Literal["server", "simulator", "device", "gateway"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: A bridge's topics begin with a name that is not ours; a blank or a line's end would begin another rule.
_FILTER = re.compile(
    r"(?!(?:sensors|cameras|vehicles|runs|hooks)(?:/|$))"
    r"[^+#$\s/%][^+#\s/%]*(?:/(?:\+|[^+#\s/%]*))*(?:/#)?"
)

#: Mosquitto's own count. Our passwords are 192 random bits, so more rounds would add no
#: safety, and the broker, which has one thread, computes them for every connection.
_ITERATIONS = 101
_SALT_BYTES = 12

#: What a device may write under its own id (contract, section 4).
_WRITES = (
    "sensors/{id}/readings",
    "sensors/{id}/waveform",
    "sensors/{id}/status",
    "cameras/{id}/events",
    "cameras/{id}/status",
    "vehicles/{id}/position",
    "vehicles/{id}/status",
)
_READS = ("sensors/{id}/command",)


@dataclass(frozen=True)
class BrokerAccount:
    """One login of the broker.

    ``children``: ids a gateway may speak for, ``*`` = all; ``topics``: filters of other
    vendors' topics that are a bridge's own, to publish and to read (its commands come there).
    """

    username: str
    password_hash: str = field(repr=False)
    role: Role
    children: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


def hash_password(password: str, *, salt: bytes | None = None, iterations: int = _ITERATIONS) -> str:
    """A password in Mosquitto 2's format ``$7$iterations$salt$hash`` (PBKDF2, SHA-512)."""
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, dklen=64)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def is_password(password: str, password_hash: str) -> bool:
    """True when ``password_hash``, as `hash_password` makes it, belongs to ``password``."""
    match password_hash.split("$"):
        case ["", "7", iterations, salt, _]:
            made = hash_password(password, salt=base64.b64decode(salt), iterations=int(iterations))
            return hmac.compare_digest(made, password_hash)
    return False


def render_passwords(accounts: Sequence[BrokerAccount]) -> str:
    """Mosquitto's password file: ``name:hash`` lines."""
    return "".join(f"{a.username}:{a.password_hash}\n" for a in _checked(accounts))


def parse_passwords(text: str) -> dict[str, str]:
    """Hash by name, from a password file."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def render_acl(accounts: Sequence[BrokerAccount]) -> str:
    """Mosquitto's ACL file: what is not listed is refused."""
    lines = ["# Written by Gridpulse from the registry; changes here are lost."]
    for account in _checked(accounts):
        lines += ["", f"user {account.username}", *_topics(account)]
    return "\n".join(lines) + "\n"


def is_bridge_filter(pattern: str) -> bool:
    """Whether a topic filter may be a bridge's own."""
    return len(pattern) <= 256 and bool(_FILTER.fullmatch(pattern))


def _topics(account: BrokerAccount) -> Iterator[str]:
    match account.role:
        case "server":
            # A filter that begins with a wildcard does not match topics that begin with $.
            yield from ("topic readwrite #", "topic read $SYS/#")
        case "simulator":
            yield from ("topic readwrite runs/#", "topic read sensors/+/command")
        case "device":
            yield from _own_topics(account.username)
        case "gateway":
            yield from (f"topic readwrite {pattern}" for pattern in account.topics)
            if ANY_CHILD in account.children:
                yield from _own_topics("+")
                return
            for name in dict.fromkeys((account.username, *account.children)):
                yield from _own_topics(name)


def _own_topics(name: str) -> Iterator[str]:
    for topic in _WRITES:
        yield f"topic write {topic.format(id=name)}"
    for topic in _READS:
        yield f"topic read {topic.format(id=name)}"


def _checked(accounts: Iterable[BrokerAccount]) -> Iterator[BrokerAccount]:
    seen: set[str] = set()
    for account in accounts:
        for name in (account.username, *account.children):
            if not (_NAME.fullmatch(name) or (name == ANY_CHILD and name in account.children)):
                raise EmbeddedError(
                    f"{name!r} cannot be a broker account or child: use 1 to 64 of A-Z a-z 0-9 . _ -"
                )
        for pattern in account.topics:
            if not is_bridge_filter(pattern):
                raise EmbeddedError(f"{pattern[:60]!r} of {account.username!r} cannot be a topic of a bridge")
        if account.username == ANY_CHILD or account.username in seen:
            raise EmbeddedError(f"two broker accounts are called {account.username!r}: rename one")
        if not re.fullmatch(r"\$7\$\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+", account.password_hash):
            raise EmbeddedError(f"broker account {account.username!r} has no usable hash: set its password anew")
        seen.add(account.username)
        yield account
