"""Measures of alarms: how many, in what state, how dense, and which device and kind raises most."""

from __future__ import annotations

from typing import LiteralString

from api.queries.alerts import ALERT_MATCHES
from api.queries.incidents import INCIDENT_MATCHES

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
