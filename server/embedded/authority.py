"""A small certificate authority: the broker's certificate, devices' certificates, the list of the revoked. Pure.

X.509 on P-256. Refuses names that are no host, no address and no device id. The caller
keeps the files; time is an argument. Certificates begin an hour early and lists name
their own moment in the past, so that a device with a clock a little behind is let in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from domain.errors import EmbeddedError

AUTHORITY_DAYS = 3650
SERVER_DAYS = 825
DEVICE_DAYS = 825
#: A list that is not renewed any more shuts everybody out after this.
LIST_DAYS = 365

_EARLY = timedelta(hours=1)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*")
_DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, both as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    serial: str
    not_after: datetime


def make_authority(name: str, now: datetime, days: int = AUTHORITY_DAYS) -> Certificate:
    """A new authority: it signs what the functions below make, and itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _begun(name, now, days, key, issuer=_name(name))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _finished(builder, key, key)


def issue_server(
    authority: Certificate, hosts: Sequence[str], now: datetime, days: int = SERVER_DAYS
) -> Certificate:
    """The broker's certificate for these names and addresses. Raises: EmbeddedError for a bad one."""
    if not hosts:
        raise EmbeddedError("a server certificate needs the names devices reach it by: give --host")
    return _issue(authority, hosts[0][:64], now, days, ExtendedKeyUsageOID.SERVER_AUTH, [_host(h) for h in hosts])


def issue_device(authority: Certificate, device_id: str, now: datetime, days: int = DEVICE_DAYS) -> Certificate:
    """A device's certificate: its common name is the device's id. Raises: EmbeddedError for a bad id."""
    if not _DEVICE.fullmatch(device_id):
        raise EmbeddedError(f"{device_id!r}: a device id is 1-64 of A-Za-z0-9._-")
    return _issue(authority, device_id, now, days, ExtendedKeyUsageOID.CLIENT_AUTH, [])


def revocation_list(
    authority: Certificate, revoked: Iterable[tuple[str, datetime]], this_update: datetime, number: int
) -> bytes:
    """The signed list (PEM) of serials (hexadecimal) and when each was revoked.

    Of two lists OpenSSL believes the one with the later ``this_update``, counted in
    whole seconds, and none from the future: see `next_update`.
    """
    signer = x509.load_pem_x509_certificate(authority.certificate)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.subject)
        .last_update(this_update)
        .next_update(this_update + timedelta(days=LIST_DAYS))
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial, at in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(at).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(_key(authority), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def next_update(previous: datetime | None, now: datetime) -> datetime:
    """The moment a new list names: after the previous one's, and some way back from ``now``.

    The way back is what lets several lists a second follow each other for a while.
    """
    early = now.replace(microsecond=0) - _EARLY
    return early if previous is None else max(early, previous + timedelta(seconds=1))


def list_update(pem: bytes) -> datetime | None:
    """The moment a list names; None when it cannot be read."""
    try:
        return x509.load_pem_x509_crl(pem).last_update_utc
    except ValueError:
        return None


def list_serials(pem: bytes) -> set[str]:
    """The serials on a list; none when it cannot be read."""
    try:
        return {_serial(entry.serial_number) for entry in x509.load_pem_x509_crl(pem)}
    except ValueError:
        return set()


def read_certificate(certificate: bytes, key: bytes) -> Certificate:
    """A certificate from its files. Raises: EmbeddedError when they cannot be read."""
    try:
        read = x509.load_pem_x509_certificate(certificate)
        serialization.load_pem_private_key(key, None)
    except ValueError as error:
        raise EmbeddedError(f"a certificate or key is not readable ({error}): make it anew") from error
    return Certificate(certificate, key, _serial(read.serial_number), read.not_valid_after_utc)


def _issue(
    authority: Certificate, name: str, now: datetime, days: int, purpose: x509.ObjectIdentifier,
    hosts: Sequence[x509.GeneralName],
) -> Certificate:  # fmt: skip
    signer = x509.load_pem_x509_certificate(authority.certificate)
    key, signing = ec.generate_private_key(ec.SECP256R1()), _key(authority)
    builder = _begun(name, now, days, key, issuer=signer.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return _finished(builder, key, signing)


def _begun(
    name: str, now: datetime, days: int, key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=days))
    )


def _finished(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signing: ec.EllipticCurvePrivateKey
) -> Certificate:
    made = builder.sign(signing, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM), pem, _serial(made.serial_number), made.not_valid_after_utc
    )


def _serial(number: int) -> str:
    return f"{number:x}"


def _key(authority: Certificate) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EmbeddedError("the authority's key is not of a kind we use (P-256): make the authority anew")
    return key


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise EmbeddedError(f"{host!r} is neither a host name nor an address") from None
        return x509.DNSName(host)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature, key_cert_sign=key_cert_sign, crl_sign=crl_sign,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
