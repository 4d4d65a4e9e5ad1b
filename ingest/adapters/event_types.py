"""What vendors call a camera's event, and the type it has here. Pure.

Types with a default rule are fire, smoke, intrusion, crowd, fall and waste. Others
(motion, tamper, video_loss, line_crossing, …) are stored and alarm nobody until a rule
says so. Moving things and crossed lines in general are no alert: a person who decides
to watch a line writes the rule. A vendor's own *intrusion* is.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.adapters.metric_names import snake

TYPES: Mapping[str, str] = {
    # fire and smoke
    "fire": "fire", "flame": "fire", "firedetection": "fire", "fire_detection": "fire", "firedetect": "fire",
    "smoke": "smoke", "smokedetection": "smoke", "smoke_detection": "smoke", "smokeandfiredetection": "fire",
    "smoke_and_fire_detection": "fire", "firewarning": "fire", "fire_warning": "fire",
    # somebody is where nobody should be
    "intrusion": "intrusion", "fielddetection": "intrusion", "field_detection": "intrusion",
    "regionentrance": "intrusion", "cross_region_detection": "intrusion", "crossregiondetection": "intrusion",
    "objects_inside": "intrusion",
    # crowds, falls, rubbish
    "crowd": "crowd", "group": "crowd", "peoplegathering": "crowd", "group_detection": "crowd",
    "rioterdetection": "crowd", "rioter_detection": "crowd", "crowd_detection": "crowd", "density": "crowd",
    "fall": "fall", "falldown": "fall", "fall_down": "fall", "fall_detection": "fall",
    "waste": "waste", "garbage": "waste", "garbage_detection": "waste", "rubbish": "waste",
    # stored, no default rule
    "linedetection": "line_crossing", "line_detection": "line_crossing", "crossed": "line_crossing",
    "cross_line_detection": "line_crossing", "crosslinedetection": "line_crossing",
    "regionexiting": "region_exit", "loitering": "loitering", "wander_detection": "loitering",
    "wanderdetection": "loitering", "vmd": "motion", "motiondetection": "motion", "motion": "motion",
    "video_motion": "motion", "videomotion": "motion", "thermometry": "motion", "vmdhumanvehicle": "motion",
    "smart_motion_human": "motion", "smart_motion_vehicle": "motion", "move_detection": "motion", "pir": "motion",
    "motion_alarm": "motion",
    "tamperdetection": "tamper", "shelteralarm": "tamper", "video_blind": "tamper", "videoblind": "tamper",
    "scenechangedetection": "tamper", "tamper": "tamper", "global_scene_change": "tamper",
    "video_abnormal_detection": "tamper",
    "videoloss": "video_loss", "video_loss": "video_loss", "signal_loss": "video_loss",
    "io": "io_input", "alarm_local": "io_input", "alarmlocal": "io_input",
    "left_detection": "left_object", "unattended_baggage": "left_object", "taken_away_detection": "taken_object",
    "attended_baggage": "taken_object",
}  # fmt: skip
"""Vendor's word, in lower case or snake_case → our type."""


def event_type(vendor: str) -> str:
    """Our type of a vendor's event; its own word in snake_case where the table has none."""
    word = snake(vendor)
    return TYPES.get(vendor.lower()) or TYPES.get(word) or word
