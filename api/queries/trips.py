"""Trips of trucks and their handovers from town to town."""

from __future__ import annotations

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
