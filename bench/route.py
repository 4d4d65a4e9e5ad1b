"""What it costs to find who is told: µs a route, by the size of the duty table. No database, no broker.

    python -m bench.route [--routes 20000]

The large table is the one the seed names: 18 departments, 475 matters, 600 villages,
one lead row for each matter in each village.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence

from alerting.dispatch.defaults import DEFAULT_DUTIES
from alerting.dispatch.duties import Asked, DutyRow
from alerting.dispatch.table import DutyTable
from domain.places import Place
from tests.unit.alerting.duty_city import MATTERS, VILLAGES, kind_of_matter, place_in, rows

T0 = 1_790_000_000_000_000


def questions(count: int) -> list[Asked]:
    draw = random.Random(2)
    places: list[Place] = [place_in(village) for village in VILLAGES]
    found = []
    for _ in range(count):
        number = draw.randrange(len(MATTERS))
        kind = kind_of_matter(number).replace("*", "one")
        at_us = T0 + draw.randrange(7 * 86_400) * 1_000_000
        found.append(Asked(kind, draw.randint(1, 4), draw.choice(places), at_us, MATTERS[number]))
    return found


def measure(name: str, table_rows: Sequence[DutyRow], count: int) -> None:
    begin = time.perf_counter()
    table = DutyTable(table_rows)
    built_s = time.perf_counter() - begin
    asked = questions(count)
    for one in asked[:2000]:
        table.route(one)
    spent = []
    for one in asked:
        begin_ns = time.perf_counter_ns()
        table.route(one)
        spent.append((time.perf_counter_ns() - begin_ns) / 1000)
    spent.sort()
    begin = time.perf_counter()
    for one in asked[:20]:
        table.explain(one)
    explain_ms = (time.perf_counter() - begin) * 1000 / 20
    p99 = spent[int(len(spent) * 0.99)]
    mean = statistics.fmean(spent)
    print(f"{name:<28}{len(table_rows):>9}{built_s:>10.2f}{mean:>10.1f}{statistics.median(spent):>10.1f}{p99:>10.1f}"
          f"{explain_ms:>12.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=20_000)
    count = parser.parse_args().routes
    print(f"{'table':<28}{'rows':>9}{'built s':>10}{'mean µs':>10}{'p50 µs':>10}{'p99 µs':>10}{'explain ms':>12}")
    measure("default rows", DEFAULT_DUTIES, count)
    measure("475 matters × 600 villages", [*DEFAULT_DUTIES, *rows()], count)


if __name__ == "__main__":
    main()
