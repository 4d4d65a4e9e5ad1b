from __future__ import annotations

import mqtt5
import pytest

from domain.errors import BrokerUnavailable, SettingsError
from ingest.session import Endpoint, check_connack, check_suback, puback_block


def test_a_block_of_acknowledgements_is_what_the_codec_would_write() -> None:
    ids = [1, 255, 256, 65535]
    assert puback_block(ids) == b"".join(mqtt5.PubAckPacket(packet_id).write() for packet_id in ids)


def test_an_address_is_taken_apart() -> None:
    endpoint = Endpoint.parse("mqtts://us%40er:p%3Aw@broker.example")
    assert (endpoint.host, endpoint.port, endpoint.tls) == ("broker.example", 8883, True)
    assert (endpoint.username, endpoint.password) == ("us@er", "p:w")
    assert Endpoint.parse("mqtt://h:1884").port == 1884


@pytest.mark.parametrize("url", ["http://h", "mqtt://", "h:1883"])
def test_what_is_no_mqtt_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="mqtt://user:password@host:1883"):
        Endpoint.parse(url)


def test_refusals_are_named() -> None:
    with pytest.raises(BrokerUnavailable, match="NOT_AUTHORIZED"):
        check_connack(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED))
    with pytest.raises(BrokerUnavailable, match="sensors/#"):
        check_suback(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]), ["sensors/#"])
