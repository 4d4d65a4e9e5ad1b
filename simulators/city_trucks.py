"""The demo city's works site, tip and truck permit: those of the muck truck's trip.

Only MT-01 has a permit; about the other trucks' routes the rules are silent.
"""

from __future__ import annotations

from alerting.trips.permits import Permissions, Permit, Site
from simulators.scenarios.route import MUCK_ROUTE

TOWNS = ("441900126", "441900127", "441900125", "441900124", "441900005")
"""麻涌, 望牛墩, 洪梅, 道滘, 万江."""

LOAD_RADIUS_M, TIP_RADIUS_M, CORRIDOR_M = 300.0, 1200.0, 400.0


def demo_permissions() -> Permissions:
    """A site in 麻涌, a tip in 万江, and the permit of MT-01 for the way between them at any hour."""
    (load_lon, load_lat), (tip_lon, tip_lat) = MUCK_ROUTE[0], MUCK_ROUTE[-1]
    sites = (
        Site("SITE-0001", "load", {"zh": "麻涌示范工地", "en": "Machong demo works"}, None, load_lon, load_lat,
             LOAD_RADIUS_M, 0, None),
        Site("TIP-0001", "tip", {"zh": "万江示范消纳场", "en": "Wanjiang demo tip"}, None, tip_lon, tip_lat,
             TIP_RADIUS_M, 0, None),
    )  # fmt: skip
    permit = Permit("PERMIT-MT-01", "MT-01", TOWNS, MUCK_ROUTE, CORRIDOR_M, None, 0, None)
    return Permissions(sites, (permit,))
