"""Open alerts after a new division: which of them lie elsewhere now. Pure.

Closed alerts keep the place they had. So do alerts of areas, which were placed by
more than their point, and alerts the new division knows no place for.
"""

from __future__ import annotations

from dataclasses import replace

from alerting.lifecycle import Change
from domain.alerts import Alert
from domain.devices import Device
from domain.places import Place

_NEAR_DEG = 1e-6


def own_point(alert: Alert, device: Device) -> tuple[float | None, float | None]:
    """The alert's own coordinate where it differs from its device's (a vehicle's), else none."""
    if alert.lon is None or alert.lat is None:
        return None, None
    if device.lon is not None and device.lat is not None:
        off = max(abs(alert.lon - device.lon), abs(alert.lat - device.lat))
        return (None, None) if off < _NEAR_DEG else (alert.lon, alert.lat)
    return (None, None) if alert.place.method == "device" else (alert.lon, alert.lat)


def replaced(alert: Alert, place: Place, at_us: int, because: str) -> Change | None:
    """The alert in its new place, with the record of it; None where nothing changes. Duties are the caller's."""
    old = alert.place
    kept = (place.town, place.village, place.grid) == (old.town, old.village, old.grid)
    if alert.state == "closed" or not place.known or kept or old.method == "area":
        return None
    moved = replace(alert, place=place, version=alert.version + 1, updated_us=at_us)
    return Change(moved, "updated", f"{because}: {_named(old)} is now {_named(place)}")


def _named(place: Place) -> str:
    code = place.grid or place.village or place.town or "no place"
    name = place.names.get("village") or place.names.get("town") or ""
    return f"{code} {name}".strip()
