"""What the server itself counts, beside ingest, alerting and the API."""

from __future__ import annotations

from prometheus_client import Counter

BROKER_REFUSED = Counter(
    "gridpulse_broker_refused_total", "Connections and packets that the embedded broker refused", ["reason"]
)
BROKER_LOG_SKIPPED = Counter(
    "gridpulse_broker_log_skipped_bytes_total", "Bytes of the broker's log that came too fast to be looked at"
)
