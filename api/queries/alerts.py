"""Alerts: lists, one, the snapshot of a live feed and the changes after it.

``ALERT_MATCHES`` says the same as ``AlertFilter.matches``.
"""

from __future__ import annotations

from typing import LiteralString

from api.queries.scope import AREA

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
