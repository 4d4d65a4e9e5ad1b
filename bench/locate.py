"""Points to places: µs a point in bulk and one at a time, over 3,001 cells. No database.

    python -m bench.locate [--addresses 1000000] [--points 200000]

The demo city with more addresses. Points near addresses as devices and vehicles are, and points
anywhere in the city; each figure is the median of five rounds,
in processor time of the one thread that works.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from geo.locate import ADDRESS_WITHIN_M, Locator
from simulators.city import build_city

Float64 = NDArray[np.float64]

ROUNDS = 5
NEAR_DEG = 0.0004
"""Standard deviation of a point about its address: some 40 m."""


def us_each(work: Callable[[], object], count: int) -> float:
    """Median microseconds of processor time of a round, by item: what runs beside it counts less."""
    spent = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        spent.append((time.process_time() - begin) * 1e6 / count)
    return statistics.median(spent)


def measure(name: str, locator: Locator, lon: Float64, lat: Float64) -> None:
    """One line of the table."""
    n = len(lon)
    whole = us_each(lambda: locator.points(lon, lat), n)
    columns = us_each(lambda: locator.columns(lon, lat), n)
    nearest = us_each(lambda: locator.addresses.nearest(lon, lat, ADDRESS_WITHIN_M), n)
    cell = us_each(lambda: locator.layers[0].containing(lon, lat), n)
    single = us_each(lambda: [locator.points(lon[i : i + 1], lat[i : i + 1]) for i in range(500)], 500)
    print(f"{name:<28}{whole:>10.2f}{columns:>10.2f}{nearest:>10.2f}{cell:>10.2f}{single:>12.0f}")


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--addresses", type=int, default=1_000_000)
    options.add_argument("--points", type=int, default=200_000)
    chosen = options.parse_args()
    city = build_city(addresses=chosen.addresses)
    begin = time.perf_counter()
    locator = Locator.build(city.regions, city.cells, city.addresses, "bench")
    built_s = time.perf_counter() - begin
    print(f"{len(city.addresses):,} addresses, {len(city.cells):,} cells; built from lists in {built_s:.1f} s")
    print(f"{'processor µs a point':<28}{'places':>10}{'columns':>10}{'address':>10}{'cell':>10}{'one alone':>12}")
    rng = np.random.default_rng(1)
    near = rng.integers(0, len(city.addresses), chosen.points)
    lon, lat = (city.addresses.lon[near], city.addresses.lat[near])
    spread = rng.normal(0, NEAR_DEG, (2, chosen.points))
    measure("near addresses", locator, lon + spread[0], lat + spread[1])
    west, south, east, north = lon.min(), lat.min(), lon.max(), lat.max()
    box = rng.uniform(west, east, chosen.points), rng.uniform(south, north, chosen.points)
    measure("anywhere in the city's box", locator, *box)


if __name__ == "__main__":
    main()
