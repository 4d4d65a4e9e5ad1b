"""The rule of address ids a database was made with, so that every program on it reads ids alike."""

from __future__ import annotations

from db.pool import Connection, unavailable
from domain.addresses import SHENZHEN, AddressRule, use_address_rule
from domain.errors import SettingsError

SELECT = "SELECT base_grid_digits, building_digits, room_digits FROM address_rule"
# Whatever holds an id of the old rule keeps it: another rule would read other buildings out of it.
CHANGE = """
UPDATE address_rule SET base_grid_digits = %s, building_digits = %s, room_digits = %s
WHERE NOT EXISTS (SELECT FROM address) AND NOT EXISTS (SELECT FROM building_owner)
  AND NOT EXISTS (SELECT FROM device WHERE address_id IS NOT NULL OR building IS NOT NULL)
  AND NOT EXISTS (SELECT FROM key_place WHERE address_id IS NOT NULL)
"""


async def stored_rule(conn: Connection) -> AddressRule:
    """The database's rule."""
    row = await (await conn.execute(SELECT)).fetchone()
    return AddressRule(*row) if row else SHENZHEN


async def settle_rule(conn: Connection, wanted: AddressRule | None, *, may_change: bool = False) -> AddressRule:
    """Let this process use the database's rule; ``wanted`` becomes it where ``may_change`` and no id is there.

    Raises: SettingsError when another one is wanted, DatabaseUnavailable.
    """
    with unavailable("reading the rule of address ids"):
        stored = await stored_rule(conn)
        if wanted is not None and wanted != stored:
            if not may_change:
                raise SettingsError(
                    f"GRIDPULSE_ADDRESS_DIGITS is {wanted}, but this database's addresses follow {stored}:"
                    " leave the setting out, or run `gridpulse up` or `migrate` with it before anything is imported"
                )
            digits = (wanted.base_grid_digits, wanted.building_digits, wanted.room_digits)
            if not (await conn.execute(CHANGE, digits)).rowcount:
                raise SettingsError(
                    f"address ids of the rule {wanted} are wanted (GRIDPULSE_ADDRESS_DIGITS; the demo city has"
                    f" {SHENZHEN}), but the database holds ids of the rule {stored}: start with {stored}"
                    " (and --no-demo), or with a new home or database"
                )
            stored = wanted
    use_address_rule(stored)
    return stored
