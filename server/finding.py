"""The search for people over addresses and places: made in the background, replaced when places change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from db.pool import Pool, unavailable
from domain.errors import DatabaseUnavailable
from geo.locate import Locator
from geo.search import AddressFinder, Alias, Found
from geo.store import load_aliases
from geo.streets import NAMES_MAX

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
RETRY_S = 10.0
BESIDE_MAX = 3_000_000
"""With more addresses the old search goes before the new one is made: both at once are too much memory."""


class Finding:
    """The finder in use; none until the first is made, which takes some seconds for a million addresses."""

    def __init__(self, pool: Pool, locator: Callable[[], Locator]) -> None:
        self._pool, self._locator = pool, locator
        self._finder: AddressFinder | None = None
        self._seen: Locator | None = None
        self._made_of: tuple[object, ...] = ()

    def find(self, typed: str, limit: int) -> list[Found] | None:
        """Places and addresses, best first; None while there is no finder yet."""
        finder = self._finder
        return None if finder is None else finder.find(typed, limit)

    def follows(self, locator: Locator) -> bool:
        """Whether the finder in use is made of this locator."""
        return self._seen is locator

    async def follow(self) -> None:
        """Make a new finder, in a thread, whenever the locator is another one with other places in it."""
        while True:
            locator = self._locator()
            if locator is self._seen:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            try:
                with unavailable("reading the addresses' other texts"):
                    async with self._pool.connection() as conn:
                        aliases = await load_aliases(conn)
            except DatabaseUnavailable as error:
                log.info("the address search is made later: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            made_of = (locator.version, len(locator.addresses), len(locator.names), tuple(aliases))
            if made_of != self._made_of:
                if len(locator.addresses) > BESIDE_MAX and self._finder is not None:
                    log.info("no address search until the new one is made: more than %d addresses", BESIDE_MAX)
                    self._finder = None
                self._finder = await asyncio.to_thread(_make, locator, aliases)
                self._made_of = made_of
            self._seen = locator


def _make(locator: Locator, aliases: list[Alias]) -> AddressFinder:
    finder = AddressFinder.build(locator.addresses, locator.names, aliases)
    if finder.streets.left_out:
        log.warning(
            "the address search leaves names of roads or buildings out, met %d times: it holds %d of each sort",
            finder.streets.left_out, NAMES_MAX,
        )  # fmt: skip
    return finder
