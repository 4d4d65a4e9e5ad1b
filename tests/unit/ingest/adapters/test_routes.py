"""Topic filters, and messages on their way through an adapter."""

from __future__ import annotations

import pytest

from ingest.adapters import catalogue
from ingest.adapters.routes import Adapters, Route, hook_route, parse_route, rest_of
from ingest.messages import Message, Rules, decode
from ingest.topics import FOREIGN
from tests.unit.ingest.adapters import samples as s
from tests.unit.ingest.adapters.vendor import NOW_US, ZONE


def message(topic: str, payload: bytes, packet_id: int = 1) -> Message:
    return Message(topic, payload, NOW_US, None, False, 1, packet_id)


@pytest.mark.parametrize(
    ("pattern", "topic", "rest"),
    [
        ("a/#", "a/b/c", "b/c"),
        ("a/#", "a", ""),
        ("a/+/c", "a/b/c", "b/c"),
        ("a/b", "a/b", "b"),
        ("a/+/#", "a/b/c/d", "b/c/d"),
        ("a/b", "a/b/c", None),
        ("a/+", "a/b/c", None),
        ("a/#", "b/a", None),
        ("a/b/#", "a", None),
    ],
)
def test_filters_match_as_mqtt_says(pattern: str, topic: str, rest: str | None) -> None:
    assert rest_of(pattern, topic) == rest


def test_a_route_may_put_a_prefix_before_its_ids() -> None:
    assert parse_route(" siteA/frigate/# ", "frigate@siteA. ") == Route("siteA/frigate/#", "frigate", "siteA.")
    adapters = Adapters([parse_route("frigate/#", "frigate@siteA.")], ZONE)
    (found,), _ = adapters.translate([message("frigate/reviews", s.text(s.FRIGATE_REVIEW))])
    assert found.topic.device_id == "siteA.front_cam"


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("#", "frigate"), ("+/x", "frigate"), ("$SYS/#", "frigate"), ("sensors/#", "frigate"),
        ("runs/x", "frigate"),
        ("hooks/x", "frigate"), ("a/#/b", "frigate"), ("a/b+", "frigate"), ("", "frigate"), ("a/#", "nobody"),
        ("a/#", "frigate@a b"),
    ],
)  # fmt: skip
def test_filters_that_reach_into_our_own_topics_are_refused(pattern: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"filter|adapter|prefix"):
        parse_route(pattern, target)


def test_only_what_is_refused_for_its_topic_reaches_an_adapter() -> None:
    own = message("sensors/A/readings", b'{"t": 1795400000, "values": {"x": 1}}')
    other = message("frigate/reviews", b"{}")
    decoded, refused = decode([own, other], Rules(ZONE, True, True))
    assert [d.message for d in decoded] == [own]
    assert [(r.message, r.reason) for r in refused] == [(other, FOREIGN)]


def test_several_devices_of_one_message_are_several_contents_of_it() -> None:
    adapters = Adapters([parse_route("v1/gateway/#", "thingsboard")], ZONE)
    gateway = message("v1/gateway/telemetry", s.text(s.THINGSBOARD))
    decoded, refused = adapters.translate([gateway])
    assert [d.message is gateway for d in decoded] == [True, True]
    assert refused == []
    assert adapters.counts == {("thingsboard", "taken"): 1}


def test_what_is_nobodys_is_refused_and_what_breaks_is_too() -> None:
    adapters = Adapters([parse_route("frigate/#", "frigate")], ZONE)
    decoded, refused = adapters.translate(
        [message("other/x", b""), message("frigate/reviews", b"{"), message("frigate/stats", b"{}")]
    )
    assert decoded == []
    assert [r.reason for r in refused] == ["foreign_topic", "not_json"]
    assert adapters.counts == {("frigate", "quarantined"): 1, ("frigate", "ignored"): 1}


def test_a_mistake_of_ours_is_quarantined_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> list[object]:
        raise KeyError("ours")

    monkeypatch.setitem(catalogue.ADAPTERS, "tasmota", lambda ports: broken)
    adapters = Adapters([Route("tele/#", "tasmota")], ZONE)
    _, (refusal,) = adapters.translate([message("tele/x/SENSOR", b"{}")])
    assert (refusal.reason, "tasmota: KeyError" in refusal.detail) == ("decoder_error", True)


def test_hooks_are_no_subscription_and_two_sites_keep_their_own_state() -> None:
    two = [parse_route(f"{site}/spBv1.0/#", f"sparkplug@{site}.") for site in "ab"]
    routes = [hook_route("hikvision"), *two]
    adapters = Adapters(routes, ZONE)
    assert adapters.filters == ("a/spBv1.0/#", "b/spBv1.0/#")
    adapters.translate([message("a/spBv1.0/G1/NBIRTH/E1", s.NBIRTH)])
    data = s.sparkplug(1, NOW_US // 1000, {"alias": 7, "float_value": 1.0})
    known, _ = adapters.translate([message("a/spBv1.0/G1/NDATA/E1", data)])
    _, unknown = adapters.translate([message("b/spBv1.0/G1/NDATA/E1", data)])
    assert (len(known), unknown[0].reason) == (1, "unknown_alias")
    assert [topic for topic, _ in adapters.requests()] == ["b/spBv1.0/G1/NCMD/E1"]
    assert adapters.requests() == []


def test_only_discovery_wants_retained_messages_again() -> None:
    routes = [parse_route("homeassistant/#", "home_assistant"), parse_route("cam/onvif-ej/#", "onvif")]
    assert Adapters(routes, ZONE).retained_filters == {"homeassistant/#"}
