"""The faults themselves. Each returns whether it bit: a fault that met nothing proves nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ingest.endpoint import take_over
from server.wiring import INGEST_CLIENT_ID
from simulators.connection import open_connection
from simulators.wire import BrokerAddress
from tests.chaos.house import CLOCK_LIBRARY, House, Service, query, wait_for
from tests.chaos.relay import AFTER_COMMIT, BEFORE_COMMIT, IN_COPY
from tests.chaos.schedule import ALL, BROKER, DATABASE, SERVER, Fault

BITE_WITHIN_S = 10.0
WRITER = "SELECT pid FROM pg_stat_activity WHERE application_name = 'gridpulse-ingest'"
TERMINATE_WRITER = WRITER.replace("SELECT pid", "SELECT pg_terminate_backend(pid)")
WAITS = WRITER + " AND wait_event_type = 'Lock'"
FILE_BYTES = 16 * 1024 * 1024
"""A segment of the write-ahead log: files may grow so far and no further while the disk is "full"."""
STEP_S = 200.0
"""How far a clock is stepped: less than what makes a right time one of the future."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fault that has happened, when, and whether it bit."""

    fault: Fault
    began_s: float
    took_s: float
    bit: bool

    def __str__(self) -> str:
        met = "" if self.bit else ", MISSED"
        return f"{self.fault}  began {self.began_s:6.1f} s, took {self.took_s:4.1f} s{met}"


# -------------------------------------------------------------------- any part


async def kill_server(house: House, fault: Fault) -> bool:
    house.server.kill()
    await asyncio.sleep(fault.for_s)
    await house.start_server()
    return True


async def stall_server(house: House, fault: Fault) -> bool:
    os.kill(house.server_pid, signal.SIGSTOP)
    await asyncio.sleep(fault.for_s)
    os.kill(house.server_pid, signal.SIGCONT)
    return True


async def restart_server(house: House, fault: Fault) -> bool:
    code = await asyncio.to_thread(house.server.stop)
    await house.start_server()
    return code in (0, -signal.SIGTERM)  # -15: it had not come so far as to listen


async def step_clock(house: House, fault: Fault) -> bool:
    """The server's clock jumps, and jumps back when it is put right."""
    off_s = STEP_S if fault.kind == "clock ahead" else -STEP_S
    house.clock.step(off_s)
    bit = await clock_is_off(house, off_s)
    await asyncio.sleep(fault.for_s)
    house.clock.step(0.0)
    return bit and await clock_is_off(house, 0.0)


async def clock_is_off(house: House, off_s: float) -> bool:
    """Whether the server's answers come to be dated so."""
    end = time.monotonic() + BITE_WITHIN_S
    while time.monotonic() < end:
        said_s = await asyncio.to_thread(house.server.clock_s)
        if said_s is not None and abs(said_s - time.time() - off_s) < STEP_S / 2:
            return True
        await asyncio.sleep(0.1)
    return False


async def kill(service: Service, fault: Fault) -> bool:
    await service.kill()
    await asyncio.sleep(fault.for_s)
    await service.start()
    return True


async def stall(service: Service, fault: Fault) -> bool:
    service.signal(signal.SIGSTOP)
    await asyncio.sleep(fault.for_s)
    service.signal(signal.SIGCONT)
    return True


async def restart(service: Service, fault: Fault) -> bool:
    await service.stop()
    await service.start()
    return True


async def power_cut(house: House, fault: Fault) -> bool:
    """All at once: what was in the memory of any is gone."""
    house.broker.signal(signal.SIGKILL)
    house.database.signal(signal.SIGKILL)
    house.server.kill()
    for service in (house.broker, house.database):
        await service.stop()
    await asyncio.sleep(fault.for_s)
    for service in (house.broker, house.database):
        await service.start()
    await house.start_server()
    return True


# -------------------------------------------------------------------- the database


async def lock_a_table(house: House, fault: Fault) -> bool:
    """Nobody may write readings for a while."""
    async with await psycopg.AsyncConnection.connect(house.database_url) as conn:
        await conn.execute("LOCK TABLE reading IN SHARE MODE")
        bit = await until_rows(house, WAITS)
        await asyncio.sleep(fault.for_s)
    return bit


async def stall_the_writer(house: House, fault: Fault) -> bool:
    """The database goes on, but for the one session that stores."""
    pids = await writers(house)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(fault.for_s)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return bool(pids)


async def cut_a_copy(house: House, fault: Fault) -> bool:
    """The session ends when half of a COPY has arrived."""

    async def terminate() -> None:
        await query(house.database_url, TERMINATE_WRITER)

    return await house.relay.act(IN_COPY, BITE_WITHIN_S, terminate)


async def deadlock(house: House, fault: Fault) -> bool:
    """Two tables locked crosswise, and the other session more patient than ours."""
    for _ in range(3):
        async with await psycopg.AsyncConnection.connect(house.database_url) as conn:
            await conn.execute("SET deadlock_timeout = '4s'")
            await conn.execute("LOCK TABLE ledger_minute IN SHARE MODE")
            if not await until_rows(house, WAITS):
                return False
            # Ours waits for the ledger and holds the readings. It looks after a second of waiting, and gives way.
            with suppress(psycopg.errors.DeadlockDetected):
                await conn.execute("LOCK TABLE reading IN SHARE MODE")
                return True
    return False


async def lose_a_commit(house: House, fault: Fault) -> bool:
    return await house.relay.act(BEFORE_COMMIT, BITE_WITHIN_S)


async def lose_the_answer(house: House, fault: Fault) -> bool:
    return await house.relay.act(AFTER_COMMIT, BITE_WITHIN_S)


async def disk_full(house: House, fault: Fault) -> bool:
    """No file grows beyond a segment of the write-ahead log: tables are longer, the log goes on.

    A real full disk for the write-ahead log is a database that dies; that is ``kill``.
    """
    log = house.database.home.logs / "postgres.log"
    before = log.stat().st_size
    limit_files(house.database.pids(), str(FILE_BYTES))
    try:
        bit = await wait_for(lambda: b"could not extend file" in log.read_bytes()[before:], BITE_WITHIN_S)
        await asyncio.sleep(fault.for_s)
    finally:
        limit_files(house.database.pids(), "unlimited")
    return bit


def limit_files(pids: Sequence[int], size: str) -> None:
    """How long a file these processes, and those they start, may make. As their own account: others may not."""
    for pid in pids:
        with suppress(FileNotFoundError):
            owner, root = Path(f"/proc/{pid}").stat(), os.geteuid() == 0
            subprocess.run(
                ["prlimit", f"--pid={pid}", f"--fsize={size}:"],
                user=owner.st_uid if root else None,
                group=owner.st_gid if root else None,
                extra_groups=[] if root else None,
                check=False,
            )


async def writers(house: House) -> list[int]:
    """The sessions that store."""
    if not await until_rows(house, WRITER):
        return []
    return [int(str(row[0])) for row in await query(house.database_url, WRITER)]


async def until_rows(house: House, sql: str) -> bool:
    """Whether the statement found something in time."""
    end = time.monotonic() + BITE_WITHIN_S
    while not await query(house.database_url, sql):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


# -------------------------------------------------------------------- the broker


class Nobody:
    """A client that takes what it is given and answers nothing."""

    def acknowledged(self, packet_ids: Sequence[int]) -> None: ...

    def refused(self, packet_id: int, reason: object) -> None: ...

    def received(self, packet: object) -> None: ...


async def cut_the_connection(house: House, fault: Fault) -> bool:
    """Another client with our id, which keeps the session: packet ids begin anew, nothing is acknowledged."""
    address = BrokerAddress.parse(house.broker_url)
    connection, answer = await open_connection(
        address, INGEST_CLIENT_ID, Nobody(), clean_start=False, session_expiry_s=0xFFFFFFFF
    )
    connection.abort("that was all")
    return bool(answer.session_present)


async def take_the_session_over(house: House, fault: Fault) -> bool:
    """Another client with our id, which wants a new session: what was queued for us is gone."""
    await take_over(house.broker_url, [INGEST_CLIENT_ID])
    return True


# -------------------------------------------------------------------- all

Harm = Callable[[House, Fault], Awaitable[bool]]


def of_service(work: Callable[[Service, Fault], Awaitable[bool]]) -> Harm:
    """The same for the database or the broker, as the fault says."""

    async def harm(house: House, fault: Fault) -> bool:
        return await work(house.database if fault.part == DATABASE else house.broker, fault)

    return harm


HARMS: dict[tuple[str, str], Harm] = {
    (SERVER, "kill"): kill_server,
    (SERVER, "stall"): stall_server,
    (SERVER, "restart"): restart_server,
    (SERVER, "clock ahead"): step_clock,
    (SERVER, "clock back"): step_clock,
    **{
        (part, kind): of_service(work)
        for part in (DATABASE, BROKER)
        for kind, work in (("kill", kill), ("stall", stall), ("restart", restart))
    },
    (DATABASE, "lock a table"): lock_a_table,
    (DATABASE, "stall the writer"): stall_the_writer,
    (DATABASE, "cut a COPY"): cut_a_copy,
    (DATABASE, "deadlock"): deadlock,
    (DATABASE, "lose a COMMIT"): lose_a_commit,
    (DATABASE, "lose the answer to a COMMIT"): lose_the_answer,
    (DATABASE, "disk full"): disk_full,
    (BROKER, "cut the connection"): cut_the_connection,
    (BROKER, "take the session over"): take_the_session_over,
    (ALL, "power cut"): power_cut,
}


def possible(fault: Fault) -> bool:
    """Whether this machine has what the fault takes."""
    if fault.kind.startswith("clock "):
        return CLOCK_LIBRARY is not None
    return fault.kind != "disk full" or shutil.which("prlimit") is not None


async def happen(house: House, fault: Fault, began_s: float) -> Outcome:
    """Let one fault happen, alone on its part."""
    async with house.to_itself(fault.part):
        start_s = time.monotonic()
        bit = await HARMS[fault.part, fault.kind](house, fault)
        return Outcome(fault, start_s - began_s, time.monotonic() - start_s, bit)


async def one_by_one(house: House, faults: Sequence[Fault], say: Callable[[str], None]) -> list[Outcome]:
    """Each fault once all is well again after the one before, so that each bites."""
    began_s, outcomes = time.monotonic(), []
    for fault in faults:
        await house.ready()
        outcomes.append(await happen(house, fault, began_s))
        say(str(outcomes[-1]))
    return outcomes


async def as_they_come(house: House, faults: Sequence[Fault], say: Callable[[str], None]) -> list[Outcome]:
    """Each fault at its time, whatever became of those before; of one part one after the other."""
    began_s, outcomes = time.monotonic(), []

    async def one(fault: Fault) -> None:
        outcomes.append(await happen(house, fault, began_s))
        say(str(outcomes[-1]))

    async with asyncio.TaskGroup() as group:
        for fault in faults:
            await asyncio.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
            group.create_task(one(fault), name=str(fault))
    return outcomes
