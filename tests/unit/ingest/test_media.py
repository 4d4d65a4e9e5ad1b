"""From where pictures may come, and what the folder takes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest

from db.media import MediaFolder
from domain.errors import PayloadError
from ingest.media.fetch import Failed, Refused, fetch
from ingest.media.hosts import AllowedHost, Target, target

JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 10


@pytest.mark.parametrize(
    ("entry", "address", "taken"),
    [
        ("cams.example.com", "93.184.215.14", True),
        ("cams.example.com", "10.1.2.3", False),
        ("cams.example.com", "127.0.0.1", False),
        ("cams.example.com", "169.254.169.254", False),
        ("cams.example.com", "::1", False),
        ("cams.example.com", "::ffff:10.0.0.1", False),
        ("cams.example.com", "fd00::1", False),
        ("cams.example.com", "100.64.0.1", False),
        ("frigate.lan=192.168.1.0/24", "192.168.1.7", True),
        ("frigate.lan=192.168.1.0/24", "192.168.2.7", False),
        ("frigate.lan=192.168.1.0/24", "8.8.8.8", False),
        ("frigate.lan=192.168.1.0/24", "::ffff:192.168.1.7", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
    ],
)
def test_a_name_reaches_only_the_addresses_its_entry_means(entry: str, address: str, taken: bool) -> None:
    assert AllowedHost.parse(entry).takes(ip_address(address)) is taken


@pytest.mark.parametrize("entry", ["", "http://x", "*.example.com", "x=notanetwork", "x:99999", "user@x", "a/b"])
def test_entries_that_cannot_be_read_are_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AllowedHost.parse(entry)


HOSTS = [AllowedHost.parse("cams.example.com"), AllowedHost.parse("frigate.lan:5000=10.0.0.0/8")]


@pytest.mark.parametrize(
    ("url", "ok"),
    [
        ("http://cams.example.com/a.jpg?x=1", True),
        ("https://CAMS.example.com/a.jpg", True),
        ("http://cams.example.com./a.jpg", True),
        ("http://frigate.lan:5000/api", True),
        ("http://frigate.lan/api", False),
        ("http://cams.example.com:8080/", False),
        ("ftp://cams.example.com/", False),
        ("http://evil.example.com/", False),
        ("http://cams.example.com@evil.example.com/", False),
        ("http://user:pw@cams.example.com/", False),
        ("file:///etc/passwd", False),
        ("http://[::1", False),
        ("http://cams.example.com/a b", False),
        ("http://cams.example.com/\r\nHost: x", False),
        ("media:aa", False),
    ],
)
def test_only_addresses_of_allowed_hosts_are_fetched(url: str, ok: bool) -> None:
    assert isinstance(target(url, HOSTS), Target) is ok


class Camera(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        body = JPEG * (10_000 if self.path == "/huge" else 1)
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def get(url: str, entry: str, bytes_max: int = 10_000) -> bytes:
    where = target(url, [AllowedHost.parse(entry)])
    assert isinstance(where, Target), where
    return fetch(where, bytes_max=bytes_max, seconds_max=5)


def test_a_picture_is_fetched_within_its_limits(port: int) -> None:
    entry = f"localhost:{port}=127.0.0.0/8"
    for path in ("/a.jpg", "/unsized"):
        assert get(f"http://localhost:{port}{path}", entry) == JPEG
    with pytest.raises(Refused, match="more than"):
        get(f"http://localhost:{port}/huge", entry)
    with pytest.raises(Refused, match="more than"):
        get(f"http://localhost:{port}/unsized", entry, bytes_max=10)
    with pytest.raises(Refused, match="redirect"):
        get(f"http://localhost:{port}/moved", entry)
    with pytest.raises(Failed, match="404"):
        get(f"http://localhost:{port}/gone", entry)


def test_a_name_that_resolves_to_another_network_is_not_connected_to(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def private(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", private)
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        get(f"http://cams.example.com:{port}/a.jpg", f"cams.example.com:{port}")


def test_the_folder_keeps_by_hash_and_knows_kinds_by_their_bytes(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path / "media")
    name = folder.put(JPEG)
    assert folder.put(JPEG) == name
    found = folder.find(name)
    assert found is not None
    assert (found[0].read_bytes(), found[1]) == (JPEG, "image/jpeg")
    for bad in (b"<svg onload=x>", b"<html>", b"", b"GIF89a"):
        with pytest.raises(PayloadError, match="bad_media"):
            folder.put(bad)
    for asked in ("../../etc/passwd", "x", name.upper(), name + "/..", name.replace("jpg", "png")):
        assert folder.find(asked) is None


def test_the_folder_is_bounded_by_age_and_by_size(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path)
    names = [folder.put(JPEG + bytes([n])) for n in range(4)]
    for at_s, name in enumerate(names):
        found = folder.find(name)
        assert found is not None
        os.utime(found[0], (at_s, at_s))
    size = len(JPEG) + 1
    swept = folder.sweep(older_than_s=1, bytes_max=2 * size)
    assert (swept.removed, swept.files, swept.bytes) == (2, 2, 2 * size)
    assert [folder.find(name) is not None for name in names] == [False, False, True, True]
