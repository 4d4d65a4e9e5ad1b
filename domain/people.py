"""Who acts: the account behind a request."""

from __future__ import annotations

from dataclasses import dataclass

ROLES = ("responder", "dispatcher", "engineer", "operator")
"""Responder: handles alerts of the own area. Dispatcher: assigns them. Engineer:
rules and replays. Operator: accounts, devices, everything."""


@dataclass(frozen=True, slots=True)
class Actor:
    """An account's name, role and area; ``area`` is a code prefix, empty for the whole city."""

    name: str
    role: str
    area: str

    def sees(self, *codes: str | None) -> bool:
        """Whether a thing with these place codes (cell, village, town) lies in the area.

        A thing without any code belongs to the city's desk, so only the whole
        city's accounts see it.
        """
        return not self.area or any(code is not None and code.startswith(self.area) for code in codes)

    @property
    def blind_to(self) -> tuple[str, ...]:
        """Kinds of alerts this account is never bothered with: faults of devices are their maintainer's."""
        return ("device.*",) if self.role == "responder" else ()
