"""Incidents, their history and their alerts."""

from __future__ import annotations

from typing import LiteralString

from api.queries.scope import AREA

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

INCIDENTS_LISTED: LiteralString = (
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
