"""Counters of the API and the live feed (contract, section 9)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

ALERT_LATENCY = Histogram(
    "gridpulse_alert_latency_seconds",
    "Seconds from one point of a new alert's timeline to the next; stage is the later, total = received to pushed",
    ["stage"],
    buckets=LATENCY_BUCKETS_S,
)
LIVE_CLIENTS = Gauge("gridpulse_live_clients", "WebSocket clients that have said hello")
LIVE_LAGGING = Counter("gridpulse_live_lagging", "WebSocket clients told to resume because they were too slow")
LIVE_FRAMES = Counter("gridpulse_live_frames", "Frames queued for WebSocket clients", ["channel"])
LIVE_REFUSED = Counter("gridpulse_live_refused", "WebSocket connections closed by us", ["code"])
VALUES_DROPPED = Counter(
    "gridpulse_live_values_dropped", "Blocks not shown on the values channels because newer ones came first"
)
LOGINS = Counter("gridpulse_logins", "Logins by outcome", ["outcome"])
REQUESTS = Histogram(
    "gridpulse_http_request_seconds", "HTTP requests by route and status class", ["route", "status"]
)
BUILD = Gauge("gridpulse_build_info", "Constant 1; the labels say what runs", ["version", "python"])
