"""Alerting's numbers for Prometheus.

The histogram ``gridpulse_alert_latency_seconds`` has one owner, the API, because
its last stage is there; ``stage_seconds`` gives the stages that end here and the
wiring hands the service a callable that observes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from prometheus_client import Counter, Gauge

ALERTS_RAISED = Counter("gridpulse_alerts_raised", "Alerts raised", ["kind", "severity"])
DETECTIONS = Counter("gridpulse_detections", "What detectors noticed", ["rule", "phase"])
DETECTIONS_IGNORED = Counter("gridpulse_detections_ignored", "Detections that changed no alert", ["reason"])
WRITE_CONFLICTS = Counter(
    "gridpulse_alert_write_conflicts", "Batches decided again because an alert had changed meanwhile"
)
RULES_REFUSED = Gauge("gridpulse_rules_refused", "Rules in the database that are wrong and are not followed")
RULES_RETIRED = Counter("gridpulse_alerts_retired", "Alerts ended because their rule judges them no more")
CHECKPOINT_SECONDS = Gauge("gridpulse_checkpoint_seconds", "Time the last checkpoint of the detectors took")
CHECKPOINT_BYTES = Gauge("gridpulse_checkpoint_bytes", "Bytes of the last checkpoint of the detectors")
MEMORY_DROPPED = Counter("gridpulse_memory_dropped", "Memories of detectors that could not be taken up", ["reason"])
FED_AGAIN = Counter("gridpulse_rows_fed_again", "Stored rows fed to the detectors again after a restart")
SERIES_NOT_NOTED = Gauge(
    "gridpulse_series_not_noted", "1 when there are more series than are noted for being fed again after a restart"
)
OWNERSHIP = Gauge("gridpulse_detection_owner", "1 in the process that detects, 0 in one that stands by")
TRIPS_BEGUN = Counter("gridpulse_trips_begun", "Trips of trucks that began")
HANDOVERS = Counter("gridpulse_handovers", "Hand-overs at borders that were written")
TRACKS_FOLDED = Counter(
    "gridpulse_tracks_folded_again", "Tracks folded from stored positions: a vehicle's first points, late points"
)
POSITIONS_TOO_LATE = Counter(
    "gridpulse_positions_too_late", "Positions more than a day late: on the track, but they change no trip"
)

STAGES = ("sampled", "received", "committed", "detected", "placed")


def stage_seconds(timeline_us: Mapping[str, int]) -> Iterator[tuple[str, float]]:
    """Each stage with the seconds since the stage before it.

    A run's ``sampled`` and ``received`` are on the run's own clock, so a difference
    below zero or above an hour says nothing about us and is left out.
    """
    for earlier, stage in pairwise(STAGES):
        if earlier in timeline_us and stage in timeline_us:
            seconds = (timeline_us[stage] - timeline_us[earlier]) / 1e6
            if 0 <= seconds <= 3600:
                yield stage, seconds
