"""The account of a device's messages, what is in quarantine, and gaps in sequence numbers."""

from __future__ import annotations

from typing import LiteralString

from api.queries.scope import AREA

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
