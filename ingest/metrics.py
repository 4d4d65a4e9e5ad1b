"""What ingest counts, under the contract's names (section 9)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECEIVED = Counter("gridpulse_messages_received_total", "Messages taken, by mqtt or http", ["source"])
ACKNOWLEDGED = Counter("gridpulse_messages_acknowledged_total", "Messages acknowledged after their commit")
STORED = Counter("gridpulse_readings_stored_total", "Readings, packets and positions stored")
DUPLICATES = Counter("gridpulse_duplicates_total", "Messages that were stored already")
QUARANTINED = Counter("gridpulse_quarantined_total", "Messages kept in quarantine", ["reason"])
IGNORED = Counter("gridpulse_messages_ignored_total", "Messages on our topics that are not for us (commands)")
ADAPTED = Counter(
    "gridpulse_adapter_messages_total",
    "Messages of other vendors by adapter: taken, ignored, quarantined; and what adapters with state note",
    ["adapter", "result"],
)
STORE_SECONDS = Histogram(
    "gridpulse_store_seconds",
    "Time of a commit",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
BACKLOG = Gauge("gridpulse_ingest_backlog_messages", "Messages received and not yet acknowledged")
PAUSES = Counter(
    "gridpulse_ingest_pauses_total", "Times reading from the broker paused, by the bound reached", ["bound"]
)
WAITING = Gauge("gridpulse_ingest_waiting_for_database", "1 while a batch waits for the database")
DETECTION_ERRORS = Counter("gridpulse_detection_errors_total", "Blocks whose detection failed by our own fault")
STALE_ACKNOWLEDGEMENTS = Gauge(
    "gridpulse_stale_acknowledgements", "Acknowledgements dropped because the connection had changed"
)
SEQ_GAPS_OPEN = Gauge("gridpulse_seq_gaps_open", "Gaps in devices' counts that have not ended")
SEQ_MISSING = Counter("gridpulse_seq_missing_total", "Numbers that devices skipped")
SEQ_FILLED = Counter("gridpulse_seq_filled_total", "Skipped numbers that came later")
SEQ_GAPS_ENDED = Counter("gridpulse_seq_gaps_ended_total", "Gaps that ended: filled, lost or given up", ["outcome"])
RESEND_ASKED = Counter("gridpulse_resend_asked_total", "Times devices were asked to send numbers again")
MEDIA = Counter(
    "gridpulse_media_total", "Pictures and clips by outcome: stored, refused, failed, removed", ["outcome"]
)
MEDIA_BYTES = Gauge("gridpulse_media_bytes", "Bytes of the pictures and clips that are kept")
ROLLUP_LAG_SECONDS = Gauge("gridpulse_rollup_lag_seconds", "Seconds since the end of what is rolled up")
ROLLUP_DIRTY_HOURS = Gauge("gridpulse_rollup_dirty_hours", "Hours of devices to be rolled up again")
ROLLUP_HOURS_REDONE = Counter("gridpulse_rollup_hours_redone_total", "Hours of devices rolled up again")
