"""Devices and cameras of the registry, and what is wrong with them."""

from __future__ import annotations

from typing import LiteralString

from api.queries.scope import AREA

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
