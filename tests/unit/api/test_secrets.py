"""Secrets, roles, origins, documents: small things that must hold."""

from __future__ import annotations

import json
import time

import pytest

from api import asyncapi, messages
from api.accounts import AccountError, check_account
from api.auth import PERMISSIONS, require
from api.client import Identity
from api.hub import still_signed_in
from api.live import same_origin, shorten
from api.routes.places import touches
from api.schemas import ACTIONS
from api.secrets import UNKNOWN_USER_HASH, digest, hash_password, new_ticket, new_token, session_of, verify_password
from domain.errors import CodeError, GridpulseError, NotAllowed
from domain.people import ROLES, Actor


def test_tickets_carry_the_session_and_tokens_are_random() -> None:
    session = digest("token")
    assert session_of(new_ticket(session)) == session
    assert session_of(new_ticket()) is None
    assert len({new_token() for _ in range(100)}) == 100


def test_an_unknown_user_costs_what_a_known_one_costs() -> None:
    known = hash_password("right horse")
    assert verify_password("right horse", known)
    assert not verify_password("wrong horse", known)
    seconds = []
    for stored in (known, None):
        started = time.perf_counter()
        assert not verify_password("wrong horse", stored)
        seconds.append(time.perf_counter() - started)
    assert 0.2 < seconds[0] / seconds[1] < 5
    assert known.split("$")[3] == UNKNOWN_USER_HASH.split("$")[3]


def test_each_role_has_its_permissions_and_each_action_somebody() -> None:
    assert set(PERMISSIONS) == set(ROLES)
    for action in ACTIONS:
        assert any(action in permissions for permissions in PERMISSIONS.values())
    assert PERMISSIONS["operator"] >= PERMISSIONS["dispatcher"] | PERMISSIONS["responder"]
    with pytest.raises(NotAllowed, match="dispatcher or operator may"):
        require(Actor("a", "responder", ""), "assign")


@pytest.mark.parametrize(
    ("name", "password", "role", "area"),
    [
        ("", "long enough", "operator", ""), ("a b", "long enough", "operator", ""),
        ("李", "long enough", "operator", ""),
        ("a", "short", "operator", ""), ("a", "long enough", "king", ""), ("a", "long enough", "operator", "4419"),
        ("a", "long enough", "operator", "44190012x"),
    ],
)  # fmt: skip
def test_accounts_that_cannot_be(name: str, password: str, role: str, area: str) -> None:
    with pytest.raises(GridpulseError) as refused:
        check_account(name, password, role, area)
    assert isinstance(refused.value, AccountError | CodeError)


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        (None, True), ("http://h:8080", True), ("https://H:8080", True), ("http://h", False),
        ("http://evil", False), ("null", False), ("", False),
    ],
)  # fmt: skip
def test_origins(origin: str | None, same: bool) -> None:
    headers = {"host": "h:8080"} | ({} if origin is None else {"origin": origin})
    assert same_origin(headers) is same


def test_who_is_still_signed_in() -> None:
    actor, session = Actor("a", "responder", "441900126"), b"s"
    known = {"a": actor}
    assert still_signed_in(Identity(actor, session, 10), known, {session}, 9)
    assert still_signed_in(Identity(actor, None, 10), known, set(), 9)
    assert not still_signed_in(Identity(actor, session, 10), known, {session}, 10)
    assert not still_signed_in(Identity(actor, session, 10), known, set(), 9)
    assert not still_signed_in(Identity(actor, session, 10), {}, {session}, 9)
    assert not still_signed_in(Identity(actor, session, 10), {"a": Actor("a", "responder", "")}, {session}, 9)


def test_close_reasons_fit_their_frame() -> None:
    assert len(shorten("道" * 100).encode()) <= 123


def test_the_asyncapi_document_refers_only_to_what_it_has() -> None:
    document = asyncapi.document()
    for operation in document["operations"].values():
        for reference in [operation["channel"], *operation["messages"]]:
            found = document
            for part in reference["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            assert found
    text = json.dumps(document)
    for word in (*messages.CHANNELS, "sensors/{id}/readings", "vehicles/{id}/position", "4008"):
        assert word in text


def test_boxes_and_views() -> None:
    outline = {"type": "MultiPolygon", "coordinates": [[[[1, 1], [2, 1], [2, 2], [1, 1]]]]}
    assert touches((2, 2, 3, 3), outline)
    assert not touches((2.1, 0, 3, 3), outline)
