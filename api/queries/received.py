"""What was received: readings with steps and calibration, waveforms, tracks, pictures, and what changed lately."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

METRICS_OF_DEVICE = """
SELECT key, name FROM series JOIN metric ON metric.key = series.metric
WHERE device = %(device)s AND (%(names)s::text[] IS NULL OR name = ANY (%(names)s))
  AND ((%(rolled)s AND EXISTS (SELECT 1 FROM reading_1h WHERE device = %(device)s AND metric = metric.key
                               AND bucket > %(from)s - INTERVAL '1 hour' AND bucket < %(to)s))
       OR EXISTS (SELECT 1 FROM reading WHERE device = %(device)s AND metric = metric.key
                  AND time >= %(from)s AND time < %(to)s))
ORDER BY name
"""

KNOWN_METRICS = "SELECT name FROM metric WHERE name = ANY (%(names)s)"

# A device's calibrations, put on what is read as `domain.calibrated` puts them on what detectors see.
# They begin and end at whole hours, so every rollup is of one.
CALIBRATION: LiteralString = """
unnest(%(calibrated)s::int[], %(calibrated_from)s::timestamptz[], %(calibrated_until)s::timestamptz[],
       %(scale)s::float8[], %(offset)s::float8[]) AS c (metric, begins, ends, scale, "offset")
"""

CALIBRATED: LiteralString = """
(CASE WHEN c.scale IS NULL THEN {raw} ELSE least(greatest({raw}, -1e290), 1e290) * c.scale + c."offset" END)
"""

READINGS: LiteralString = (
    "SELECT r.time AS t, r.metric, "
    + CALIBRATED.replace("{raw}", "r.value")
    + " AS value, r.late FROM reading AS r LEFT JOIN "
    + CALIBRATION
    + """ON c.metric = r.metric AND c.begins <= r.time AND r.time < c.ends
WHERE r.device = %(device)s AND r.metric = ANY (%(metrics)s) AND r.time >= %(from)s AND r.time < %(to)s
ORDER BY r.time, r.metric LIMIT %(limit)s
"""
)

ROLLUP_STATE = "SELECT through, raw_from FROM rollup_progress"

DIRTY_HOURS = """
SELECT DISTINCT hour FROM rollup_dirty
WHERE device = %(device)s AND hour > %(from)s - INTERVAL '1 hour' AND hour < %(to)s ORDER BY hour
"""

# Windows of rollups and windows of readings; together each bucket once. The bound on values is the rollups' own.
READINGS_BY_STEP: LiteralString = (
    """
SELECT time_bucket(make_interval(secs => %(step_s)s::float8), part.at) AS t, metric,
       sum(part.sum) / sum(part.n) AS avg, min(part.min) AS min, max(part.max) AS max,
       sum(part.n)::bigint AS count, last(part.last, part.last_at) AS last
FROM (
    SELECT r.bucket AS at, r.metric, r.n,
           r.sum * coalesce(c.scale, 1) + r.n * coalesce(c."offset", 0) AS sum,
           least(ends.low, ends.high) AS min, greatest(ends.low, ends.high) AS max, ends.last, r.last_at
    FROM unnest(%(rolled_from)s::timestamptz[], %(rolled_to)s::timestamptz[]) AS part ("from", "to")
    JOIN {table} AS r ON r.bucket >= part."from" AND r.bucket < part."to"
    LEFT JOIN """
    + CALIBRATION
    + "ON c.metric = r.metric AND c.begins <= r.bucket AND r.bucket < c.ends CROSS JOIN LATERAL (SELECT "
    + CALIBRATED.replace("{raw}", "r.min") + " AS low, "
    + CALIBRATED.replace("{raw}", "r.max") + " AS high, "
    + CALIBRATED.replace("{raw}", "r.last") + """ AS last) AS ends
    WHERE r.device = %(device)s AND r.metric = ANY (%(metrics)s)
      AND r.bucket >= %(rolled_first)s AND r.bucket < %(rolled_last)s
    UNION ALL
    SELECT time_bucket(make_interval(secs => %(step_s)s::float8), r.time), r.metric, count(*),
           sum(least(greatest(v.value, -1e290), 1e290)), min(v.value), max(v.value),
           last(v.value, r.time), max(r.time)
    FROM unnest(%(raw_from)s::timestamptz[], %(raw_to)s::timestamptz[]) AS part ("from", "to")
    JOIN reading AS r ON r.time >= part."from" AND r.time < part."to"
    LEFT JOIN """
    + CALIBRATION
    + "ON c.metric = r.metric AND c.begins <= r.time AND r.time < c.ends CROSS JOIN LATERAL (SELECT "
    + CALIBRATED.replace("{raw}", "r.value") + """ AS value) AS v
    WHERE r.device = %(device)s AND r.metric = ANY (%(metrics)s)
      AND r.time >= %(raw_first)s AND r.time < %(raw_last)s
    GROUP BY 1, 2
) AS part
GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(limit)s
"""
)  # fmt: skip

READINGS_BY_UNIT: Mapping[int, LiteralString] = {
    60: READINGS_BY_STEP.replace("{table}", "reading_1m"),
    3600: READINGS_BY_STEP.replace("{table}", "reading_1h"),
}

WAVEFORMS = """
SELECT time, rate_hz, unit, n, axes, encoding, scale, seq, late, samples FROM waveform
WHERE device = %(device)s AND time > %(before)s AND time < %(to)s ORDER BY time LIMIT %(limit)s
"""

TRACK = """
SELECT time AS t, lon, lat, speed_kmh, heading_deg, bed, cover, late FROM position
WHERE device = %(device)s AND time >= %(from)s AND time < %(to)s ORDER BY time LIMIT %(limit)s
"""

# For a process without ingest: what changed lately, by key.
SEEN_AFTER = """
SELECT key, last_seen AS t, online, battery_pct, rssi_dbm, firmware FROM device
WHERE last_seen > %(after)s ORDER BY last_seen LIMIT 5000
"""

# The newest position of each vehicle that has one since then.
POSITIONS_AFTER = """
SELECT DISTINCT ON (device) device AS key, time AS t, lon, lat, speed_kmh, heading_deg, bed, cover
FROM position WHERE time > %(after)s ORDER BY device, time DESC
"""

MEDIA: LiteralString = "SELECT state, reason, name FROM media WHERE url = %(url)s"
