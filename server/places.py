"""The divisions in use by a running server: asked by every part, replaced in one step when places change.

Nothing is decided about a point here (``geo`` does that); nothing but the timeline and its stamp is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from alerting.service import AlertService
from db.listen import wakeups
from db.pool import Pool, unavailable
from domain.devices import Device
from domain.errors import DatabaseUnavailable
from domain.places import UNKNOWN_PLACE, Place, Whereabouts
from geo.borders import Ground
from geo.divisions import next_division, relocate_devices
from geo.locate import Locator
from geo.store import CHANNEL, notify_places, places_stamp
from geo.timeline import Timeline, load_timeline

log = logging.getLogger(__name__)

POLL_S = 60.0
DIVISIONS_EVERY_S = 5.0


class Places:
    """The divisions in use; a new one takes the old one's place between two calls."""

    def __init__(self, divisions: Timeline | Locator, stamp: str = "") -> None:
        self.divisions = Timeline(divisions) if isinstance(divisions, Locator) else divisions
        self._stamp = stamp

    @property
    def locator(self) -> Locator:
        """Of the division in force."""
        return self.divisions.locator

    def ground(self, at_us: int | None = None) -> Ground:
        """The ground of the division in force, or of the one of an event time."""
        return self.divisions.ground(at_us)

    def changed_since(self, at_us: int) -> bool:
        """Whether a new division has come into force since an event time."""
        return self.divisions.changed_since(at_us)

    def of_points(self, lon: Any, lat: Any, at_us: Any = None) -> Sequence[Place]:
        """Places of WGS-84 points now, or each in the division of its event time, ``(n,)``."""
        x, y = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
        if at_us is None or len(self.divisions) == 1:
            return self.locator.points(x, y)
        rows = self.divisions.rows(np.asarray(at_us, dtype=np.int64))
        found: list[Place] = [UNKNOWN_PLACE] * len(x)
        for row in np.unique(rows).tolist():
            mine = np.flatnonzero(rows == row)
            for at, place in zip(mine.tolist(), self.divisions.of_row(row).points(x[mine], y[mine]), strict=True):
                found[at] = place
        return found

    def of_device(self, address_id: str | None, lon: float | None, lat: float | None) -> Place:
        """The place of a device from what the registry knows of it."""
        return self.locator.device(address_id, lon, lat)

    def of_detections(self, wanted: Sequence[Whereabouts]) -> list[Place]:
        """Where each is, in the division of its time, and whose border is near."""
        grounds = [self.divisions.ground(one.at_us) for one in wanted]
        found: list[Place] = [UNKNOWN_PLACE] * len(wanted)
        for ground in dict.fromkeys(grounds):
            mine = [at for at, one in enumerate(grounds) if one is ground]
            for at, place in zip(mine, placed(ground, [wanted[at] for at in mine]), strict=True):
                found[at] = place
        return found

    async def follow(self, url: str, pool: Pool, alerts: AlertService | None = None) -> None:
        """Load the places anew when someone imported some and when ``keep_time`` says so.

        ``alerts``: those open are placed anew; only a process that writes alerts gives it.
        """
        renewed: Locator | None = None  # what changed while no process ran is made up for at the start
        async for _ in wakeups(url, CHANNEL, poll_s=POLL_S, name="gridpulse-places"):
            try:
                await self.reload(pool)
                if alerts is not None and renewed is not self.locator:
                    renewed = await self._renew(pool, alerts)
            except DatabaseUnavailable as error:
                log.info("places are read again later: %s", error)

    async def reload(self, pool: Pool) -> None:
        """Put the locator in force in the place of the one in use. Raises: DatabaseUnavailable."""
        divisions, stamp = await read_divisions(pool, self.divisions, self._stamp)
        if divisions is not self.divisions:
            await asyncio.to_thread(divisions.ground)  # made before it is asked for
        self.divisions, self._stamp = divisions, stamp

    async def _renew(self, pool: Pool, alerts: AlertService) -> Locator:
        """Devices and open alerts follow the locator in use, which is returned. Raises: DatabaseUnavailable."""
        locator = self.locator
        with unavailable("placing devices anew"):
            async with pool.connection() as conn, conn.transaction():
                devices = await relocate_devices(conn, locator)
        moved = await alerts.replace_places(f"new division {locator.version}")
        if devices or moved:
            log.info("new division %s: %d devices and %d open alerts moved", locator.version, len(devices), moved)
        return locator

    async def keep_time(self, pool: Pool) -> None:
        """Wake every process when a planned division comes into force."""
        since = datetime.now(UTC)
        while True:
            wait_s = DIVISIONS_EVERY_S
            try:
                with unavailable("asking for the next division"):
                    async with pool.connection() as conn:
                        at = await next_division(conn, since)
                        now = datetime.now(UTC)
                        if at is not None and at <= now:
                            await notify_places(conn)
                            since = now
                        elif at is not None:
                            wait_s = min(wait_s, (at - now).total_seconds() + 0.01)
            except DatabaseUnavailable as error:
                log.info("divisions to come are asked for later: %s", error)
            await asyncio.sleep(wait_s)


def placed(ground: Ground, wanted: Sequence[Whereabouts]) -> list[Place]:
    """By its own point (a vehicle's), the ground a camera sees, or the device's address or point."""
    places: list[Place] = []
    points: list[tuple[float | None, float | None]] = []
    for one in wanted:
        device, seen = one.device, None
        if one.lon is None and device.kind == "camera":
            seen = in_view(ground, device, one.box)
        if seen is not None:
            places.append(seen)
            points.append((None, None))  # its neighbours are found
            continue
        lon, lat = (one.lon, one.lat) if one.lon is not None else (device.lon, device.lat)
        places.append(ground.locator.device(None if one.lon is not None else device.address_id, lon, lat))
        points.append((lon, lat))
    x, y = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return ground.with_neighbours(places, x, y)


def in_view(ground: Ground, camera: Device, box: Sequence[float] | None) -> Place | None:
    """The place of what a camera sees; None where its lens is not known or it looks at nobody's ground."""
    lens = [camera.lon, camera.lat, camera.bearing_deg, camera.fov_deg, camera.range_m]
    known = [number for number in lens if number is not None]
    if len(known) < len(lens):
        return None
    lon, lat, bearing_deg, fov_deg, range_m = known
    place = ground.in_view(lon, lat, bearing_deg, fov_deg, range_m, box)
    return place if place.known else None


async def read_divisions(pool: Pool, current: Timeline | None = None, stamp: str = "") -> tuple[Timeline, str]:
    """The divisions and their stamp; ``current`` where the stamp is its own. Raises: DatabaseUnavailable."""
    with unavailable("reading the places"):
        async with pool.connection() as conn:
            now = datetime.now(UTC)
            newest = await places_stamp(conn, now)
            if current is not None and newest == stamp:
                return current, stamp
            divisions = await load_timeline(conn, now)
            held = divisions.locator.addresses
            log.info("places read: %d addresses in %d MB", len(held), held.nbytes >> 20)
            return divisions, newest
