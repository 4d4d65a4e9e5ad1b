import socket
from pathlib import Path

import pytest

from domain.errors import EmbeddedError
from server.embedded.home import Home
from server.embedded.mosquitto import (
    client_host,
    mqtt_url,
    places,
    render_conf,
    require_free_port,
    template_path,
)

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


def test_the_settings_that_keep_messages() -> None:
    values = dict(settings(template_path().read_text()))
    assert values["persistence"] == "true"
    assert values["autosave_interval"] == "5"
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
