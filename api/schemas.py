"""What comes in over HTTP: bodies and parameters, checked at the door; and the shapes that go out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.responses import Response

from api.paging import LIMIT_MAX
from domain.addresses import address_rule
from domain.errors import PayloadError
from domain.places import Place

ACTIONS = ("acknowledge", "assign", "comment", "shelve", "unshelve", "close", "reopen")
Action = Literal["acknowledge", "assign", "comment", "shelve", "unshelve", "close", "reopen"]
Datum = Literal["wgs84", "cgcs2000", "gcj02", "bd09"]

DEVICE_ID = r"^[A-Za-z0-9._-]{1,64}$"
CHILD = r"^[A-Za-z0-9._*?-]{1,64}$"
STEP_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def plus_restored(value: object) -> object:
    """A ``+`` of a zone that was not escaped arrives as a space."""
    return re.sub(r" (?=\d\d:?\d\d$)", "+", value) if isinstance(value, str) else value


def no_nul(value: str) -> str:
    """The database's texts have no NUL."""
    if "\0" in value:
        raise ValueError("a text has no NUL character")
    return value


Text = Annotated[str, Field(max_length=200), AfterValidator(no_nul)]
Time = Annotated[AwareDatetime, BeforeValidator(plus_restored)]
From = Annotated[Time | None, Query(alias="from", description="ISO 8601 with a zone, or epoch seconds")]
To = Annotated[Time | None, Query(description="ISO 8601 with a zone; left out: now")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]
Cursor = Annotated[Text | None, Query(description="`next` of the page before")]
Exercise = Annotated[Text | None, Query(description="a run's name, or `any`; left out: real ones only")]
Many = Annotated[list[Text], Query(description="may be repeated, or separated by commas")]
Lon = Annotated[float, Query(ge=-180, le=180)]
Lat = Annotated[float, Query(ge=-90, le=90)]


class Body(BaseModel):
    """A request body; unknown fields are refused, so that a typing error shows."""

    model_config = ConfigDict(extra="forbid")


class Login(Body):
    """A name and password, or the one-time ticket of a login link."""

    username: Text | None = None
    password: Annotated[str, Field(max_length=1024)] | None = None
    ticket: Text | None = None

    @model_validator(mode="after")
    def either(self) -> Login:
        """Exactly one way in."""
        by_password = self.username is not None and self.password is not None
        if by_password == (self.ticket is not None):
            raise ValueError("give username and password, or a ticket")
        return self


def _of_the_rule(address_id: str) -> str:
    rule = address_rule()
    if len(address_id) != rule.length:
        raise ValueError(f"an address id has {rule.length} digits here (rule {rule}), not {len(address_id)}")
    return address_id


AddressId = Annotated[str, Field(pattern=r"^[0-9]{16,25}$"), AfterValidator(_of_the_rule)]


class Camera(Body):
    """Where a camera looks."""

    bearing_deg: Annotated[float, Field(ge=0, le=360)] | None = None
    fov_deg: Annotated[float, Field(gt=0, le=360)] | None = None
    range_m: Annotated[float, Field(gt=0, le=100_000)] | None = None
    height_m: Annotated[float, Field(ge=-100, le=1000)] | None = None
    gb28181_id: Annotated[str, Field(pattern=r"^[0-9]{20}$")] | None = None


class DeviceBody(Body):
    """A registry entry as it is written; a coordinate comes with its datum."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "sensor"
    name: Text = ""
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = None
    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = None
    datum: Datum | None = None
    address_id: AddressId | None = None
    building_class: Literal["commercial", "residential", "sensitive"] = "residential"
    mount: Literal["foundation", "top_floor"] = "foundation"
    period_s: Annotated[float, Field(gt=0, le=86400 * 31)] | None = None
    product: Annotated[Text, Field(max_length=64)] = ""
    building: Annotated[str, Field(pattern=r"^[0-9]{13,25}$")] | None = None
    floor: Annotated[int, Field(ge=-20, le=200)] | None = None
    calibration: dict[str, Any] = {}
    disabled: bool = False
    camera: Camera | None = None

    @model_validator(mode="after")
    def located(self) -> DeviceBody:
        """Both coordinates or none, and never without a datum."""
        if (self.lon is None) != (self.lat is None):
            raise ValueError("give both lon and lat, or neither")
        if self.lon is not None and self.datum is None:
            raise ValueError("a coordinate needs its datum: wgs84, cgcs2000, gcj02 or bd09")
        return self


class CredentialsBody(Body):
    """What a device may do in the broker: speak for itself, or as a gateway for its children too."""

    gateway: bool = False
    children: Annotated[list[Annotated[str, Field(pattern=CHILD)]], Field(max_length=1000)] = []

    @model_validator(mode="after")
    def of_a_gateway(self) -> CredentialsBody:
        """Only gateways have children."""
        if self.children and not self.gateway:
            raise ValueError("children go with gateway")
        return self


class ActionBody(Body):
    """An action on an alert: the version it is about, and what the action needs."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    reason: Annotated[str, Field(max_length=2000), AfterValidator(no_nul)] | None = None
    text: Annotated[str, Field(max_length=2000), AfterValidator(no_nul)] | None = None
    assignee: Text | None = None
    until: Time | None = None
    minutes: Annotated[float, Field(gt=0, le=60 * 24)] | None = None
    force: bool | None = None

    def for_action(self, action: str, now: datetime) -> dict[str, Any]:
        """The fields that the action takes; ``minutes`` becomes ``until``.

        Raises: PayloadError ``bad_body`` naming what is missing.
        """
        until = self.until or (now + timedelta(minutes=self.minutes) if self.minutes else None)
        given = {
            "version": self.version, "reason": self.reason, "text": self.text or self.reason,
            "assignee": self.assignee, "until": until.isoformat() if until else None, "force": self.force,
        }  # fmt: skip
        needed, taken = ACTION_FIELDS[action]
        missing = [name for name in needed if not given[name]]
        if missing:
            raise PayloadError("bad_body", f"{action} needs {' and '.join(missing)}")
        return {name: given[name] for name in ("version", *needed, *taken) if given[name] is not None}


ACTION_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "acknowledge": ((), ("reason",)),
    "assign": (("assignee",), ("reason",)),
    "comment": (("text",), ()),
    "shelve": (("until",), ("reason",)),
    "unshelve": ((), ("reason",)),
    "close": ((), ("reason", "force")),
    "reopen": ((), ("reason",)),
}
"""Action → the fields it needs, and those it may take, beside the version."""


def split(values: Sequence[str]) -> list[str]:
    """``a,b`` and ``a`` ``b`` alike, without empty ones."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def step_seconds(step: str) -> float:
    """``30``, ``30s``, ``5m``, ``1h``, ``1d`` in seconds. Raises: PayloadError ``bad_step``."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|min|m|h|d|)", step)
    seconds = float(match[1]) * STEP_UNITS[match[2]] if match else 0.0
    if not 0.001 <= seconds <= 366 * 86400:
        raise PayloadError("bad_step", "step: seconds, or a number with ms, s, m, h or d, such as 5m")
    return seconds


def pattern(q: str | None) -> str | None:
    """An ILIKE pattern that finds the text anywhere."""
    if not q:
        return None
    return "%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def reply(content: Any, status: int = 200) -> Response:
    """A JSON answer; ``msgspec.Raw`` members are put in as they are, NaN becomes null."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def page(items: Sequence[Any], next_: str | None, **members: Any) -> Response:
    """A list answer."""
    return reply({"items": items, "next": next_, **members})


def place_json(place: Place) -> dict[str, Any]:
    """A place in the contract's form; ``neighbours`` only where there are some."""
    shown = asdict(place)
    if not place.neighbours:
        del shown["neighbours"]
    return shown


def location(lon: float | None, lat: float | None) -> dict[str, float] | None:
    """A WGS-84 point, or null."""
    return None if lon is None or lat is None else {"lon": lon, "lat": lat}


def device_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A registry row as clients see it."""
    shown = {name: row[name] for name in DEVICE_FIELDS}
    shown["exercise"] = row["run"]
    shown["location"] = location(row["lon"], row["lat"])
    shown["place"] = {level: row[level] for level in ("town", "village", "grid")}
    if row["kind"] == "camera":
        shown["camera"] = {name: row[name] for name in Camera.model_fields}
    return shown


DEVICE_FIELDS = (
    "id", "kind", "name", "status", "datum_given", "address_id", "building_class", "mount", "period_s", "product",
    "building", "floor", "calibration", "disabled", "generated", "created_at", "updated_at", "last_seen", "online",
    "battery_pct", "rssi_dbm", "firmware",
)  # fmt: skip
