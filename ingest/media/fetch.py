"""One GET of a picture or clip, to an address that was checked. Blocking: run it in a thread.

The name is resolved once and the connection goes to that very address, so a second answer
of the name server changes nothing. Refuses: redirects, addresses the allowed host did not
mean, more bytes than the limit, more time than the limit.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from ipaddress import ip_address

from ingest.media.hosts import Target

CHUNK_BYTES = 64 * 1024
STEP_S = 5.0
HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp, video/mp4",
    "User-Agent": "gridpulse",
    "Connection": "close",
}


class Refused(Exception):
    """It will not be fetched, now or later."""


class Failed(Exception):
    """It could not be fetched now."""


def fetch(where: Target, *, bytes_max: int, seconds_max: float) -> bytes:
    """The body. Raises: Refused, Failed."""
    deadline_s = time.monotonic() + seconds_max
    try:
        connection = connect(where, resolve(where))
        try:
            return read(connection, where, bytes_max, deadline_s)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{where.host}: {error or type(error).__name__}") from error


def resolve(where: Target) -> str:
    """An address of the host that its entry allows. Raises: Refused, Failed."""
    try:
        found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failed(f"{where.host} is not known: {error}") from error
    addresses = [str(info[4][0]) for info in found]
    for address in addresses:
        if where.allowed.takes(ip_address(address.partition("%")[0])):
            return address
    raise Refused(
        f"{where.host} is at {', '.join(addresses[:3])}, which its entry in GRIDPULSE_MEDIA_HOSTS does not allow"
    )


def connect(where: Target, address: str) -> http.client.HTTPConnection:
    """A connection to this address under the host's name. Raises: OSError."""
    made = socket.create_connection((address, where.port), timeout=STEP_S)
    if where.scheme == "https":
        try:
            made = ssl.create_default_context().wrap_socket(made, server_hostname=where.host)
        except BaseException:
            made.close()
            raise
    connection = http.client.HTTPConnection(where.host, where.port, timeout=STEP_S)
    connection.sock = made
    return connection


def read(connection: http.client.HTTPConnection, where: Target, bytes_max: int, deadline_s: float) -> bytes:
    """Ask and read, within both limits. Raises: Refused, Failed, OSError."""
    connection.request("GET", where.path, headers=HEADERS)
    answer = connection.getresponse()
    if 300 <= answer.status < 400:
        raise Refused(f"{where.host} answers with a redirect, which is not followed")
    if answer.status != 200:
        raise Failed(f"{where.host} answers {answer.status}")
    if (answer.length or 0) > bytes_max:
        raise Refused(f"{answer.length} bytes, more than {bytes_max}")
    chunks: list[bytes] = []
    taken = 0
    while chunk := answer.read1(CHUNK_BYTES):
        taken += len(chunk)
        if taken > bytes_max:
            raise Refused(f"more than {bytes_max} bytes")
        if time.monotonic() > deadline_s:
            raise Failed(f"{where.host} takes too long")
        chunks.append(chunk)
    return b"".join(chunks)
