"""From which hosts pictures and clips may be fetched, and under which addresses. Pure.

    cams.example.com            the name, at public addresses only
    frigate.lan=192.168.1.0/24  the name, at addresses of this network only
    10.1.2.3                    this address
    frigate.lan:5000=10.0.0.0/8 with a port: that port only

An event's address is written by whoever sent the event. A name that is allowed may be
made to resolve to anything by whoever answers for it, so a name without a network never
reaches a private, loopback or link-local address: say the network where a camera has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}
HOST_CHARACTERS_MAX = 253


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """``port`` None: the scheme's own; ``network`` None: public addresses only."""

    host: str
    port: int | None
    network: Network | None

    @classmethod
    def parse(cls, text: str) -> AllowedHost:
        """Raises: ValueError that says what is wrong."""
        where, _, network = text.strip().partition("=")
        parts = urlsplit(f"//{where.strip()}")
        host = (parts.hostname or "").rstrip(".")
        if not host or parts.path or parts.username or len(host) > HOST_CHARACTERS_MAX or "*" in host:
            raise ValueError(f"{text!r}: a host looks like cams.example.com or frigate.lan:5000=192.168.1.0/24")
        port = parts.port
        if network.strip():
            return cls(host, port, ip_network(network.strip()))
        try:
            return cls(host, port, ip_network(ip_address(host)))
        except ValueError:
            return cls(host, port, None)

    def takes(self, address: Address) -> bool:
        """Whether this address is what the entry meant."""
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return address.is_global and not address.is_multicast


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be fetched; ``path`` with its query."""

    scheme: str
    host: str
    port: int
    path: str
    allowed: AllowedHost


def target(url: str, hosts: Sequence[AllowedHost]) -> Target | str:
    """Where to fetch a URL, or why not."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "not an address"
    if parts.scheme not in PORTS or not parts.hostname:
        return "only http and https addresses are fetched"
    if parts.username or parts.password:
        return "an address with a password in it is not fetched"
    if any(ord(sign) <= 32 or ord(sign) >= 127 for sign in url):
        return "not an address: it holds spaces or signs beyond ASCII"
    host, port = parts.hostname.rstrip("."), port or PORTS[parts.scheme]
    for allowed in hosts:
        if allowed.host == host and port == (allowed.port or PORTS[parts.scheme]):
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return Target(parts.scheme, host, port, path, allowed)
    return f"{host}:{port} is not among GRIDPULSE_MEDIA_HOSTS"
