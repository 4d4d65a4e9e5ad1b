"""The version of what is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The distribution's version; ``0+source`` when it runs without being installed."""
    try:
        return version("gridpulse")
    except PackageNotFoundError:
        return "0+source"


VERSION = installed_version()
