"""Passwords, tokens and tickets: how they are made and how they are kept.

Passwords are kept as argon2id; tokens and tickets are 256 random bits of which only
the SHA-256 is stored. A live ticket also carries the digest of the session that
asked for it, so that signing out closes its sockets; the stored digest covers both
parts, so neither can be exchanged.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from pwdlib import PasswordHash

PASSWORD_MIN = 8
PASSWORD_MAX = 1024

HASHER = PasswordHash.recommended()

# Of a password nobody knows: verifying against it costs what a real one costs.
UNKNOWN_USER_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$KptQOQzNSgiW2B3yqe/8eQ$ry7bVZTGNbR3qm74nmph/jqFDXUnq5B+qpGY1BsG0CI"
)


def digest(secret: str) -> bytes:
    """What is stored of a token or ticket."""
    return hashlib.sha256(secret.encode()).digest()


def new_token() -> str:
    """A bearer token."""
    return "gp_" + secrets.token_urlsafe(32)


def new_ticket(session: bytes | None = None) -> str:
    """A one-time ticket, bound to a session's digest or to none."""
    ticket = secrets.token_urlsafe(32)
    if session is None:
        return ticket
    return f"{ticket}.{base64.urlsafe_b64encode(session).decode()}"


def session_of(ticket: str) -> bytes | None:
    """The session a ticket is bound to. Only for a ticket whose digest was found."""
    _, dot, bound = ticket.partition(".")
    return base64.urlsafe_b64decode(bound) if dot else None


def hash_password(password: str) -> str:
    """The argon2id hash; takes about 0.1 s of a core."""
    return HASHER.hash(password)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether the password fits; takes the same time when there is no such user (None)."""
    fits = HASHER.verify(password, password_hash or UNKNOWN_USER_HASH)
    return fits and password_hash is not None
