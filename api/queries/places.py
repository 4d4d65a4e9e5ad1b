"""Regions, grid cells, addresses, and what lies round an alert."""

from __future__ import annotations

from typing import LiteralString

from api.queries.alerts import ALERT_JSON
from api.queries.devices import DEVICE_STATUS
from api.queries.scope import AREA

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
