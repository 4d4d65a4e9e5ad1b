"""Calibrations of a device: per metric or axis, what makes its raw value the quantity.

quantity = raw * scale + offset, in ``unit``, found on ``date``. The registry keeps them
beside the device; readings are stored as they are sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from domain.errors import PayloadError

METRICS_MAX = 64
REASON = "bad_calibration"

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELDS = frozenset({"scale", "offset", "unit", "date"})
_UNIT_CHARS_MAX = 32
_ABS_MAX = 1e12


def checked_calibration(given: object) -> dict[str, dict[str, Any]]:
    """``{metric: {"scale", "offset", "unit", "date"}}`` with every field filled in.

    ``scale`` is not 0 and 1 unless given, ``offset`` 0, ``unit`` empty, ``date`` None.
    Raises: PayloadError ``bad_calibration`` naming metric and field.
    """
    if not isinstance(given, Mapping):
        raise PayloadError(REASON, 'calibration must be an object, e.g. {"tilt_x_deg": {"scale": 1.02}}')
    if len(given) > METRICS_MAX:
        raise PayloadError(REASON, f"calibration has {len(given)} metrics; at most {METRICS_MAX}")
    return {_metric(name): _one(str(name), one) for name, one in given.items()}


def _metric(name: object) -> str:
    if not isinstance(name, str) or not _METRIC.fullmatch(name):
        raise PayloadError(REASON, f"{name!r} is no name of a metric or axis: use a-z, 0-9 and _")
    return name


def _one(metric: str, given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise PayloadError(REASON, f"{metric} must be an object with scale, offset, unit, date")
    if unknown := sorted(str(name) for name in given if name not in _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise PayloadError(REASON, f"{metric} has the unknown field {unknown[0]}; known are {known}")
    scale = _number(metric, "scale", given.get("scale", 1.0))
    if scale == 0:
        raise PayloadError(REASON, f"{metric}: a scale of 0 would make every value the same")
    return {
        "scale": scale,
        "offset": _number(metric, "offset", given.get("offset", 0.0)),
        "unit": _unit(metric, given.get("unit", "")),
        "date": _date(metric, given.get("date")),
    }


def _number(metric: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PayloadError(REASON, f"{metric}: {name} must be a finite number")
    if abs(value) > _ABS_MAX:
        raise PayloadError(REASON, f"{metric}: {name} {value} is beyond {_ABS_MAX:g}")
    return float(value)


def _unit(metric: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _UNIT_CHARS_MAX or not (value.isprintable()):
        raise PayloadError(REASON, f"{metric}: unit must be a text of at most {_UNIT_CHARS_MAX} characters")
    return value


def _date(metric: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        raise PayloadError(REASON, f"{metric}: date {value!r} must look like 2026-05-01") from error
