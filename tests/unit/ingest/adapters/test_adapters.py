"""Every adapter against the payloads its vendor's devices and documents have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from domain.errors import PayloadError
from ingest.adapters.catalogue import ADAPTERS
from ingest.adapters.gat1400 import without_persons
from ingest.adapters.things import device_id
from ingest.codec import Packet, Values
from tests.unit.ingest.adapters import samples as s
from tests.unit.ingest.adapters.vendor import (
    NOW_US,
    Surroundings,
    adapt,
    event_of,
    given,
    status_of,
    us,
    values_of,
)


@pytest.mark.parametrize("sample", s.SAMPLES, ids=lambda sample: sample.name)
def test_a_real_payload_names_its_device_and_is_not_ahead_of_its_arrival(sample: s.Sample) -> None:
    things = adapt(sample.adapter, sample.topic, sample.payload, sample.pattern, sample.clock_us)
    assert things[0].device_id == sample.device
    assert all(thing.time_us <= sample.clock_us for thing in things)


def test_every_adapter_has_a_sample() -> None:
    assert {sample.adapter for sample in s.SAMPLES} | {"home_assistant"} == set(ADAPTERS)


def reason(name: str, topic: str, payload: Any, pattern: str = "#", clock_us: int = NOW_US) -> tuple[str, str]:
    with pytest.raises(PayloadError) as caught:
        adapt(name, topic, payload, pattern, clock_us)
    return caught.value.reason, caught.value.detail


# ---------------------------------------------------------------- OpenEEW


def test_openeew_dates_the_last_sample_and_counts_back_by_the_rate_not_the_length() -> None:
    (thing,) = adapt("openeew", "traces/grillo/000", s.OPENEEW_CURRENT, clock_us=s.OPENEEW_NOW_US)
    packet = thing.content
    assert isinstance(packet, Packet)
    assert packet.start_us == round(1517258400.695 * 1e6) - round(31 / 31.25 * 1e6)
    assert packet.rate_hz == 31.25
    np.testing.assert_allclose(packet.samples[0, :3], [0, 0.001, 0.002], atol=1e-7)  # gal → m/s²


def test_openeew_believes_the_cloud_before_the_device() -> None:
    (thing,) = adapt("openeew", "traces/u/000", s.OPENEEW_ARCHIVE, clock_us=s.OPENEEW_NOW_US)
    assert thing.time_us == round(1517258400.694 * 1e6) - round(31 / 31.25 * 1e6)


def test_openeew_watson_joins_its_traces_and_takes_the_arrival() -> None:
    topic = "iot-2/type/OpenEEW/id/A8032A4DD5F0/evt/trace/fmt/json"
    (thing,) = adapt("openeew", topic, s.OPENEEW_WATSON, clock_us=s.OPENEEW_NOW_US)
    assert isinstance(thing.content, Packet)
    assert thing.content.samples.shape == (3, 64)
    assert thing.time_us == s.OPENEEW_NOW_US - round(63 / 31.25 * 1e6)


def test_openeew_encoded_twice_is_the_same_message() -> None:
    once = adapt("openeew", "traces/u/000", s.OPENEEW_CURRENT, clock_us=s.OPENEEW_NOW_US)[0]
    twice = adapt("openeew", "traces/u/000", json.dumps(s.OPENEEW_CURRENT), clock_us=s.OPENEEW_NOW_US)[0]
    assert (once.device_id, once.time_us) == (twice.device_id, twice.time_us)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"device_id": "001"}, ("device_mismatch", "payload.device_id")),
        ({"traces": {"x": [1], "y": [1]}}, ("missing", "payload.traces.z")),
        ({"traces": {"x": [1], "y": [1, 2], "z": [1]}}, ("bad_length", "payload.traces")),
        ({"traces": {"x": ["a"], "y": [1], "z": [1]}}, ("wrong_type", "payload.traces.x")),
        ({"traces": []}, ("empty", "payload")),
        ({"sr": 0.0000001}, ("bad_rate", "payload.sr")),
        ({"device_t": 1e10}, ("time_ahead", "payload.device_t")),
        ({"device_t": "soon"}, ("wrong_type", "payload.device_t")),
    ],
)
def test_openeew_names_the_field_that_is_wrong(change: dict[str, Any], expected: tuple[str, str]) -> None:
    told = reason("openeew", "traces/u/000", s.OPENEEW_CURRENT | change, clock_us=s.OPENEEW_NOW_US)
    assert (told[0], expected[1] in told[1]) == (expected[0], True), told


# ---------------------------------------------------------------- cameras


def frigate(phase: str, topic: str = "frigate/reviews", url: str = "", **after: Any) -> Any:
    base = s.FRIGATE_REVIEW_AFTER if topic.endswith("reviews") else s.FRIGATE_EVENT_AFTER
    payload = {"type": phase, "before": base, "after": base | after}
    return adapt("frigate", topic, payload, clock_us=s.FRIGATE_NOW_US, frigate_url=url)[0]


def test_a_frigate_review_begins_is_promoted_and_ends_as_one_event() -> None:
    began = frigate("new", severity="detection")
    promoted = frigate("update")
    ended = frigate("end", end_time=1718987149.0)
    assert [event_of(t).phase for t in (began, promoted, ended)] == ["start", "update", "end"]
    assert [event_of(t).type for t in (began, promoted, ended)] == ["motion", "intrusion", "intrusion"]
    assert len({event_of(t).event_id for t in (began, promoted, ended)}) == 1
    assert began.time_us == 1718987129308396
    assert promoted.time_us == 1718987148879516  # the newest object's start: the same at each delivery
    assert ended.time_us == 1718987149000000


def test_a_frigate_review_with_fire_is_fire_whatever_its_severity() -> None:
    data = {"objects": ["person", "fire"], "detections": []}
    assert event_of(frigate("new", severity="detection", data=data)).type == "fire"


def test_a_frigate_object_has_label_score_and_address_of_its_picture() -> None:
    thing = frigate("update", "frigate/events", url="http://frigate:5000/")
    event = event_of(thing)
    assert (event.type, event.score, thing.time_us) == ("person", 0.87890625, 1607123962082975)
    assert event.snapshot_url == "http://frigate:5000/api/events/1607123955.475377-mxklsc/snapshot.jpg"
    assert "Wyatt" not in repr(event)


@pytest.mark.parametrize(
    "topic", ["frigate/available", "frigate/stats", "frigate/cam/person/snapshot", "frigate/cam/motion"]
)
def test_what_frigate_says_besides_is_ignored(topic: str) -> None:
    assert adapt("frigate", topic, b"\xff\xd8 picture") == []


def test_frigate_names_the_field_that_is_wrong() -> None:
    assert reason("frigate", "frigate/reviews", {"type": "begin", "after": {}})[1].startswith("payload.type")
    assert reason("frigate", "frigate/reviews", {"type": "new"}) == ("missing", "payload.after is not there")
    no_camera = {k: v for k, v in s.FRIGATE_REVIEW_AFTER.items() if k != "camera"}
    told = reason("frigate", "frigate/reviews", {"type": "new", "after": no_camera}, clock_us=s.FRIGATE_NOW_US)
    assert told == ("missing", "payload.after.camera is not there")


MOTION = "Cam1/onvif-ej/RuleEngine/CellMotionDetector/Motion/&VideoSource_1/Rule1"


def onvif(topic: str = MOTION, data: Any = None, source: Any = None) -> Any:
    payload = {"UtcTime": "2026-11-23T00:00:00Z", "Source": source or {"Rule": "Rule1"}, "Data": data or {}}
    return adapt("onvif", topic, payload)[0]


@pytest.mark.parametrize(
    ("value", "phase"), [(True, "start"), ("true", "start"), (1, "start"), (False, "end"), ("false", "end")]
)
def test_an_onvif_property_begins_and_ends_with_and_without_quotes(value: Any, phase: str) -> None:
    event = event_of(onvif(data={"IsMotion": value}))
    assert (event.phase, event.type) == (phase, "motion")


def test_a_deleted_onvif_property_ends_the_same_event() -> None:
    (gone,) = adapt("onvif", MOTION, b"")
    assert event_of(gone).phase == "end"
    assert event_of(gone).event_id == event_of(onvif(data={"IsMotion": True})).event_id


def test_a_second_source_of_an_onvif_recorder_is_a_device_of_its_own() -> None:
    thing = onvif(data={"IsMotion": True}, source={"VideoSourceConfigurationToken": "Channel2", "Rule": "R"})
    assert thing.device_id == "Cam1-Channel2"


def test_onvif_sensor_values_are_readings_of_their_quantity() -> None:
    sample = next(x for x in s.SAMPLES if x.name == "onvif sensor")
    (thing,) = adapt(sample.adapter, sample.topic, sample.payload, clock_us=sample.clock_us)
    assert values_of(thing) == {"temperature_c": 28.65, "temperature_threshold": 25.15}


def test_onvif_names_the_field_that_is_wrong() -> None:
    assert reason("onvif", MOTION, {"Data": {}}) == ("missing", "payload.UtcTime is not there")
    bad = {"UtcTime": "2026-11-23T00:00:00Z", "Data": {"IsMotion": "maybe"}}
    assert reason("onvif", MOTION, bad)[1] == "payload.Data.IsMotion is not true or false"


def hikvision(xml: str, topic: str = "hooks/hikvision/_") -> Any:
    return adapt("hikvision", topic, xml.encode(), clock_us=s.HIKVISION_NOW_US)[0]


def test_hikvision_intrusion_with_its_target_and_picture() -> None:
    thing = hikvision(s.HIKVISION_XML, "hooks/hikvision/CAM-7/aa.jpg")
    event = event_of(thing)
    assert (thing.device_id, event.type, event.phase, event.objects) == ("CAM-7", "intrusion", "start", ("human",))
    assert event.box == pytest.approx((0.6, 0.215278, 0.735937, 0.720834))
    assert event.snapshot_url == "media:aa.jpg"
    assert thing.time_us == us("2022-01-31T13:53:05+01:00")


@pytest.mark.parametrize("namespace", ['xmlns="http://www.isapi.org/ver20/XMLSchema"', ""])
def test_hikvision_namespaces_do_not_matter(namespace: str) -> None:
    xml = s.HIKVISION_XML.replace('xmlns="http://www.hikvision.com/ver20/XMLSchema"', namespace)
    assert hikvision(xml) == hikvision(s.HIKVISION_XML)


def test_hikvision_recorder_channel_duration_and_end() -> None:
    xml = (
        s.HIKVISION_XML.replace("<channelID>1<", "<dynChannelID>33<")
        .replace("</channelID>", "</dynChannelID>")
        .replace("<eventType>fielddetection<", "<eventType>duration<")
        .replace("state>active", "state>inactive")
        .replace("<eventState>active", "<eventState>inactive")
        .replace(
            "<channelName>",
            "<DurationList><Duration><relationEvent>linedetection</relationEvent>"
            "</Duration></DurationList><channelName>",
        )
    )
    thing = hikvision(xml)
    assert (thing.device_id, event_of(thing).type, event_of(thing).phase) == (
        "acb92f494475-33",
        "line_crossing",
        "end",
    )


def test_hikvision_heartbeat_is_a_sign_of_life() -> None:
    xml = s.HIKVISION_XML.replace("fielddetection<", "videoloss<").replace(
        "<eventState>active", "<eventState>inactive"
    )
    assert status_of(hikvision(xml)).online is True


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<dateTime>2022-01-31T13:53:05+01:00</dateTime>", "", "EventNotificationAlert.dateTime is not there"),
        ("2022-01-31T13:53:05+01:00", "yesterday", "EventNotificationAlert.dateTime"),
        ("<eventState>active", "<eventState>maybe", "EventNotificationAlert.eventState"),
        ("<channelID>1<", "<channelID>one<", "EventNotificationAlert.channelID is not a number"),
        ("<X>0.6<", "<X>left<", "TargetRect.X is not a number"),
        ("EventNotificationAlert ", "ResponseStatus ", "payload"),
    ],
)
def test_hikvision_names_the_field_that_is_wrong(old: str, new: str, expected: str) -> None:
    told = reason(
        "hikvision", "hooks/hikvision/_", s.HIKVISION_XML.replace(old, new).encode(), clock_us=s.HIKVISION_NOW_US
    )
    assert expected in told[1]


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
    "<EventNotificationAlert><eventType>&b;</eventType></EventNotificationAlert>"
)
OUTSIDE = (
    '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><EventNotificationAlert>&e;</EventNotificationAlert>'
)


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (BOMB, "not_xml"),
        (OUTSIDE, "not_xml"),
        ("<a>" * 40 + "</a>" * 40, "too_deep"),
        ("<a>" + "<b/>" * 6000 + "</a>", "too_many_values"),
        ("<a>" + "x" * 5000 + "</a>", "too_long"),
        ("", "empty"),
        ("{}", "not_xml"),
        ("<a>" + "x" * 300_000 + "</a>", "too_large"),
    ],
)
def test_xml_that_means_harm_is_refused(xml: str, expected: str) -> None:
    assert reason("hikvision", "hooks/hikvision/_", xml.encode())[0] == expected


def test_xml_in_gb2312_is_read() -> None:
    xml = s.HIKVISION_XML.replace("UTF-8", "GB2312").replace("COUR NORD", "东门岗亭").encode("gb2312")
    (thing,) = adapt("hikvision", "hooks/hikvision/_", xml, clock_us=s.HIKVISION_NOW_US)
    assert "东门岗亭" in (event_of(thing).text or "")


def test_dahua_start_and_stop_are_one_event_on_its_channel() -> None:
    stop = s.DAHUA_MOTION.replace("Start", "Stop")
    body = f"--myboundary\r\nContent-Type: text/plain\r\n\r\n{s.DAHUA_MOTION}\r\n{stop}"
    began, ended = adapt("dahua", "hooks/dahua/NVR", body.encode())
    assert (began.device_id, event_of(began).type) == ("NVR-2", "motion")
    assert [event_of(t).phase for t in (began, ended)] == ["start", "end"]
    assert event_of(began).event_id == event_of(ended).event_id


def test_dahua_local_time_written_as_utc_is_taken_back() -> None:
    (right,) = adapt("dahua", "hooks/dahua/A", s.DAHUA_LINE.encode(), clock_us=s.DAHUA_NOW_US)
    local = s.DAHUA_LINE.replace("1620477656", str(1620477656 + 8 * 3600))
    (same,) = adapt("dahua", "hooks/dahua/A", local.encode(), clock_us=s.DAHUA_NOW_US)
    assert right.time_us == same.time_us == 1620477656180000


@pytest.mark.parametrize(
    ("topic", "body", "expected"),
    [
        ("hooks/dahua/_", s.DAHUA_MOTION, ("bad_id", "device")),
        ("hooks/dahua/A", "Code=VideoMotion;action=Dance;index=0", ("wrong_type", "action")),
        ("hooks/dahua/A", "nothing", ("missing", "Code=")),
        ("hooks/dahua/A", "Code=VideoMotion;action=Start;index=0;data={x}", ("not_json", "")),
        ("hooks/dahua/A", 'Code=VideoMotion;action=Start;index=0;data={"UTC":1e18}', ("bad_time", "data.UTC")),
        ("hooks/dahua/A", "Code=A;action=Start;index=0\n" * 300, ("too_many_values", "300")),
    ],
)
def test_dahua_names_what_is_wrong(topic: str, body: str, expected: tuple[str, str]) -> None:
    told = reason("dahua", topic, body.encode())
    assert (told[0], expected[1] in told[1]) == (expected[0], True), told


@pytest.mark.parametrize(
    ("alarm", "expected"),
    [
        ({"alarmMethod": "5", "alarmType": "6"}, "intrusion"),
        ({"alarmMethod": "2", "alarmType": "1"}, "video_loss"),
        ({"alarmMethod": "6", "alarmType": "2"}, "fan_fault"),
        ({"alarmType": 10}, "crowd"),
        ({"alarmMethod": "1"}, "alarm_telephone"),
        ({"alarmType": "fire"}, "fire"),
        ({"AlarmType": "6", "Info": {"AlarmType": "2"}}, "motion"),
    ],
)
def test_gb28181_types_by_the_standards_tables(alarm: dict[str, Any], expected: str) -> None:
    (thing,) = adapt("gb28181", "hooks/gb28181/_", {"gbId": "34020000001320000001", "alarmSn": "9", **alarm})
    assert event_of(thing).type == expected


def test_gb28181_local_time_has_the_citys_zone() -> None:
    notify = {"DeviceID": "34020000001320000001", "AlarmTime": "2026-11-23T09:00:00", "AlarmMethod": "5"}
    (thing,) = adapt("gb28181", "hooks/gb28181/_", notify)
    assert thing.time_us == us("2026-11-23T09:00:00+08:00")


def test_gat1400_keeps_no_person_and_no_plate() -> None:
    kept = without_persons(s.text(s.GAT1400))
    assert all(word not in kept.decode() for word in ("张三", "粤S", "FaceObject", "StorageUrl", "MotorVehicleID"))
    seen, ape = adapt("gat1400", "hooks/gat1400/_", kept, clock_us=s.GAT1400_NOW_US)
    assert (event_of(seen).type, seen.time_us) == ("vehicle_seen", us("2026-11-23T08:59:59+08:00"))
    assert status_of(ape).online is True
    assert without_persons(b"\x00 face of somebody").startswith(b"18 bytes")


# ---------------------------------------------------------------- sensors


def test_zigbee_names_may_hold_slashes_and_chinese_and_stay_apart() -> None:
    (one,) = adapt("zigbee2mqtt", "zigbee2mqtt/客厅/温度", {"temperature": 20}, "zigbee2mqtt/#")
    (two,) = adapt("zigbee2mqtt", "zigbee2mqtt/卧室/温度", {"temperature": 20}, "zigbee2mqtt/#")
    assert one.device_id != two.device_id
    assert all(len(t.device_id) <= 64 for t in (one, two))


def test_zigbee_commands_and_the_bridge_are_ignored_and_availability_is_status() -> None:
    for topic in ("zigbee2mqtt/bridge/state", "zigbee2mqtt/lamp/set", "zigbee2mqtt/lamp/get"):
        assert adapt("zigbee2mqtt", topic, {"state": "ON"}, "zigbee2mqtt/#") == []
    for payload in (b"offline", {"state": "offline"}):
        (thing,) = adapt("zigbee2mqtt", "zigbee2mqtt/lamp/availability", payload, "zigbee2mqtt/#")
        assert (thing.device_id, status_of(thing).online) == ("lamp", False)


def test_zigbee_takes_last_seen_and_refuses_what_is_not_finite() -> None:
    (thing,) = adapt("zigbee2mqtt", "z/lamp", {"state": "ON", "last_seen": "2026-11-23T09:00:00+08:00"}, "z/#")
    assert thing.time_us == us("2026-11-23T09:00:00+08:00")
    assert values_of(thing) == {"state": 1.0}
    told = reason("zigbee2mqtt", "z/lamp", b'{"temperature": 1e999}', "z/#")
    assert told[0] in ("not_json", "not_finite")
    assert reason("zigbee2mqtt", "z/lamp", b'{"temperature": 1' + b"0" * 400 + b"}", "z/#")[0] in (
        "not_json",
        "not_finite",
    )


def test_tasmota_time_without_a_zone_is_the_citys() -> None:
    (thing,) = adapt("tasmota", "tele/plug1/SENSOR", s.TASMOTA_SENSOR, clock_us=s.TASMOTA_NOW_US)
    assert thing.time_us == us("2026-11-23T09:00:00+08:00")
    assert values_of(thing) == {"temperature_c": 24.7, "humidity_pct": 61.9, "dew_point_c": 16.8}


def test_tasmota_turns_fahrenheit_and_tells_two_sensors_apart() -> None:
    sensor = {"Time": "2026-11-23T09:00:00", "A": {"Temperature": 212}, "B": {"Temperature": 32}, "TempUnit": "F"}
    (thing,) = adapt("tasmota", "tele/plug1/SENSOR", sensor, clock_us=s.TASMOTA_NOW_US)
    assert values_of(thing) == {"temperature_c": 100.0, "b_temperature": 0.0}


def test_tasmota_state_and_last_will() -> None:
    state = {"Time": "2026-11-23T09:00:00", "UptimeSec": 66972, "Vcc": 3.423, "Wifi": {"RSSI": 72, "Signal": -64}}
    values, told = adapt("tasmota", "tele/plug1/STATE", state, clock_us=s.TASMOTA_NOW_US)
    assert values_of(values) == {"uptime_s": 66972, "supply_v": 3.423, "wifi_quality_pct": 72}
    assert status_of(told).rssi_dbm == -64
    (gone,) = adapt("tasmota", "tele/plug1/LWT", b"Offline")
    assert status_of(gone).online is False
    assert reason("tasmota", "tele/plug1/SENSOR", {"AHT": {}}) == ("missing", "payload.Time is not there")


def test_lorawan_uplinks_have_their_values_and_the_strongest_signal() -> None:
    sample = next(x for x in s.SAMPLES if x.name == "chirpstack")
    values, heard = adapt(sample.adapter, sample.topic, sample.payload, clock_us=sample.clock_us)
    assert values_of(values) == {"temperature_c": 21.5, "humidity_pct": 48, "door_open": 1, "battery_pct": 93.5}
    assert status_of(heard).rssi_dbm == -36
    assert values.time_us == 1658136855775023  # nine digits of fraction
    wrong = sample.topic.replace("0101010101010101", "0202020202020202")
    assert reason("chirpstack", wrong, sample.payload, clock_us=sample.clock_us)[0] == "device_mismatch"
    assert reason("ttn", "v3/a@t/devices/dev2/up", s.TTN_UP, clock_us=s.TTN_NOW_US)[0] == "device_mismatch"


def test_one_thingsboard_message_carries_several_devices() -> None:
    a, b = adapt("thingsboard", "v1/gateway/telemetry", s.THINGSBOARD, clock_us=s.THINGSBOARD_NOW_US)
    assert isinstance(a.content, Values)
    assert a.content.time_us[0] == us("2017-01-01T00:00:00Z")
    assert a.content.value == [42, 80, 43, 82]
    assert values_of(b) == {"temperature_c": 41}
    bad = {"A": [{"ts": 1483228800000, "values": {"temperature": 1}}], "B": 7}
    assert reason("thingsboard", "v1/gateway/telemetry", bad)[1] == "payload.B is not a list"
    assert reason("thingsboard", "v1/devices/me/telemetry", {"t": 1})[0] == "bad_id"


def test_senml_base_fields_relative_times_and_sums() -> None:
    pack = [
        {"bn": "urn:dev:ow:10e2073a01080063:", "bt": -10, "bu": "A", "n": "current", "v": 1.2},
        {"n": "current", "t": 5, "v": 1.3},
        {"n": "meter", "u": "Wh", "s": 12.5},
        {"n": "name", "vs": "x"},
    ]
    (thing,) = adapt("senml", "senml/x", pack)
    assert isinstance(thing.content, Values)
    assert thing.device_id == "10e2073a01080063"
    assert thing.content.metric == ["current_a", "current_a", "meter_sum"]
    assert thing.content.time_us == [NOW_US - 10_000_000, NOW_US - 5_000_000, NOW_US - 10_000_000]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"n": "a", "v": 1, "vb": True}, "payload[0]"),
        ({"n": "a", "v": "x"}, "payload[0].v"),
        ({"v": 1}, "payload[0].n"),
        ({"n": "a", "v": 1, "x_": 1}, "payload[0].x_"),
        ({"bver": 11, "n": "a", "v": 1}, "payload[0].bver"),
        ({"n": "a", "v": 1, "t": 9e9}, "payload[0].t"),
    ],
)
def test_senml_names_the_record_that_is_wrong(record: dict[str, Any], expected: str) -> None:
    assert expected in reason("senml", "senml/x", [record], "senml/#")[1]


def test_ids_that_fit_stay_and_others_never_become_one() -> None:
    assert device_id("Cam-1.x_y") == "Cam-1.x_y"
    assert device_id("a b") != device_id("a/b") != device_id("a_b")
    assert len(device_id("x" * 200)) == 64
    with pytest.raises(PayloadError, match="bad_id"):
        device_id("")


# ---------------------------------------------------------------- with state


class Plant:
    """A Sparkplug edge node and what the adapter makes of it."""

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self.adapt = self.surroundings.adapter("sparkplug")
        self.now_us = NOW_US

    def say(self, type_: str, payload: bytes, device: str = "") -> list[Any]:
        topic = f"spBv1.0/G1/{type_}/E1" + (f"/{device}" if device else "")
        return list(self.adapt(given(topic, payload, clock_us=self.now_us)))

    def data(self, seq: int, *metrics: dict[str, Any]) -> list[Any]:
        return self.say("NDATA", s.sparkplug(seq, self.now_us // 1000, *metrics))


def test_sparkplug_data_is_understood_by_the_birth() -> None:
    plant = Plant()
    plant.say("NBIRTH", s.NBIRTH)
    (thing,) = plant.data(1, {"alias": 7, "float_value": 22.5}, {"alias": 8, "int_value": 2**32 - 7})
    assert values_of(thing) == {"inputs_temperature": 22.5, "inputs_offset": -7}
    assert plant.surroundings.asked == []


def test_sparkplug_data_without_a_birth_waits_in_quarantine_and_a_rebirth_is_asked_once() -> None:
    plant = Plant()
    for _ in range(3):
        with pytest.raises(PayloadError, match=r"unknown_alias: metrics\[0\]"):
            plant.data(5, {"alias": 7, "float_value": 1.0})
    ((topic, payload),) = plant.surroundings.asked
    assert topic == "spBv1.0/G1/NCMD/E1"
    assert b"Node Control/Rebirth" in payload
    plant.now_us += 31_000_000
    with pytest.raises(PayloadError):
        plant.data(6, {"alias": 7, "float_value": 1.0})
    assert len(plant.surroundings.asked) == 2


def test_sparkplug_seq_wraps_repeats_and_gaps() -> None:
    plant = Plant()
    plant.say("NBIRTH", s.NBIRTH)
    for seq in [*range(1, 256), 0, 0, 1]:
        plant.data(seq, {"alias": 7, "float_value": 1.0})
    assert plant.surroundings.noted == []
    plant.data(3, {"alias": 7, "float_value": 1.0})
    assert plant.surroundings.noted == ["seq_gap", "rebirth_asked"]


def test_sparkplug_deaths_take_devices_along_and_old_wills_are_not_believed() -> None:
    plant = Plant()
    plant.say("NBIRTH", s.NBIRTH)
    born = plant.say(
        "DBIRTH",
        s.sparkplug(1, NOW_US // 1000, {"name": "T", "alias": 20, "datatype": 10, "double_value": 1}),
        "D1",
    )
    assert [thing.device_id for thing in born] == ["G1.E1.D1", "G1.E1.D1"]
    assert plant.say("NDEATH", s.sparkplug(None, 1, {"name": "bdSeq", "datatype": 8, "long_value": 2})) == []
    gone = plant.say("NDEATH", s.sparkplug(None, 1, {"name": "bdSeq", "datatype": 8, "long_value": 3}))
    assert [(t.device_id, status_of(t).online) for t in gone] == [("G1.E1", False), ("G1.E1.D1", False)]
    assert all(thing.time_us == NOW_US for thing in gone)


def test_sparkplug_forgets_the_node_that_was_silent_longest() -> None:
    from ingest.adapters.sparkplug import NODES_MAX

    surroundings = Surroundings()
    nodes = surroundings.adapter("sparkplug")
    for n in range(NODES_MAX + 1):
        nodes(given(f"spBv1.0/G/NBIRTH/E{n}", s.NBIRTH))
    assert surroundings.noted == ["forgotten"]


@pytest.mark.parametrize("payload", [b"\xff\xff", b"\x12\xff", b"\x12\x02\x0a"])
def test_sparkplug_that_is_no_protobuf_is_refused(payload: bytes) -> None:
    assert reason("sparkplug", "spBv1.0/G/NBIRTH/E", payload)[0] in ("not_protobuf", "missing")


def test_home_assistant_devices_describe_their_topics() -> None:
    discovery = Surroundings().adapter("home_assistant")
    state = given("sensorBedroom/state", {"temperature": 21.5, "humidity": 40})
    with pytest.raises(PayloadError, match="not_described"):
        discovery(state)
    assert discovery(given("homeassistant/device/bla/config", s.HA_CONFIG)) == []
    (thing,) = discovery(state)
    assert (thing.device_id, values_of(thing)) == ("ea334450945afc", {"temperature_c": 21.5, "humidity_pct": 40})
    discovery(given("homeassistant/device/bla/config", b""))
    with pytest.raises(PayloadError, match="not_described"):
        discovery(state)


def test_home_assistant_short_names_base_topic_binary_and_availability() -> None:
    discovery = Surroundings().adapter("home_assistant")
    config = {
        "~": "shed",
        "stat_t": "~/door",
        "uniq_id": "door1",
        "dev_cla": "door",
        "pl_on": "OPEN",
        "pl_off": "SHUT",
        "avty_t": "~/online",
        "pl_avail": "yes",
        "pl_not_avail": "no",
    }
    discovery(given("homeassistant/binary_sensor/shed/door/config", config))
    (thing,) = discovery(given("shed/door", b"OPEN"))
    assert (thing.device_id, values_of(thing)) == ("door1", {"door": 1.0})
    (told,) = discovery(given("shed/online", b"no"))
    assert status_of(told).online is False


@pytest.mark.parametrize(
    "template",
    ["{{ value_json.a + 1 }}", "{% if x %}{% endif %}", "{{ states('x') }}", "{{" + "value_json.a|" * 40],
)
def test_home_assistant_templates_that_compute_are_refused(template: str) -> None:
    config = {"state_topic": "x/y", "unique_id": "u", "value_template": template}
    told = reason("home_assistant", "homeassistant/sensor/u/config", config)
    assert told[0] == "unsupported"
    assert "payload.value_template" in told[1]
