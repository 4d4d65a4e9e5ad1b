"""All SQL of the API, and the one way it reaches the database.

Reads run in one read-only transaction with a time limit and UTC; keyset
pagination only, no OFFSET. No SQL is put together from what a caller sent: every
optional filter is a parameter that may be NULL. ``AREA`` and ``ALERT_MATCHES``
say the same as ``Actor.sees`` and ``AlertFilter.matches``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import dict_row

from db.pool import Connection, Pool, unavailable
from domain.errors import DatabaseUnavailable, PayloadError

Row = dict[str, Any]

# Repeatable read: the parts of one answer (a snapshot and its cursor) are of one moment.
BEGIN_READ = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = '5s';
SET LOCAL TimeZone = 'UTC'
"""


class Reader:
    """A read-only transaction; rows come as dictionaries, times as aware UTC."""

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        self.conn = conn

    async def rows(self, sql: LiteralString, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[Row]:
        """All rows."""
        async with self.conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchall()

    async def row(self, sql: LiteralString, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> Row | None:
        """The first row, if any."""
        async with self.conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchone()


@asynccontextmanager
async def reading(pool: Pool, *, asked: bool = True) -> AsyncIterator[Reader]:
    """A reader from the pool. ``asked``: somebody outside chose what is read, and can ask for less.

    Raises: DatabaseUnavailable; PayloadError ``too_much`` when the time limit ran out on
    something asked (else it is the database that is slow: DatabaseUnavailable).
    """
    with unavailable("reading"):
        try:
            async with pool.connection() as conn:
                await conn.execute(BEGIN_READ)
                yield Reader(conn)
        except errors.QueryCanceled as error:
            if not asked:
                raise DatabaseUnavailable("reading: the database took longer than 5 s") from error
            raise PayloadError("too_much", "this took longer than 5 s; ask for less, or a shorter time") from error
        except errors.DataError as error:
            raise PayloadError("bad_value", str(error).splitlines()[0]) from error


@asynccontextmanager
async def writing(pool: Pool) -> AsyncIterator[Connection]:
    """A connection whose work is one transaction. Raises: DatabaseUnavailable."""
    with unavailable("writing"):
        async with pool.connection() as conn:
            yield conn


async def one(conn: Connection, sql: LiteralString, parameters: Mapping[str, Any]) -> Row:
    """The one row that a statement always answers."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(sql, parameters)
        row = await cursor.fetchone()
    assert row is not None
    return row


# ---------------------------------------------------------------- fragments

AREA: LiteralString = """
(%(area)s::text = '' OR starts_with(grid, %(area)s) OR starts_with(village, %(area)s)
 OR starts_with(town, %(area)s))
"""

ALERT_MATCHES: LiteralString = (
    AREA
    + """
AND (%(exercise)s::text = 'any' OR exercise IS NOT DISTINCT FROM %(exercise)s::text)
AND (%(severity)s::int[] IS NULL OR severity = ANY (%(severity)s))
AND (%(town)s::text[] IS NULL OR town = ANY (%(town)s))
AND (%(grid)s::text[] IS NULL
     OR EXISTS (SELECT 1 FROM unnest(%(grid)s::text[]) AS g (prefix) WHERE starts_with(alert.grid, g.prefix)))
AND (%(kind)s::text[] IS NULL OR kind = ANY (%(kind)s)
     OR EXISTS (SELECT 1 FROM unnest(%(kind_prefix)s::text[]) AS k (prefix)
                WHERE starts_with(alert.kind, k.prefix)))
AND NOT EXISTS (SELECT 1 FROM unnest(%(without_prefix)s::text[]) AS w (prefix)
                WHERE starts_with(alert.kind, w.prefix))
AND (%(west)s::float8 IS NULL
     OR ((body #>> '{location,lon}')::float8 BETWEEN %(west)s AND %(east)s
         AND (body #>> '{location,lat}')::float8 BETWEEN %(south)s AND %(north)s))
"""
)

# The contract's alert with the time of its first push, as JSON text.
ALERT_JSON: LiteralString = """
(CASE WHEN pushed_at IS NULL THEN body
      ELSE jsonb_set(body, '{timeline,pushed}',
                     to_jsonb(to_char(pushed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
 END)::text
"""

# ---------------------------------------------------------------- alerts

ALERTS_LISTED: LiteralString = (
    ALERT_MATCHES
    + """
AND state = ANY (%(state)s)
AND (%(condition)s::text IS NULL OR condition = %(condition)s)
AND (%(pattern)s::text IS NULL OR body #>> '{title,zh}' ILIKE %(pattern)s OR body #>> '{title,en}' ILIKE %(pattern)s
     OR body #>> '{device,id}' ILIKE %(pattern)s OR body #>> '{place,address}' ILIKE %(pattern)s
     OR body #>> '{place,names,town}' ILIKE %(pattern)s OR body #>> '{place,names,village}' ILIKE %(pattern)s
     OR id = %(exact)s)
"""
)

OPEN_ALERTS: LiteralString = (
    "SELECT id, severity, started_at, "
    + ALERT_JSON
    + " AS alert FROM alert WHERE state <> 'closed' AND "
    + ALERTS_LISTED
    + """
AND (%(after_id)s::text IS NULL OR severity > %(after_severity)s
     OR (severity = %(after_severity)s AND (started_at, id) < (%(after_at)s::timestamptz, %(after_id)s)))
ORDER BY severity, started_at DESC, id DESC LIMIT %(limit)s
"""
)

CLOSED_ALERTS: LiteralString = (
    "SELECT id, severity, started_at, "
    + ALERT_JSON
    + " AS alert FROM alert WHERE state = 'closed' AND "
    + ALERTS_LISTED
    + """
AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s)
AND (%(after_id)s::text IS NULL OR (started_at, id) < (%(after_at)s::timestamptz, %(after_id)s))
ORDER BY started_at DESC, id DESC LIMIT %(limit)s
"""
)

ALERT: LiteralString = "SELECT id, " + ALERT_JSON + " AS alert FROM alert WHERE id = %(id)s AND " + AREA

HISTORY = """
SELECT cursor, version, change, actor, at, reason FROM alert_change WHERE alert_id = %(id)s ORDER BY cursor
"""

SNAPSHOT: LiteralString = (
    "SELECT "
    + ALERT_JSON
    + " AS alert FROM alert WHERE state <> 'closed' AND "
    + ALERT_MATCHES
    + " ORDER BY severity, started_at DESC, id DESC LIMIT %(limit)s"
)

SNAPSHOT_COUNT: LiteralString = (
    "SELECT count(*) AS open FROM alert WHERE state <> 'closed' AND " + ALERT_MATCHES
)

NEWEST_CURSOR = """
SELECT greatest((SELECT coalesce(max(cursor), 0) FROM alert_change),
                (SELECT coalesce(max(cursor), 0) FROM incident_change)) AS cursor
"""

CURSOR_BOUNDS = """
SELECT least((SELECT min(cursor) FROM alert_change), (SELECT min(cursor) FROM incident_change)) AS oldest,
       greatest((SELECT max(cursor) FROM alert_change), (SELECT max(cursor) FROM incident_change)) AS newest,
       (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM alert_cursor) AS issued
"""

CHANGES_AFTER = """
(SELECT c.cursor, c.change, c.body::text AS body,
       CASE WHEN p.body IS NOT NULL THEN jsonb_build_object(
           'severity', p.body -> 'severity', 'kind', p.body -> 'kind', 'exercise', p.body -> 'exercise',
           'location', p.body -> 'location', 'place', p.body -> 'place')::text END AS before,
       (extract(epoch FROM a.pushed_at) * 1000000)::bigint AS pushed_us, false AS is_incident
FROM alert_change AS c
LEFT JOIN alert AS a ON a.id = c.alert_id
LEFT JOIN LATERAL (SELECT body FROM alert_change WHERE alert_id = c.alert_id AND cursor < c.cursor
                   ORDER BY cursor DESC LIMIT 1) AS p ON true
WHERE c.cursor > %(cursor)s ORDER BY c.cursor LIMIT %(limit)s)
UNION ALL
(SELECT c.cursor, c.change, c.body::text,
        CASE WHEN p.body IS NOT NULL THEN jsonb_build_object(
            'severity', p.body -> 'severity', 'kind', p.body -> 'kind', 'exercise', p.body -> 'exercise',
            'center', p.body -> 'center', 'places', p.body -> 'places')::text END,
        NULL, true
FROM incident_change AS c
LEFT JOIN LATERAL (SELECT body FROM incident_change WHERE incident_id = c.incident_id AND cursor < c.cursor
                   ORDER BY cursor DESC LIMIT 1) AS p ON true
WHERE c.cursor > %(cursor)s ORDER BY c.cursor LIMIT %(limit)s)
ORDER BY cursor LIMIT %(limit)s
"""

# A row that another writer holds is skipped and tried on the next round: waiting could deadlock.
MARK_PUSHED = """
UPDATE alert SET pushed_at = first.at
FROM (SELECT alert.id, pushed.at FROM alert
      JOIN unnest(%(ids)s::text[], %(ats)s::timestamptz[]) AS pushed (id, at) ON pushed.id = alert.id
      WHERE alert.pushed_at IS NULL FOR UPDATE OF alert SKIP LOCKED) AS first
WHERE alert.id = first.id RETURNING alert.id
"""

# ---------------------------------------------------------------- incidents

# The same as api.incidents.lies_in and matches.
INCIDENT_AREA: LiteralString = """
(%(area)s::text = ''
 OR EXISTS (SELECT 1 FROM unnest(places) AS p (code)
            WHERE starts_with(code, %(area)s) OR starts_with(%(area)s, code)))
"""

INCIDENT_MATCHES: LiteralString = (
    INCIDENT_AREA
    + """
AND (%(exercise)s::text = 'any' OR exercise IS NOT DISTINCT FROM %(exercise)s::text)
AND (%(severity)s::int[] IS NULL OR severity = ANY (%(severity)s))
AND (%(town)s::text[] IS NULL
     OR EXISTS (SELECT 1 FROM unnest(places) AS p (code) WHERE left(code, 9) = ANY (%(town)s)))
AND (%(grid)s::text[] IS NULL
     OR EXISTS (SELECT 1 FROM unnest(places) AS p (code), unnest(%(grid)s::text[]) AS g (prefix)
                WHERE starts_with(code, prefix) OR starts_with(prefix, code)))
AND (%(kind)s::text[] IS NULL OR kind = ANY (%(kind)s)
     OR EXISTS (SELECT 1 FROM unnest(%(kind_prefix)s::text[]) AS k (prefix)
                WHERE starts_with(incident.kind, prefix)))
AND NOT (kind = 'device_fault' AND EXISTS (SELECT 1 FROM unnest(%(without_prefix)s::text[]) AS w (prefix)
                                           WHERE starts_with('device.instant', w.prefix)))
AND (%(west)s::float8 IS NULL
     OR ((body #>> '{center,lon}')::float8 BETWEEN %(west)s AND %(east)s
         AND (body #>> '{center,lat}')::float8 BETWEEN %(south)s AND %(north)s))
"""
)

INCIDENTS: LiteralString = (
    "SELECT id, started_at, body FROM incident WHERE "
    + INCIDENT_MATCHES
    + """
AND state = ANY (%(state)s) AND (%(since)s::timestamptz IS NULL OR state = 'open' OR updated_at >= %(since)s)
AND (%(after_id)s::text IS NULL OR (started_at, id) < (%(after_at)s::timestamptz, %(after_id)s))
ORDER BY started_at DESC, id DESC LIMIT %(limit)s
"""
)

INCIDENT: LiteralString = "SELECT body FROM incident WHERE id = %(id)s AND " + INCIDENT_AREA

INCIDENT_HISTORY = """
SELECT cursor, version, change, actor, at, reason, body -> 'severity' AS severity, body -> 'devices' AS devices
FROM incident_change WHERE incident_id = %(id)s ORDER BY cursor LIMIT 1000
"""

ALERTS_OF_INCIDENT: LiteralString = (
    "SELECT id, kind, state, condition, severity, body #>> '{device,id}' AS device FROM alert "
    + "WHERE incident_id = %(id)s AND "
    + AREA
    + " ORDER BY episode, id LIMIT %(limit)s"
)

# What an operator was called for: every incident, and every alert that was told before (or without) one.
OPERATOR_ALARMS: LiteralString = (
    """
SELECT (SELECT count(*) FROM incident WHERE started_at >= %(from)s AND started_at < %(to)s AND """
    + INCIDENT_MATCHES
    + """) AS incidents, (SELECT count(*) FROM alert WHERE started_at >= %(from)s AND started_at < %(to)s
    AND (incident_id IS NULL
         OR NOT EXISTS (SELECT 1 FROM alert_change AS c WHERE c.alert_id = alert.id AND c.change = 'raised'
                        AND c.body ->> 'incident_id' IS NOT NULL)) AND """
    + ALERT_MATCHES
    + ") AS alone"
)

# ---------------------------------------------------------------- measures of alarms

ALERT_COUNTS: LiteralString = (
    """
SELECT count(*) FILTER (WHERE started_at >= %(from)s) AS raised,
       count(*) FILTER (WHERE state <> 'closed') AS open,
       count(*) FILTER (WHERE state <> 'closed' AND state = 'new') AS unacknowledged,
       count(*) FILTER (WHERE shelved_until > %(to)s) AS shelved
FROM alert WHERE """
    + ALERT_MATCHES
)

ALERTS_BY_STATE: LiteralString = (
    "SELECT state, severity, count(*) AS alerts FROM alert WHERE (state <> 'closed' OR updated_at >= %(from)s) AND "
    + ALERT_MATCHES
    + " GROUP BY state, severity ORDER BY state, severity"
)

ALERTS_PER_10_MIN: LiteralString = (
    """
SELECT date_bin('10 minutes', started_at, '2000-01-01Z') AS t, count(*) AS alerts FROM alert
WHERE started_at >= %(from)s AND started_at < %(to)s AND """
    + ALERT_MATCHES
    + " GROUP BY 1 ORDER BY 1"
)

ALERTS_TOP: LiteralString = (
    """
SELECT body #>> '{device,id}' AS device, kind, count(*) AS alerts FROM alert
WHERE started_at >= %(from)s AND started_at < %(to)s AND """
    + ALERT_MATCHES
    + " GROUP BY 1, 2 ORDER BY alerts DESC, device, kind LIMIT 10"
)

# ---------------------------------------------------------------- devices

# Silent: nothing for three periods, and for two minutes at least.
DEVICE_STATUS: LiteralString = """
(CASE WHEN online IS FALSE THEN 'offline'
      WHEN last_seen IS NULL OR last_seen < %(now)s::timestamptz
           - make_interval(secs => greatest(3 * coalesce(period_s, 60), 120)) THEN 'silent'
      ELSE 'online' END)
"""

DEVICE_COLUMNS: LiteralString = (
    "key, id, run, kind, name, lon, lat, datum_given, address_id, building_class, mount, period_s, product, "
    "building, floor, calibration, town, village, "
    "grid, disabled, generated, created_at, updated_at, last_seen, online, battery_pct, rssi_dbm, firmware, "
    "bearing_deg, fov_deg, range_m, height_m, gb28181_id, " + DEVICE_STATUS + " AS status"
)

DEVICES: LiteralString = (
    "SELECT "
    + DEVICE_COLUMNS
    + " FROM device LEFT JOIN camera ON camera.device = device.key WHERE "
    + AREA
    + """
AND (%(exercise)s::text = 'any' OR run IS NOT DISTINCT FROM %(exercise)s::text)
AND (%(kind)s::text[] IS NULL OR kind = ANY (%(kind)s))
AND (%(town)s::text[] IS NULL OR town = ANY (%(town)s))
AND (%(pattern)s::text IS NULL OR id ILIKE %(pattern)s OR name ILIKE %(pattern)s)
AND (%(status)s::text[] IS NULL OR """
    + DEVICE_STATUS
    + """ = ANY (%(status)s))
AND (%(after_id)s::text IS NULL OR (id, key) > (%(after_id)s, %(after_key)s::int))
ORDER BY id, key LIMIT %(limit)s
"""
)

DEVICE: LiteralString = (
    "SELECT "
    + DEVICE_COLUMNS
    + " FROM device LEFT JOIN camera ON camera.device = device.key"
    + " WHERE id = %(id)s AND run IS NOT DISTINCT FROM %(exercise)s::text AND "
    + AREA
)

# What is wrong with the device itself, now: its clock, silence, a stuck value.
FAULTS_OF_DEVICE = """
SELECT id AS alert, kind, severity, started_at, body -> 'title' AS title, body -> 'value' AS value,
       body -> 'unit' AS unit, body #> '{evidence,features}' AS features
FROM alert WHERE device = %(device)s AND starts_with(kind, 'device.') AND condition = 'active' AND state <> 'closed'
ORDER BY started_at DESC, id LIMIT 20
"""

DELETE_DEVICE = "DELETE FROM device WHERE id = %(id)s AND run IS NULL RETURNING key"

REGISTRY = "SELECT key, id, kind, run, town, village, grid FROM device ORDER BY key"
METRIC_NAMES = "SELECT key, name FROM metric ORDER BY key"

CAMERAS_IN_BOX: LiteralString = (
    "SELECT "
    + DEVICE_COLUMNS
    + " FROM device LEFT JOIN camera ON camera.device = device.key"
    + " WHERE kind = 'camera' AND run IS NULL AND NOT disabled"
    + " AND lon BETWEEN %(west)s AND %(east)s AND lat BETWEEN %(south)s AND %(north)s AND "
    + AREA
    + " LIMIT 5000"
)

# ---------------------------------------------------------------- what was received

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

LEDGER: LiteralString = (
    """
SELECT minute, coalesce(device.id, '') AS id, ledger.device AS key, device.run, received, stored, duplicate,
       rejected, quarantined
FROM ledger_minute AS ledger LEFT JOIN device ON device.key = ledger.device
WHERE minute >= %(since)s AND (%(device)s::text IS NULL OR device.id = %(device)s)
  AND (%(exercise)s::text = 'any' OR device.run IS NOT DISTINCT FROM %(exercise)s::text)
  AND (%(after)s::timestamptz IS NULL OR (minute, ledger.device) > (%(after)s, %(after_key)s::int)) AND """
    + AREA
    + " ORDER BY minute, ledger.device LIMIT %(limit)s"
)

# What names no device of the area belongs to the city's desk, as everywhere.
QUARANTINE: LiteralString = (
    """
SELECT id, received_at, topic, device_id, run, reason, detail, count, length(payload) AS bytes,
       replay_asked_at, replayed_at, substring(payload FOR 1000) AS head
FROM quarantine
WHERE (%(reason)s::text IS NULL OR reason = %(reason)s) AND (%(device)s::text IS NULL OR device_id = %(device)s)
  AND (%(exercise)s::text = 'any' OR run IS NOT DISTINCT FROM %(exercise)s::text)
  AND (%(after)s::bigint IS NULL OR id < %(after)s)
  AND (%(area)s::text = '' OR EXISTS (
      SELECT FROM device WHERE device.id = quarantine.device_id AND device.run IS NOT DISTINCT FROM quarantine.run
      AND """
    + AREA
    + """))
ORDER BY id DESC LIMIT %(limit)s
"""
)

# Only what lies in the caller's area; ``ids`` or a filter, never everything by a slip.
ASK_REPLAY: LiteralString = (
    """
WITH asked AS (
    UPDATE quarantine SET replay_asked_at = now()
    WHERE replayed_at IS NULL AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
      AND (%(reason)s::text IS NULL OR reason = %(reason)s)
      AND (%(device)s::text IS NULL OR device_id = %(device)s)
      AND (%(area)s::text = '' OR EXISTS (
          SELECT FROM device WHERE device.id = quarantine.device_id
            AND device.run IS NOT DISTINCT FROM quarantine.run AND """
    + AREA
    + """))
    RETURNING id)
SELECT count(*) AS asked, pg_notify('quarantine_replay', '') AS woken FROM asked
"""
)

GAPS: LiteralString = (
    """
SELECT device.id AS device, device.run AS exercise, gap.first, gap.last, gap.device AS key, gap.opened_at,
       gap.after_at, gap.before_at, gap.asks, gap.ask_at, coalesce(gap.outcome, 'open') AS state, gap.closed_at,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(gap.missing) AS r) AS missing
FROM seq_gap AS gap JOIN device ON device.key = gap.device
WHERE (gap.opened_at >= %(since)s OR gap.outcome IS NULL)
  AND (%(device)s::text IS NULL OR device.id = %(device)s)
  AND (%(state)s::text IS NULL OR coalesce(gap.outcome, 'open') = %(state)s)
  AND (%(exercise)s::text = 'any' OR device.run IS NOT DISTINCT FROM %(exercise)s::text)
  AND (%(after)s::timestamptz IS NULL
       OR (gap.opened_at, gap.device, gap.first) < (%(after)s, %(after_key)s::int, %(after_first)s::bigint)) AND """
    + AREA
    + " ORDER BY gap.opened_at DESC, gap.device DESC, gap.first DESC LIMIT %(limit)s"
)

# For a process without ingest: what changed lately, by key.
SEEN_AFTER = """
SELECT key, last_seen AS t, online, battery_pct, rssi_dbm, firmware FROM device
WHERE last_seen > %(after)s ORDER BY last_seen LIMIT 5000
"""

POSITIONS_AFTER = """
SELECT DISTINCT ON (device) device AS key, time AS t, lon, lat, speed_kmh, heading_deg, bed, cover
FROM position WHERE time > %(after)s ORDER BY device, time DESC
"""

NEWEST_POSITIONS = """
SELECT DISTINCT ON (device) device AS key, time AS t, lon, lat, speed_kmh, heading_deg, bed, cover
FROM position WHERE time > %(after)s ORDER BY device, time DESC
"""

# ---------------------------------------------------------------- places

REGIONS = """
SELECT code, level, name, name_en, parent, kind, outline, generated, version FROM region
WHERE level = %(level)s AND valid_from <= %(now)s AND (valid_to IS NULL OR valid_to > %(now)s)
  AND (%(parent)s::text IS NULL OR parent = %(parent)s)
  AND (%(after)s::text IS NULL OR code > %(after)s)
ORDER BY code LIMIT %(limit)s
"""

GRIDS = """
SELECT code, village, town, outline, generated, version FROM grid_cell
WHERE valid_from <= %(now)s AND (valid_to IS NULL OR valid_to > %(now)s)
  AND (%(prefix)s::text IS NULL OR starts_with(code, %(prefix)s))
  AND (%(after)s::text IS NULL OR code > %(after)s)
ORDER BY code LIMIT %(limit)s
"""

ADDRESSES = """
SELECT id, text, road, number, grid, lon, lat, generated, version FROM address
WHERE text ILIKE ALL (%(patterns)s::text[]) AND (%(after)s::text IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(limit)s
"""

# What has a fixed place, for the rings round an alert.
DEVICES_IN_BOX: LiteralString = (
    "SELECT id, kind, name, lon, lat, town, village, grid, "
    + DEVICE_STATUS
    + " AS status FROM device WHERE run IS NULL AND NOT disabled AND kind <> 'camera'"
    + " AND lon BETWEEN %(west)s AND %(east)s AND lat BETWEEN %(south)s AND %(north)s AND "
    + AREA
    + " LIMIT 50000"
)

KEY_PLACES_IN_BOX = """
SELECT id, kind, name, name_en, lon, lat, address_id, people, town, village, grid, generated FROM key_place
WHERE lon BETWEEN %(west)s AND %(east)s AND lat BETWEEN %(south)s AND %(north)s LIMIT 50000
"""

ZONE_RULES = """
SELECT kind, severity_min, radius_m, action, level, department, name, name_en, why FROM zone_rule
WHERE (kind = %(kind)s OR (right(kind, 1) = '*' AND (starts_with(%(kind)s, left(kind, -1))
                                                     OR %(kind)s = left(kind, -2))))
  AND valid_from <= %(now)s AND (valid_to IS NULL OR valid_to > %(now)s)
"""

OPEN_ALERTS_IN_BOX: LiteralString = (
    "SELECT kind, (body #>> '{location,lon}')::float8 AS lon, (body #>> '{location,lat}')::float8 AS lat, "
    + ALERT_JSON
    + """ AS alert FROM alert
WHERE state <> 'closed' AND exercise IS NULL AND (body #>> '{location,lon}')::float8 BETWEEN %(west)s AND %(east)s
  AND (body #>> '{location,lat}')::float8 BETWEEN %(south)s AND %(north)s AND """
    + AREA
    + " ORDER BY id LIMIT 5000"
)

ADDRESSES_BY_ID = """
SELECT id, text, road, number, grid, lon, lat, generated, version FROM address WHERE id = ANY (%(ids)s)
"""

ADDRESS = "SELECT id, text, road, number, grid, lon, lat, generated, version FROM address WHERE id = %(id)s"

ADDRESS_ALIASES = """
SELECT text, kind, valid_from, valid_to FROM address_alias WHERE address_id = %(id)s ORDER BY key
"""

ADDRESSES_OF_BUILDING = """
SELECT id, text FROM address
WHERE id BETWEEN rpad(%(building)s, %(length)s, '0') AND rpad(%(building)s, %(length)s, '9') AND id <> %(id)s
ORDER BY id LIMIT 1000
"""

# ---------------------------------------------------------------- people

USER = "SELECT name, password_hash, role, area, language, disabled FROM app_user WHERE name = %(name)s"

USERS = "SELECT name, role, area, language, demo, disabled, created_at FROM app_user ORDER BY name"

ADD_USER = """
INSERT INTO app_user (name, password_hash, role, area, demo)
VALUES (%(name)s, %(password_hash)s, %(role)s, %(area)s, %(demo)s)
ON CONFLICT (name) DO NOTHING RETURNING name
"""

REPLACE_DEMO_USER = """
INSERT INTO app_user (name, password_hash, role, area, demo)
VALUES (%(name)s, %(password_hash)s, %(role)s, %(area)s, true)
ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, role = excluded.role,
    area = excluded.area, disabled = false WHERE app_user.demo
RETURNING name
"""

DISABLE_USER = "UPDATE app_user SET disabled = %(disabled)s WHERE name = %(name)s RETURNING name"

ADD_SESSION = """
INSERT INTO app_session (digest, kind, name, expires_at) VALUES (%(digest)s, %(kind)s, %(name)s, %(expires_at)s)
"""

SESSION = """
SELECT app_user.name, role, area, language, expires_at FROM app_session JOIN app_user USING (name)
WHERE digest = %(digest)s AND kind = %(kind)s AND expires_at > %(now)s AND NOT disabled
"""

TAKE_TICKET = """
WITH taken AS (DELETE FROM app_session WHERE digest = %(digest)s AND kind = 'ticket' RETURNING name, expires_at)
SELECT app_user.name, role, area, language FROM taken JOIN app_user USING (name)
WHERE taken.expires_at > %(now)s AND NOT disabled
"""

SIGN_OUT = "DELETE FROM app_session WHERE digest = %(digest)s RETURNING name"

SIGN_OUT_USER = "DELETE FROM app_session WHERE name = %(name)s"

SESSIONS_ALIVE = """
SELECT digest FROM app_session
WHERE digest = ANY (%(digests)s::bytea[]) AND kind = 'bearer' AND expires_at > %(now)s
"""

USERS_ENABLED = """
SELECT name, role, area FROM app_user WHERE name = ANY (%(names)s::text[]) AND NOT disabled
"""

AUDIT = """
INSERT INTO audit (actor, action, target, body) VALUES (%(actor)s, %(action)s, %(target)s, %(body)s::jsonb)
"""

TOWNS_NAMED = "SELECT code FROM region WHERE level = 'town' AND name = %(name)s AND valid_to IS NULL"

# ---------------------------------------------------------------- trips

NEWEST_HANDOVER = "SELECT coalesce(max(seq), 0) AS seq FROM handover"

HANDOVERS_AFTER = """
SELECT seq, change, exercise, body FROM handover WHERE seq > %(seq)s ORDER BY seq LIMIT %(limit)s
"""

_OF_EXERCISE = "(%(exercise)s::text = 'any' OR exercise IS NOT DISTINCT FROM %(exercise)s::text)"

HANDOVERS_BEFORE = f"""
SELECT seq, change, exercise, body FROM handover
WHERE (%(before)s::bigint IS NULL OR seq < %(before)s) AND {_OF_EXERCISE}
  AND (%(area)s::text = '' OR starts_with(left_town, left(%(area)s, 9))
       OR starts_with(entered_town, left(%(area)s, 9)))
ORDER BY seq DESC LIMIT %(limit)s
"""

HANDOVERS_OF_TRIPS = """
SELECT seq, trip_id, change, body FROM handover WHERE trip_id = ANY (%(trips)s::text[]) ORDER BY seq
"""

TRIPS = """
SELECT id, started_at, body FROM trip
WHERE device = %(device)s AND state <> 'withdrawn'
  AND (%(area)s::text = ''
       OR EXISTS (SELECT 1 FROM trip_leg WHERE trip_id = trip.id AND starts_with(code, %(area)s)))
  AND (%(after)s::timestamptz IS NULL OR (started_at, id) < (%(after)s, %(after_id)s))
ORDER BY started_at DESC, id DESC LIMIT %(limit)s
"""

ALL_TRIPS = TRIPS.replace(
    "WHERE device = %(device)s", f"WHERE {_OF_EXERCISE} AND (%(state)s::text IS NULL OR state = %(state)s)"
)
MEDIA: LiteralString = "SELECT state, reason, name FROM media WHERE url = %(url)s"
