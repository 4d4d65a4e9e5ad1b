import base64
import hmac

import pytest

from domain.errors import EmbeddedError
from server.embedded.broker_accounts import (
    BrokerAccount,
    hash_password,
    is_password,
    parse_passwords,
    render_acl,
    render_passwords,
)

HASH = hash_password("x", salt=b"0" * 12)


def test_hash_is_mosquittos() -> None:
    # PBKDF2-HMAC-SHA512, 101 rounds, 64 bytes; that Mosquitto takes it is tested with the broker.
    assert hash_password("secret", salt=bytes(range(12))) == (
        "$7$101$AAECAwQFBgcICQoL$" + base64.b64encode(_pbkdf2(b"secret", bytes(range(12)), 101)).decode()
    )


def _pbkdf2(password: bytes, salt: bytes, rounds: int) -> bytes:
    """The definition (RFC 8018), for one block of output, which is what SHA-512 gives."""
    u = hmac.digest(password, salt + b"\0\0\0\1", "sha512")
    total = int.from_bytes(u, "big")
    for _ in range(rounds - 1):
        u = hmac.digest(password, u, "sha512")
        total ^= int.from_bytes(u, "big")
    return total.to_bytes(64, "big")


def test_every_hash_has_its_own_salt() -> None:
    assert hash_password("a") != hash_password("a")


def test_is_password() -> None:
    assert is_password("x", HASH)
    assert not is_password("y", HASH)
    assert not is_password("x", "")
    assert not is_password("x", "$6$abc$def")


def test_passwords_file_round_trip() -> None:
    accounts = [BrokerAccount("VB-0001", HASH, "device"), BrokerAccount("g.w_1", HASH, "gateway")]
    assert parse_passwords(render_passwords(accounts)) == {"VB-0001": HASH, "g.w_1": HASH}


def rights(account: BrokerAccount) -> list[str]:
    lines = render_acl([account]).splitlines()
    assert lines[2] == f"user {account.username}"
    return lines[3:]


def own(name: str) -> list[str]:
    return [
        f"topic write sensors/{name}/readings",
        f"topic write sensors/{name}/waveform",
        f"topic write sensors/{name}/status",
        f"topic write cameras/{name}/events",
        f"topic write cameras/{name}/status",
        f"topic write vehicles/{name}/position",
        f"topic write vehicles/{name}/status",
        f"topic read sensors/{name}/command",
    ]


def test_rights_by_role() -> None:
    assert rights(BrokerAccount("s", HASH, "server")) == ["topic readwrite #", "topic read $SYS/#"]
    assert rights(BrokerAccount("s", HASH, "simulator")) == [
        "topic readwrite runs/#",
        "topic read sensors/+/command",
    ]
    assert rights(BrokerAccount("D1", HASH, "device")) == own("D1")
    # A device has no children, whatever the registry says.
    assert rights(BrokerAccount("D1", HASH, "device", ("*",))) == own("D1")
    assert rights(BrokerAccount("G", HASH, "gateway")) == own("G")
    assert rights(BrokerAccount("G", HASH, "gateway", ("A", "G", "B"))) == own("G") + own("A") + own("B")
    assert rights(BrokerAccount("G", HASH, "gateway", ("A", "*"))) == own("+")


@pytest.mark.parametrize("name", ["", "a" * 65, "a/b", "+", "#", "*", "a b", "a:b", "a\n", "网格", "a\nuser x"])
def test_names_that_could_mean_something_else_are_refused(name: str) -> None:
    for render in (render_acl, render_passwords):
        with pytest.raises(EmbeddedError, match="cannot be a broker account"):
            render([BrokerAccount(name, HASH, "device")])


@pytest.mark.parametrize("child", ["", "+", "#", "a/b", "VB-*", "**"])
def test_children_are_names_or_all(child: str) -> None:
    with pytest.raises(EmbeddedError, match="child"):
        render_acl([BrokerAccount("G", HASH, "gateway", (child,))])


def test_a_gateway_called_star_is_refused_even_with_all_children() -> None:
    with pytest.raises(EmbeddedError):
        render_acl([BrokerAccount("*", HASH, "gateway", ("*",))])


def test_one_name_is_one_account() -> None:
    with pytest.raises(EmbeddedError, match="two broker accounts"):
        render_passwords([BrokerAccount("a", HASH, "device"), BrokerAccount("a", HASH, "gateway")])


@pytest.mark.parametrize("password_hash", ["", "plain", HASH + "\nroot:" + HASH, "$7$x$a$b"])
def test_a_hash_is_a_hash(password_hash: str) -> None:
    with pytest.raises(EmbeddedError, match="no usable hash"):
        render_passwords([BrokerAccount("a", password_hash, "device")])


def test_the_hash_is_not_shown() -> None:
    assert HASH not in repr(BrokerAccount("a", HASH, "device"))


def test_a_bridge_has_its_own_topics_and_no_others() -> None:
    bridge = BrokerAccount("bridge", HASH, "gateway", (), ("zigbee2mqtt/#", "a/+/c"))
    lines = render_acl([bridge]).splitlines()
    assert "topic readwrite zigbee2mqtt/#" in lines
    assert "topic readwrite a/+/c" in lines


@pytest.mark.parametrize(
    "pattern",
    ["#", "+/a", "$SYS/#", "sensors/#", "sensors", "runs/x/#", "hooks/#", "a b", "a/#\ntopic write #", "a/#/b",
     "a/b+", "", "a/%u/#", "/a", "a/" + "x" * 300],
)  # fmt: skip
def test_topics_of_a_bridge_that_reach_elsewhere_are_refused(pattern: str) -> None:
    with pytest.raises(EmbeddedError, match="cannot be a topic of a bridge"):
        render_acl([BrokerAccount("bridge", HASH, "gateway", (), (pattern,))])
