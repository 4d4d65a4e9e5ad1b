"""Payloads as the vendors' devices and documents have them: (adapter, filter, topic, payload, arrival)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ingest.adapters.sparkplug_wire import Payload
from tests.unit.ingest.adapters.vendor import NOW_US, us


class Sample(NamedTuple):
    name: str
    adapter: str
    pattern: str
    topic: str
    payload: bytes
    clock_us: int
    device: str


def text(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()


AXES = {axis: [round(0.1 * i, 2) for i in range(32)] for axis in "xyz"}
OPENEEW_NOW_US = us("2018-01-29T20:40:01Z")
OPENEEW_CURRENT = {
    "traces": AXES,
    "device_id": "000",
    "sr": 31.25,
    "user": "grillo",
    "network": "GO",
    "station": "000",
    "device_t": 1517258400.695,
}
OPENEEW_WATSON = {"d": {"device_id": "A8032A4DD5F0", "traces": [AXES, AXES]}}
OPENEEW_ARCHIVE = {
    "country_code": "mx",
    "device_id": "000",
    **AXES,
    "device_t": 1517258390.0,
    "cloud_t": 1517258400.694,
    "sr": 31.25,
}

FRIGATE_REVIEW_AFTER = {
    "id": "1718987129.308396-fqk5ka",
    "camera": "front_cam",
    "start_time": 1718987129.308396,
    "end_time": None,
    "severity": "alert",
    "thumb_path": "/media/frigate/clips/review/thumb-front_cam-1718987129.308396-fqk5ka.webp",
    "data": {
        "detections": ["1718987128.947436-g92ztx", "1718987148.879516-d7oq7r"],
        "objects": ["person", "car"],
        "sub_labels": ["Bob"],
        "zones": ["front_yard"],
        "audio": [],
    },
}
FRIGATE_NOW_US = us("2024-06-21T16:25:50Z")
FRIGATE_REVIEW = {"type": "update", "before": FRIGATE_REVIEW_AFTER, "after": FRIGATE_REVIEW_AFTER}
FRIGATE_EVENT_AFTER = {
    "id": "1607123955.475377-mxklsc",
    "camera": "front_door",
    "frame_time": 1607123962.082975,
    "snapshot": {
        "frame_time": 1607123965.975463,
        "box": [415, 489, 528, 700],
        "area": 12728,
        "region": [260, 446, 660, 846],
        "score": 0.77546,
        "attributes": [],
    },
    "label": "person",
    "sub_label": ["Wyatt", 0.94],
    "top_score": 0.958984375,
    "false_positive": False,
    "start_time": 1607123955.475377,
    "end_time": None,
    "score": 0.87890625,
    "box": [432, 496, 544, 854],
    "area": 40096,
    "ratio": 1.26,
    "region": [218, 440, 693, 915],
    "current_zones": ["yard"],
    "entered_zones": ["yard", "driveway"],
    "thumbnail": None,
    "has_snapshot": True,
    "has_clip": False,
    "active": True,
    "stationary": False,
    "motionless_count": 0,
    "position_changes": 2,
    "attributes": {"face": 0.86},
    "current_attributes": [],
    "current_estimated_speed": 0.71,
    "velocity_angle": 180,
}
FRIGATE_EVENT_NOW_US = us("2020-12-04T23:19:30Z")

HIKVISION_XML = """<?xml version="1.0" encoding="UTF-8"?>
<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">
<ipAddress>1.0.0.255</ipAddress><portNo>80</portNo><protocol>HTTP</protocol>
<macAddress>ac:b9:2f:49:44:75</macAddress><channelID>1</channelID>
<dateTime>2022-01-31T13:53:05+01:00</dateTime><activePostCount>1</activePostCount>
<eventType>fielddetection</eventType><eventState>active</eventState>
<eventDescription>fielddetection alarm</eventDescription>
<DetectionRegionList><DetectionRegionEntry><regionID>3</regionID><sensitivityLevel>50</sensitivityLevel>
<RegionCoordinatesList>
<RegionCoordinates><positionX>100</positionX><positionY>200</positionY></RegionCoordinates>
<RegionCoordinates><positionX>900</positionX><positionY>800</positionY></RegionCoordinates>
</RegionCoordinatesList><detectionTarget>human</detectionTarget>
<TargetRect><X>0.6</X><Y>0.215278</Y><width>0.135937</width><height>0.505556</height></TargetRect>
</DetectionRegionEntry></DetectionRegionList>
<channelName>COUR NORD</channelName><isDataRetransmission>false</isDataRetransmission>
</EventNotificationAlert>"""
HIKVISION_NOW_US = us("2022-01-31T12:53:06Z")

DAHUA_LINE = (
    'Code=CrossLineDetection;action=Start;index=0;data={"Name":"Rule1","RuleId":1,"Class":"Normal",'
    '"DetectLine":[[18,4098],[8155,5549]],"Direction":"RightToLeft","Object":{"ObjectID":542,'
    '"ObjectType":"Unknown","BoundingBox":[4816,4552,5248,5272],"Center":[5032,4912],"Confidence":0},'
    '"UTC":1620477656,"UTCMS":180}'
)
DAHUA_MOTION = 'Code=VideoMotion;action=Start;index=1;data={\n "Id" : [ 0 ],\n "RegionName" : [ "Region1" ]\n}\n'
DAHUA_NOW_US = us("2021-05-08T12:41:00Z")

CHIRPSTACK_UP = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": "2022-07-18T09:34:15.775023242+00:00",
    "deviceInfo": {
        "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
        "tenantName": "ChirpStack",
        "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97",
        "applicationName": "Test application",
        "deviceProfileName": "Test device-profile",
        "deviceName": "Test device",
        "devEui": "0101010101010101",
        "tags": {"key": "value"},
    },
    "devAddr": "00189440",
    "dr": 1,
    "fPort": 1,
    "data": "qg==",
    "rxInfo": [
        {"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5},
        {"gatewayId": "0016c001f153a14d", "uplinkId": 4217106256, "rssi": -90, "snr": 1.5},
    ],
    "txInfo": {"frequency": 867100000, "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 11}}},
    "object": {"temperature": 21.5, "humidity": 48, "door": {"open": True}, "batteryLevel": 93.5},
}
CHIRPSTACK_NOW_US = us("2022-07-18T09:34:16Z")

TTN_UP = {
    "end_device_ids": {
        "device_id": "dev1",
        "application_ids": {"application_id": "app1"},
        "dev_eui": "0004A30B001C0530",
        "join_eui": "800000000000000C",
        "dev_addr": "00BCB929",
    },
    "correlation_ids": ["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"],
    "received_at": "2020-02-12T15:15:45.787000000Z",
    "uplink_message": {
        "session_key_id": "AXA50lHUg3gWMQPdXDNlUg==",
        "f_port": 1,
        "f_cnt": 1,
        "frm_payload": "gkHe",
        "decoded_payload": {"temperature": 1.0, "luminosity": 0.64},
        "rx_metadata": [{"gateway_ids": {"gateway_id": "gtw1"}, "rssi": -35, "channel_rssi": -35, "snr": 5}],
        "settings": {"data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7}}, "frequency": "868300000"},
        "received_at": "2020-02-12T15:15:45.787123456Z",
    },
}
TTN_NOW_US = us("2020-02-12T15:15:46Z")

TASMOTA_SENSOR = {
    "Time": "2026-11-23T09:00:00",
    "AHT1X-0x38": {"Temperature": 24.7, "Humidity": 61.9, "DewPoint": 16.8},
    "TempUnit": "C",
}
TASMOTA_NOW_US = us("2026-11-23T09:00:01+08:00")

THINGSBOARD = {
    "Device A": [
        {"ts": 1483228800000, "values": {"temperature": 42, "humidity": 80}},
        {"ts": 1483228801000, "values": {"temperature": 43, "humidity": 82}},
    ],
    "Device B": [{"ts": 1483228800000, "values": {"temperature": 41}}],
}
THINGSBOARD_NOW_US = us("2017-01-01T00:00:10Z")

SENML = [
    {"bn": "urn:dev:mac:a8032a4dd5f0:", "bt": NOW_US / 1e6 - 60, "bu": "Cel", "n": "temp", "v": 23.5},
    {"n": "temp", "t": 30, "v": 23.6},
    {"n": "rh", "u": "%RH", "v": 48},
    {"n": "door", "u": "", "vb": True},
]

ONVIF_LINE = {
    "UtcTime": "2008-10-10T12:24:57.321Z",
    "Source": {"VideoSource": "1", "AnalyticsConfiguration": "2", "Rule": "MyImportantFence1"},
    "Data": {"ObjectId": "15"},
}
ONVIF_NOW_US = us("2008-10-10T12:24:58Z")

HA_CONFIG = {
    "dev": {"ids": "ea334450945afc", "name": "Kitchen", "mf": "Bla electronics", "mdl": "xya", "sw": "1.0"},
    "o": {"name": "bla2mqtt", "sw": "2.1", "url": "https://bla2mqtt.example.com/support"},
    "cmps": {
        "some_unique_component_id1": {
            "p": "sensor",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "value_template": "{{ value_json.temperature}}",
            "unique_id": "temp01ae_t",
        },
        "some_unique_id2": {
            "p": "sensor",
            "device_class": "humidity",
            "unit_of_measurement": "%",
            "value_template": "{{ value_json.humidity}}",
            "unique_id": "temp01ae_h",
        },
    },
    "state_topic": "sensorBedroom/state",
    "qos": 2,
}

GB28181_ALARM = {
    "channelDeviceId": "34020000001320000001",
    "channelName": "东门",
    "description": "入侵",
    "snapPath": "/snap/1.jpg",
    "longitude": 116.397,
    "latitude": 39.908,
    "alarmMethod": "5",
    "alarmType": 6,
    "alarmTime": 1795399990000,
}
GAT1400 = {
    "SubscribeNotificationListObject": {
        "SubscribeNotificationObject": [
            {
                "NotificationID": "650100000000042023120109000000001",
                "SubscribeID": "x",
                "Title": "t",
                "TriggerTime": "20261123090000",
                "InfoIDs": "1",
                "MotorVehicleObjectList": {
                    "MotorVehicleObject": [
                        {
                            "MotorVehicleID": "m1",
                            "DeviceID": "33029902001310000001",
                            "PlateNo": "粤S12345",
                            "PassTime": "20261123085959",
                            "StorageUrl1": "http://10.0.0.1/p.jpg",
                        },
                    ]
                },
                "FaceObjectList": {
                    "FaceObject": [{"FaceID": "f1", "DeviceID": "33029902001310000001", "Name": "张三"}]
                },
                "DeviceList": {
                    "APEListObject": {
                        "APEObject": [
                            {
                                "ApeID": "33029902001210000007",
                                "Name": "南车库入",
                                "Longitude": 0,
                                "Latitude": 0,
                                "IsOnline": "1",
                            }
                        ]
                    }
                },
            }
        ]
    }
}
GAT1400_NOW_US = us("2026-11-23T09:00:01+08:00")


def sparkplug(seq: int | None, timestamp_ms: int, *metrics: dict[str, Any]) -> bytes:
    message = Payload(timestamp=timestamp_ms)
    if seq is not None:
        message.seq = seq
    for metric in metrics:
        message.metrics.add(**metric)
    encoded: bytes = message.SerializeToString()
    return encoded


NBIRTH = sparkplug(
    0,
    NOW_US // 1000 - 500,
    {"name": "bdSeq", "datatype": 8, "long_value": 3},
    {"name": "Node Control/Rebirth", "datatype": 11, "boolean_value": False},
    {
        "name": "Inputs/Temperature",
        "alias": 7,
        "datatype": 9,
        "float_value": 21.5,
        "timestamp": NOW_US // 1000 - 600,
    },
    {"name": "Inputs/Offset", "alias": 8, "datatype": 3, "int_value": 2**32 - 5},
)

SAMPLES = [
    Sample(
        "openeew current", "openeew", "traces/#", "traces/grillo/000", text(OPENEEW_CURRENT), OPENEEW_NOW_US, "000"
    ),
    Sample(
        "openeew watson",
        "openeew",
        "iot-2/#",
        "iot-2/type/OpenEEW/id/A8032A4DD5F0/evt/trace/fmt/json",
        text(OPENEEW_WATSON),
        OPENEEW_NOW_US,
        "A8032A4DD5F0",
    ),
    Sample(
        "openeew archive, twice encoded",
        "openeew",
        "traces/#",
        "traces/u/000",
        text(json.dumps(OPENEEW_ARCHIVE)),
        OPENEEW_NOW_US,
        "000",
    ),
    Sample(
        "frigate review",
        "frigate",
        "frigate/#",
        "frigate/reviews",
        text(FRIGATE_REVIEW),
        FRIGATE_NOW_US,
        "front_cam",
    ),
    Sample(
        "frigate event",
        "frigate",
        "frigate/#",
        "frigate/events",
        text({"type": "update", "before": {}, "after": FRIGATE_EVENT_AFTER}),
        FRIGATE_EVENT_NOW_US,
        "front_door",
    ),
    Sample(
        "onvif line",
        "onvif",
        "MyDevice/onvif-ej/#",
        "MyDevice/onvif-ej/RuleEngine/LineDetector/Crossed/&1/2/MyImportantFence1",
        text(ONVIF_LINE),
        ONVIF_NOW_US,
        "MyDevice",
    ),
    Sample(
        "onvif sensor",
        "onvif",
        "+/onvif-ej/#",
        "MyDevice/onvif-ej/Device/Sensor/Temperature/High",
        text(
            {
                "UtcTime": "2025-07-15T14:30:00Z",
                "Source": {"SensorID": "temp_001"},
                "Data": {"Value": 28.65, "Threshold": "25.15"},
            }
        ),
        us("2025-07-15T14:30:01Z"),
        "MyDevice-temp_001",
    ),
    Sample(
        "zigbee2mqtt",
        "zigbee2mqtt",
        "zigbee2mqtt/#",
        "zigbee2mqtt/hall",
        text({"temperature": 27.34, "humidity": 44.72, "occupancy": True, "linkquality": 80}),
        NOW_US,
        "hall",
    ),
    Sample("tasmota", "tasmota", "tele/#", "tele/plug1/SENSOR", text(TASMOTA_SENSOR), TASMOTA_NOW_US, "plug1"),
    Sample(
        "chirpstack",
        "chirpstack",
        "application/#",
        "application/17c82e96-be03-4f38-aef3-f83d48582d97/device/0101010101010101/event/up",
        text(CHIRPSTACK_UP),
        CHIRPSTACK_NOW_US,
        "0101010101010101",
    ),
    Sample("ttn", "ttn", "v3/#", "v3/app1@tenant/devices/dev1/up", text(TTN_UP), TTN_NOW_US, "dev1"),
    Sample(
        "thingsboard",
        "thingsboard",
        "v1/gateway/#",
        "v1/gateway/telemetry",
        text(THINGSBOARD),
        THINGSBOARD_NOW_US,
        "Device_A-d35c3c47",
    ),
    Sample("senml", "senml", "senml/#", "senml/x", text(SENML), NOW_US, "a8032a4dd5f0"),
    Sample("sparkplug birth", "sparkplug", "spBv1.0/#", "spBv1.0/G1/NBIRTH/E1", NBIRTH, NOW_US, "G1.E1"),
    Sample(
        "hikvision",
        "hikvision",
        "hooks/hikvision/#",
        "hooks/hikvision/_",
        HIKVISION_XML.encode(),
        HIKVISION_NOW_US,
        "acb92f494475",
    ),
    Sample("dahua", "dahua", "hooks/dahua/#", "hooks/dahua/GATE-1", DAHUA_LINE.encode(), DAHUA_NOW_US, "GATE-1"),
    Sample(
        "gb28181",
        "gb28181",
        "hooks/gb28181/#",
        "hooks/gb28181/_",
        text(GB28181_ALARM),
        NOW_US,
        "34020000001320000001",
    ),
    Sample(
        "gat1400",
        "gat1400",
        "hooks/gat1400/#",
        "hooks/gat1400/_",
        text(GAT1400),
        GAT1400_NOW_US,
        "33029902001310000001",
    ),
]

DISCOVERY = Sample(
    "discovery", "home_assistant", "homeassistant/#", "homeassistant/device/x/config", text(HA_CONFIG), NOW_US, ""
)
ALL = [*SAMPLES, DISCOVERY]
"""Also what makes no thing by itself; the fuzzers take all."""
