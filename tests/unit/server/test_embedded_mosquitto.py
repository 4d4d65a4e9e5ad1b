import resource
import socket
from pathlib import Path

import pytest

from domain.errors import EmbeddedError
from server.embedded.home import Home
from server.embedded.mosquitto import (
    FILES_KEPT,
    bounded_connections,
    client_host,
    mqtt_url,
    places,
    render_conf,
    require_free_port,
    template_path,
)
from server.embedded.privileges import RunAs
from server.embedded.tls import BrokerTls, Login, TlsListener

HOME = Home(Path("/h o m e"))


def settings(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, value) for name, _, value in (line.partition(" ") for line in lines)]


def test_places_are_put_where_the_template_has_them() -> None:
    text = render_conf(
        "# why\nlistener 1883 127.0.0.1\npersistence true\n", {"listener": "9 ::1", "acl_file": "/a"}
    )
    assert text.splitlines()[1:] == ["# why", "listener 9 ::1", "persistence true", "acl_file /a"]


def test_a_setting_that_stands_twice_is_put_once() -> None:
    assert settings(render_conf("log_dest stderr\nlog_dest syslog\n", {"log_dest": "stdout"})) == [
        ("log_dest", "stdout")
    ]


def test_the_repositorys_file_is_the_brokers_configuration() -> None:
    template = settings(template_path().read_text())
    made = settings(render_conf(template_path().read_text(), places(HOME, "127.0.0.1", 1999, 500)))
    # Nothing is added that the file does not name, and nothing of it is lost.
    assert [name for name, _ in made] == [name for name, _ in template]
    changed = {name for (name, a), (_, b) in zip(template, made, strict=True) if a != b}
    assert changed == {"port", "max_connections", "password_file", "acl_file", "persistence_location", "pid_file"}
    values = dict(made)
    assert (values["port"], values["bind_address"], values["max_connections"]) == ("1999", "127.0.0.1", "500")
    assert values["persistence_location"] == "/h o m e/broker/store/"


def test_with_tls_the_default_listener_is_the_one_strangers_reach(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.broker.mkdir()
    logins: list[tuple[Login, bool]] = [("certificate", True), ("password", False)]
    for login, by_certificate in logins:
        tls = BrokerTls(home.tls, home.broker, TlsListener("0.0.0.0", 8883, login), RunAs("me", None, None))
        text = render_conf(template_path().read_text(), places(home, "127.0.0.1", 1999, 500, tls.settings(500)))
        made = settings(text)
        names = [name for name, _ in made]
        assert len(names) - len(set(names)) == 2, "log_type stands three times, nothing else twice"
        # What follows a "listener" is about that listener: it must be the last, or plain would be TLS.
        assert made[-1] == ("listener", "1999 127.0.0.1")
        values = dict(made)
        assert (values["port"], values["bind_address"], values["max_connections"]) == ("8883", "0.0.0.0", "500")
        assert values["use_username_as_clientid"] == "true"
        assert ("require_certificate" in values, "use_identity_as_username" in values) == (by_certificate,) * 2


def test_a_limit_leaves_the_broker_files_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    assert bounded_connections(100) == 100
    assert bounded_connections(16_000) == 4096 - FILES_KEPT
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, resource.RLIM_INFINITY))
    assert bounded_connections(16_000) == 16_000


def test_the_settings_that_keep_messages() -> None:
    values = dict(settings(template_path().read_text()))
    assert values["persistence"] == "true"
    assert values["autosave_interval"] == "30"
    # 0 would cut a client off for each publish that the ACL denies (Mosquitto 2.0).
    assert int(values["max_queued_messages"]) == 10**9
    assert int(values["max_queued_bytes"]) == 2**30
    assert values["max_inflight_messages"] == "65535"
    assert values["set_tcp_nodelay"] == "true"
    assert values["allow_anonymous"] == "false"
    assert int(values["max_packet_size"]) == 2 * 2**20
    # It would also end the server's own session, and its queue with it.
    assert "persistent_client_expiration" not in values


def test_client_host() -> None:
    assert client_host("0.0.0.0") == "127.0.0.1"
    assert client_host("192.0.2.7") == "192.0.2.7"
    assert mqtt_url("n", "p", "::", 1883) == "mqtt://n:p@[::1]:1883"
    assert mqtt_url("n", "p", "127.0.0.1", 1883) == "mqtt://n:p@127.0.0.1:1883"


def test_a_taken_port_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"port {port} is taken .* GRIDPULSE_MQTT_PORT"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)


def test_an_address_that_is_not_ours_names_the_setting() -> None:
    with pytest.raises(EmbeddedError, match="GRIDPULSE_MQTT_HOST"):
        require_free_port("192.0.2.1", 1883)
