"""The search for people over addresses: build time, memory, and how long a query takes.

    python -m bench.address_search [--addresses 1000000] [--queries 2000]

Generated addresses over the demo city's towns and villages; queries are whole texts, parts of
them, typing errors, pinyin and initials, in equal numbers.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from geo.addresses import AddressColumns, AddressIndex
from geo.han import initials, spellings
from geo.search import AddressFinder
from geo.streets import Streets
from simulators.city import build_city
from simulators.city_streets import road_names

TOWER_EVERY = 50


def addresses(names: dict[str, tuple[str, str]], total: int) -> AddressIndex:
    """``total`` addresses over the villages; one in fifty has a building's name."""
    rng = np.random.default_rng(1)
    villages = sorted(code for code in names if len(code) == 12)
    each = -(-total // len(villages))
    ids, texts, cells = [], [], []
    for village in villages:
        town = names[village[:9]][0]
        roads = road_names(40, rng)
        for k in range(each):
            road, number = roads[k % 40], k // 40 + 1
            ids.append(f"{village}{k % 90 + 1:02d}{k // 90 + 1:05d}000000")
            tower = f"{road[:2]}大厦{k % 9 + 1}栋" if k % TOWER_EVERY == 0 else ""
            texts.append(f"东莞市{town}{names[village][0]}{road}{number}号{tower}")
            cells.append(f"{village}{k % 90 + 1:03d}")
    lon, lat = rng.uniform(113.6, 114.0, total), rng.uniform(22.8, 23.1, total)
    return AddressIndex.of(AddressColumns(ids[:total], texts[:total], (), (), cells[:total], lon, lat))


def columns_mb(streets: Streets) -> float:
    """What the columns take: they are all that grows with the addresses."""
    return sum(v.nbytes for v in vars(streets).values() if isinstance(v, np.ndarray)) / 2**20


def queries(index: AddressIndex, count: int) -> list[str]:
    """What people may type, made from addresses that are there."""
    rng = np.random.default_rng(2)
    made = []
    for kind, row in enumerate(rng.integers(0, len(index), count).tolist()):
        text = index.texts[row]
        at = int(rng.integers(3, max(4, len(text) - 3)))
        short = text.removeprefix("东莞市")
        made.append(
            [
                text,
                short[at % 4 :],
                text[:at] + text[at + 1 :],
                text[:at] + "某" + text[at + 1 :],
                spellings(short[:2])[0] + " " + spellings(short[-6:-2])[0],
                sorted(initials(short[:6]))[0],
                short[:3],
            ][kind % 7]
        )
    return made


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--addresses", type=int, default=1_000_000)
    options.add_argument("--queries", type=int, default=2000)
    chosen = options.parse_args()
    names = {region.code: (region.name, region.name_en) for region in build_city().regions}
    index = addresses(names, chosen.addresses)
    start = time.perf_counter()
    finder = AddressFinder.build(index, names)
    built_s = time.perf_counter() - start
    streets = finder.streets
    print(f"{len(index):,} addresses, {len(streets.village):,} streets, {len(streets.roads):,} road names")
    print(f"built in {built_s:.1f} s, columns of {columns_mb(streets):.0f} MB")
    took, worked, empty = [], [], 0
    for typed in queries(index, chosen.queries):
        start, busy = time.perf_counter(), time.process_time()
        empty += not finder.find(typed, 20)
        took.append((time.perf_counter() - start) * 1000)
        worked.append((time.process_time() - busy) * 1000)
    p50, p95, p99 = np.percentile(took, [50, 95, 99])
    print(f"processor time alone: p99 {np.percentile(worked, 99):.1f} ms")
    print(f"{len(took):,} queries: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, {empty} without an answer")


if __name__ == "__main__":
    main()
