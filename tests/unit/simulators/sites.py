"""A small town of sites for scenario tests: one house with three sensors, others alone."""

from __future__ import annotations

import math

from simulators.devices import Site


def town_sites() -> list[Site]:
    house = "4419000030010100001000000"
    sites = [
        Site("VB-0001", "vibration", 113.769, 23.066, house, "441900003"),
        Site("VB-0002", "vibration", 113.769, 23.066, house, "441900003"),
        Site("VB-0003", "vibration", 113.769, 23.066, house, "441900003", mount="top_floor"),
    ]
    for n in range(4, 44):
        town = f"4419001{n % 8:02d}"
        lon, lat = 113.55 + 0.012 * n, 22.75 + 0.009 * n
        mount = "top_floor" if n % 10 == 7 else "foundation"
        sites.append(
            Site(f"VB-{n:04d}", "vibration", lon, lat, f"{town}0010100{n:09d}", town, "residential", mount)
        )
    for kind, prefix, count in (
        ("tilt", "TL", 4),
        ("crack", "CR", 4),
        ("temperature", "TP", 4),
        ("smoke", "SM", 4),
    ):
        sites += [Site(f"{prefix}-{n:04d}", kind, 113.7 + 0.01 * n, 23.0, None, None) for n in range(1, count + 1)]
    sites += [Site(f"CM-{n:04d}", "camera", 113.7 + 0.01 * n, 23.0004, None, None) for n in range(1, 4)]
    sites += [Site(f"MT-{n:02d}", "vehicle", math.nan, math.nan) for n in range(1, 6)]
    return sites
