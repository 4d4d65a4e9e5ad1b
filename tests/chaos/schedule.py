"""Which fault happens when: a function of the seed and nothing else. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SERVER, DATABASE, BROKER, ALL = "server", "database", "broker", "all"

KINDS: dict[str, tuple[str, ...]] = {
    SERVER: ("kill", "stall", "restart", "clock ahead", "clock back"),
    DATABASE: (
        "kill", "stall", "restart", "lock a table", "stall the writer", "cut a COPY", "deadlock",
        "lose a COMMIT", "lose the answer to a COMMIT", "disk full",
    ),
    BROKER: ("kill", "stall", "restart", "cut the connection", "take the session over"),
    ALL: ("power cut",),
}  # fmt: skip
"""Every kind of fault, by the part it harms."""

KILLS_AND_STALLS = tuple((part, kind) for part in (SERVER, DATABASE, BROKER) for kind in ("kill", "stall"))
FOR_S = 0.3, 3.0
"""How long a part is stopped, held up or down."""
BETWEEN_S = 0.5, 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to which part, when since the beginning, and for how long."""

    number: int
    at_s: float
    part: str
    kind: str
    for_s: float

    def __str__(self) -> str:
        return f"{self.number:>3}. at {self.at_s:6.1f} s  {self.part}: {self.kind} ({self.for_s:.1f} s)"


def each_once(seed: int) -> list[Fault]:
    """Every kind once, in an order drawn from the seed."""
    rng = random.Random(seed)
    kinds = [(part, kind) for part, kinds in KINDS.items() for kind in kinds]
    rng.shuffle(kinds)
    return timed(rng, kinds, (FOR_S[0], FOR_S[1] / 2))


def at_random(seed: int, count: int) -> list[Fault]:
    """``count`` faults: every other one a kill or a stall, the rest of any kind."""
    rng = random.Random(seed)
    every = [(part, kind) for part, kinds in KINDS.items() for kind in kinds]
    return timed(rng, [rng.choice(KILLS_AND_STALLS if i % 2 else every) for i in range(count)], FOR_S)


def kills_and_stalls(seed: int, count: int) -> list[Fault]:
    """``count`` kills and stalls over server, database and broker."""
    rng = random.Random(seed)
    return timed(rng, [rng.choice(KILLS_AND_STALLS) for _ in range(count)], FOR_S)


def timed(rng: random.Random, kinds: Sequence[tuple[str, str]], for_s: tuple[float, float]) -> list[Fault]:
    """The same faults with their times."""
    at_s, faults = 0.0, []
    for number, (part, kind) in enumerate(kinds, 1):
        at_s += rng.uniform(*BETWEEN_S)
        faults.append(Fault(number, round(at_s, 2), part, kind, round(rng.uniform(*for_s), 2)))
    return faults
