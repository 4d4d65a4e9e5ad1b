"""The one tree of Gridpulse's exceptions.

GridpulseError                what a person can act on; the command line prints it in one line
├── SettingsError             a setting is unknown, missing or wrong
├── EmbeddedError             the private database or broker cannot be had or does not start
├── DatabaseUnavailable       the database does not answer; the work waits and is tried again
├── SchemaError               a migration is missing, changed after it ran, or failed
├── OwnershipLost             another process detects on this database now
├── BrokerUnavailable         the broker does not answer or refuses us; the session tries again
├── PayloadError              a message breaks a rule; it goes to quarantine with ``reason``
├── ImportFileError           a file for ``import`` or ``replay`` cannot be read
├── CodeError                 an administrative, grid or address code is malformed
├── NotFound                  no such device, alert, user
├── NotAllowed                the account may not do this
├── VersionConflict           the alert changed since the caller read it (carries the current one)
└── TransitionRefused         the alert's state does not allow this action

Foreign exceptions are translated once, where they enter, with ``raise … from``.
Every message says what the reader can do about it.
"""

from __future__ import annotations

from typing import Any


class GridpulseError(Exception):
    """Base of all errors that are meant for a person's eyes."""


class SettingsError(GridpulseError):
    """A setting is unknown, missing or wrong; the message names it."""


class EmbeddedError(GridpulseError):
    """The private database or broker cannot be had or does not start."""


class DatabaseUnavailable(GridpulseError):
    """The database does not answer now; the same work may succeed later."""


class SchemaError(GridpulseError):
    """The schema cannot be brought to the version this program needs."""


class OwnershipLost(GridpulseError):
    """Another process has become the one that detects; what this one remembers is old."""


class BrokerUnavailable(GridpulseError):
    """The MQTT broker does not answer now or refuses this account."""


class PayloadError(GridpulseError):
    """A message breaks a rule of the contract.

    ``reason`` is a short stable word that counters carry (``not_json``,
    ``bad_time``); the message names the field and what was wrong with it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ImportFileError(GridpulseError):
    """A file cannot be read; the message names the line where there is one."""


class CodeError(GridpulseError):
    """A division, grid or address code does not follow its standard."""


class NotFound(GridpulseError):
    """No such thing under this id, or not within the caller's area."""


class NotAllowed(GridpulseError):
    """The account's role or area does not allow this."""


class VersionConflict(GridpulseError):
    """The alert has changed since the caller read it."""

    def __init__(self, message: str, current: dict[str, Any]) -> None:
        super().__init__(message)
        self.current = current


class TransitionRefused(GridpulseError):
    """The alert's state does not allow this action; the message says which do."""
