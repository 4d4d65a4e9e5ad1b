"""``python -m bench [NAME …]``: all benchmarks, or the named ones, one after the other."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys

NAMES = (
    "alert_latency", "alert_storm", "ingest_rate", "detectors", "memory", "association", "planted_faults",
    "auto_score", "fanout", "locate", "route", "address_search", "address_load", "rollups",
)  # fmt: skip


def main() -> None:
    """Run them."""
    wanted = sys.argv[1:] or [name for name in NAMES if importlib.util.find_spec(f"bench.{name}")]
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in wanted:
        print(f"\n## {name}\n")
        sys.argv = [name]  # each reads its own options when it is run alone
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
