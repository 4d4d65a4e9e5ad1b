"""Advisory locks: one number a purpose, so that two purposes never wait for each other."""

from __future__ import annotations

MIGRATIONS = 7265010
ALERT_CURSOR = 7265011
"""Taken in SQL by next_alert_cursor(): commit order is cursor order."""
MAINTENANCE = 7265012
PLACES = 7265013
ALERT_DEFAULTS = 7265014
DETECTION = 7265041
"""Held by the process that detects, for as long as its connection lives."""
HANDOVER_SEQ = 7265031
"""Taken in SQL by next_handover_seq()."""
