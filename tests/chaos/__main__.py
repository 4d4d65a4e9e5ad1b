"""``make soak``: the long proofs that nothing is lost. Ends with a verdict; exit code 1 when it is bad.

    python -m tests.chaos                                  all three, about an hour
    python -m tests.chaos kills --seed 7 --faults 100      kills, stalls and other faults, drawn from the seed
    python -m tests.chaos outage --minutes 10 --rate 5000  the database away under load
    python -m tests.chaos memory --minutes 30 --rate 3000  memory with many devices

Each takes ``--devices`` too. The same seed gives the same faults at the same times.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

from bench.soak import soak
from tests.chaos.campaign import campaign
from tests.chaos.faults import as_they_come, possible
from tests.chaos.outage import outage
from tests.chaos.schedule import at_random

SEED, FAULTS, RATE, DEVICES = 1, 100, 800, 2000
MANY_DEVICES = 10_000
PATIENCE_S = 1200.0
"""A gap whose questions were lost three times in the faults is asked about again after ten minutes."""


def kills(given: argparse.Namespace) -> list[str]:
    faults = [fault for fault in at_random(given.seed, given.faults) if possible(fault)]
    of = f"{given.devices} devices, {given.rate:,.0f} msg/s"
    say(f"seed {given.seed}: {len(faults)} faults in {faults[-1].at_s:.0f} s; {of}")
    report = asyncio.run(
        campaign(faults, as_they_come, rate=given.rate, devices=given.devices, patience_s=PATIENCE_S, say=say)
    )
    say(report.table())
    return report.wrong()


def away(given: argparse.Namespace) -> list[str]:
    return asyncio.run(outage(given.minutes, given.rate, given.devices, say))


def memory(given: argparse.Namespace) -> list[str]:
    return soak(given.minutes, given.rate, given.devices)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def arguments() -> argparse.ArgumentParser:
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=about)
    forms = parser.add_subparsers(title="forms; without one all three")
    faults = form(forms.add_parser("kills", help="faults over server, database and broker"), kills, RATE, DEVICES)
    faults.add_argument("--seed", type=int, default=SEED)
    faults.add_argument("--faults", type=int, default=FAULTS)
    gone = form(forms.add_parser("outage", help="the database away under load"), away, 5000, MANY_DEVICES)
    gone.add_argument("--minutes", type=float, default=10)
    long = form(forms.add_parser("memory", help="memory of the server over time"), memory, 3000, MANY_DEVICES)
    long.add_argument("--minutes", type=float, default=30)
    return parser


def form(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], list[str]], rate: float, devices: int
) -> argparse.ArgumentParser:
    parser.set_defaults(form=work)
    parser.add_argument("--rate", type=float, default=rate, help="messages a second")
    parser.add_argument("--devices", type=int, default=devices)
    return parser


def main() -> int:
    parser = arguments()
    all_of_them = [["kills"], ["outage"], ["memory"]]
    wrong: list[str] = []
    for words in [sys.argv[1:]] if sys.argv[1:] else all_of_them:
        given = parser.parse_args(words)
        began_s = time.monotonic()
        say(f"== {words[0]}")
        found = given.form(given)
        verdict = (
            "LOST OR WRONG: " + "; ".join(found) if found else "nothing lost, nothing twice, the account exact"
        )
        say(f"== {words[0]}: {verdict} ({time.monotonic() - began_s:.0f} s)")
        wrong += found
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
