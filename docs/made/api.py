"""Routes, bodies, roles and close codes, read from the application."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from api import auth, changes, live, messages
from api.app import create_app
from api.ports import ApiPorts
from docs.made.markdown import code, number, table


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of the application, made without a database."""
    nothing = cast(Any, None)
    ports = ApiPorts(nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    return create_app(ports).openapi()


def routes() -> list[tuple[str, str]]:
    """(method, path) of every route."""
    return [(method.upper(), path) for path, methods in openapi()["paths"].items() for method in methods]


def http_routes() -> str:
    """Every route with its parameters; needed ones are bold."""
    rows = []
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            given = [p for p in operation.get("parameters", []) if p["in"] == "query"]
            shown = ", ".join(f"**`{p['name']}`**" if p.get("required") else f"`{p['name']}`" for p in given)
            if body := body_name(operation):
                shown = f"body: {body}" + (f"; {shown}" if shown else "")
            rows.append((code(f"{method.upper()} {path}"), operation.get("description", ""), shown))
    return table(("", "what it does", "parameters"), rows)


def body_name(operation: Mapping[str, Any]) -> str:
    """The model of a request's JSON body; empty for none."""
    content = operation.get("requestBody", {}).get("content", {})
    return str(content.get("application/json", {}).get("schema", {}).get("$ref", "")).rsplit("/", 1)[-1]


def http_bodies() -> str:
    """The fields of every request body."""
    schemas = openapi()["components"]["schemas"]
    parts = []
    for name in ("Login", "DeviceBody", "Camera", "CredentialsBody", "ActionBody"):
        schema = schemas[name]
        rows = [
            (code(field), json_type(about), "yes" if field in schema.get("required", []) else "",
             code(about.get("default")) if about.get("default") not in (None, "", False) else "")
            for field, about in schema["properties"].items()
        ]  # fmt: skip
        parts.append(f"**{name}**\n\n" + table(("field", "type", "needed", "default"), rows))
    return "\n\n".join(parts)


def json_type(about: Mapping[str, Any]) -> str:
    """A JSON schema's type in a few words."""
    if choices := about.get("enum"):
        return ", ".join(code(choice) for choice in choices)
    if ref := about.get("$ref"):
        return f"object {ref.rsplit('/', 1)[-1]}"
    if options := about.get("anyOf"):
        return json_type(next(option for option in options if option.get("type") != "null"))
    low, high = about.get("minimum", about.get("exclusiveMinimum")), about.get("maximum")
    size = f" {number(low)} to {number(high)}" if low is not None and high is not None else ""
    if about.get("format") == "date-time":
        return "time with zone"
    kind = str(about.get("type", ""))
    return ("text" if kind == "string" else kind) + size


def permissions() -> str:
    """Permission × role."""
    roles = list(auth.PERMISSIONS)
    every = sorted(set().union(*auth.PERMISSIONS.values()))
    rows = [(code(p), *("yes" if p in auth.PERMISSIONS[role] else "" for role in roles)) for p in every]
    return table(("may", *roles), rows)


def close_codes() -> str:
    """The codes with which the server closes a live socket."""
    words = {
        messages.NOT_SIGNED_IN: "not signed in: no hello in time, or the ticket or token is not valid",
        messages.NOT_ALLOWED: "not allowed: a browser's page of another origin",
        messages.LAGGING: "too slow: connect again with the cursor",
        messages.SIGNED_OUT: "signed out, disabled, or the account's role or area changed",
        live.POLICY: "too many messages",
        live.UNAVAILABLE: "the database does not answer, or too many clients: try again later",
    }
    return table(("code", "meaning"), sorted(words.items()))


def timeline_stages() -> str:
    """The stages of an alert's timeline, in order."""
    return " → ".join(code(stage) for stage in changes.STAGES)
