"""Our errors as problem documents."""

from __future__ import annotations

import json

import pytest

from api.problems import NotSignedIn, TooManyTries, describe, field_errors, problem
from domain.errors import (
    CodeError,
    DatabaseUnavailable,
    GridpulseError,
    NotAllowed,
    NotFound,
    PayloadError,
    SchemaError,
    TransitionRefused,
    VersionConflict,
)


@pytest.mark.parametrize(
    ("error", "status", "members", "headers"),
    [
        (NotFound("x"), 404, {}, {}),
        (NotAllowed("x"), 403, {}, {}),
        (VersionConflict("x", {"version": 2}), 409, {"current": {"version": 2}}, {}),
        (TransitionRefused("x"), 409, {}, {}),
        (CodeError("x"), 422, {}, {}),
        (PayloadError("bad_datum", "x"), 422, {"reason": "bad_datum"}, {}),
        (DatabaseUnavailable("x"), 503, {}, {"Retry-After": "2"}),
        (NotSignedIn("x"), 401, {}, {"WWW-Authenticate": "Bearer"}),
        (TooManyTries("x", 3.4), 429, {}, {"Retry-After": "3"}),
        (TooManyTries("x", 0.1), 429, {}, {"Retry-After": "1"}),
        (SchemaError("x"), 500, {}, {}),
    ],
)
def test_every_error_has_its_status(
    error: GridpulseError, status: int, members: dict[str, object], headers: dict[str, str]
) -> None:
    assert describe(error) == (status, members, headers)


def test_a_problem_document() -> None:
    answer = problem(409, "changed", current={"version": 2})
    assert answer.media_type == "application/problem+json"
    assert json.loads(bytes(answer.body)) == {
        "type": "about:blank", "title": "Conflict", "status": 409, "detail": "changed", "current": {"version": 2},
    }  # fmt: skip


def test_field_errors_do_not_echo_what_was_sent() -> None:
    errors = [{"loc": ("body", "password"), "msg": "too long", "input": "secret"}, {"loc": (), "msg": "odd"}]
    assert field_errors(errors) == [
        {"in": "body", "field": "password", "reason": "too long"},
        {"in": "body", "field": "", "reason": "odd"},
    ]
