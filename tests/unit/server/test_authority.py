from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from domain.errors import EmbeddedError
from server.embedded.authority import (
    issue_device,
    issue_server,
    list_serials,
    list_update,
    make_authority,
    next_update,
    read_certificate,
    revocation_list,
)
from server.embedded.tls import TlsFolder

NOW = datetime(2026, 11, 25, 12, 0, 0, 5, tzinfo=UTC)
CA = make_authority("test", NOW)


def test_the_brokers_certificate_holds_for_its_names_only() -> None:
    made = issue_server(CA, ["broker.example.net", "192.0.2.7", "::1"], NOW)
    leaf = x509.load_pem_x509_certificate(made.certificate)
    store = Store([x509.load_pem_x509_certificate(CA.certificate)])
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("broker.example.net"))
    assert len(verifier.verify(leaf, [])) == 2
    other = PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("else.example.net"))
    with pytest.raises(x509.verification.VerificationError):
        other.verify(leaf, [])


def test_a_devices_certificate_says_its_id_and_is_no_servers() -> None:
    made = issue_device(CA, "VB-1", NOW, days=10)
    leaf = x509.load_pem_x509_certificate(made.certificate)
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "VB-1"
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.not_valid_before_utc < NOW < leaf.not_valid_after_utc == made.not_after
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(CA.certificate))
    assert read_certificate(made.certificate, made.key).serial == made.serial
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "x" * 65, "a b"])
def test_names_that_are_no_ids(name: str) -> None:
    with pytest.raises(EmbeddedError, match="device id"):
        issue_device(CA, name, NOW)


@pytest.mark.parametrize("hosts", [[], ["a b"], [""], ["http://x"]])
def test_names_that_are_no_hosts(hosts: list[str]) -> None:
    with pytest.raises(EmbeddedError):
        issue_server(CA, hosts, NOW)


def test_a_list_names_the_revoked() -> None:
    made = issue_device(CA, "VB-1", NOW)
    text = revocation_list(CA, [(made.serial, NOW)], next_update(None, NOW), 7)
    assert list_serials(text) == {made.serial}
    assert list_serials(revocation_list(CA, [], NOW, 1)) == list_serials(b"nonsense") == set()
    crl = x509.load_pem_x509_crl(text)
    signer = x509.load_pem_x509_certificate(CA.certificate)
    assert crl.is_signature_valid(signer.public_key())  # type: ignore[arg-type]
    assert list_update(b"nonsense") is None


def test_each_list_is_later_than_the_one_before_and_none_is_from_the_future() -> None:
    update = next_update(None, NOW)
    for _ in range(1000):
        following = next_update(update, NOW)
        assert update < following < NOW
        update = following
    assert next_update(update, NOW + timedelta(days=1)) > update
    assert list_update(revocation_list(CA, [], update, 1)) == update


def test_an_authority_is_not_replaced(tmp_path: Path) -> None:
    folder = TlsFolder(tmp_path / "tls")
    with pytest.raises(EmbeddedError, match="ca init"):
        folder.authority()
    made = folder.make(["localhost"], NOW)
    assert folder.authority().serial == made.serial
    with pytest.raises(EmbeddedError, match="ca server"):
        folder.make(["localhost"], NOW)
    before = (tmp_path / "tls/server.crt").read_bytes()
    folder.renew_server(["other.example.net"], NOW)
    assert (tmp_path / "tls/server.crt").read_bytes() != before
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "tls").iterdir()} == {0}
