"""What ``gridpulse import`` holds a file against before it writes: outlines, parents, and the datum.

Gives notes for a person and, where the datum is plainly another one, a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from db.devices import DeviceRow
from db.pool import Connection
from geo.datum_proof import Claim, OutlineProof, Proof, Towns, prove_outlines, prove_points
from geo.grids import Cell, Region
from geo.imports import AddressRow, Problem
from geo.store import load_outlines, real_places
from geo.validate import Fault, check_division

FAULTS_LISTED_MAX = 100
STRAYS_LISTED_MAX = 10
ADDRESSES_PROVED_MAX = 20_000


@dataclass(slots=True)
class Held:
    """What came of holding a file against what is known."""

    rows: list[Any]
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: str = ""
    faults: int = 0


async def hold_outlines(
    conn: Connection,
    what: str,
    rows: Sequence[Any],
    at: datetime,
    datum: str | None,
    *,
    validate: bool,
    repair: bool,
) -> Held:
    """Regions or cells: their faults (repaired where asked and safe), and their datum by outlines known."""
    regions, cells = await load_outlines(conn, at)
    known: dict[str, Any] = {region.code: region.outline for region in regions}
    known |= {cell.code: cell.outline for cell in cells}
    held = Held(list(rows))
    if validate or repair:
        given: list[Region] = list(rows) if what == "regions" else []
        drawn: list[Cell] = [] if what == "regions" else list(rows)
        mended, cut, faults = check_division(given, drawn, regions, repair=repair)
        held.rows = [*mended, *cut]
        held.faults = len(faults)
        held.notes += _fault_lines(faults)
        crossed = [row for row in held.rows if not row.outline.is_valid]
        reason = "the outline crosses itself, and rebuilding it would change its area; draw it anew"
        held.problems += [Problem(row.code, reason) for row in crossed]
        held.rows = [row for row in held.rows if row.outline.is_valid]
    if datum is not None and not datum.startswith("epsg:") and await real_places(conn, at):
        proof = prove_outlines(held.rows, known, datum)
        if proof is not None:
            _judge(held, proof)
    return held


async def hold_devices(
    conn: Connection, what: str, rows: list[DeviceRow], towns: dict[str, str], at: datetime
) -> Held:
    """Devices or cameras whose town is declared: does it hold under their datum?"""
    claims = [
        Claim(row.id, towns[row.id], row.lon, row.lat, row.datum_given or "wgs84")
        for row in rows
        if row.id in towns and row.lon is not None and row.lat is not None
    ]
    return await _hold_points(conn, what, rows, claims, at)


async def hold_addresses(conn: Connection, rows: list[AddressRow], datum: str | None, at: datetime) -> Held:
    """Addresses declare their town by their id; the first ones are asked, under the file's datum."""
    if datum is None or datum.startswith("epsg:"):
        return Held(rows)
    claims = [Claim(row.id, row.id[:9], row.lon, row.lat, datum) for row in rows[:ADDRESSES_PROVED_MAX]]
    return await _hold_points(conn, "addresses", rows, claims, at)


async def hold_claims(conn: Connection, what: str, claims: list[Claim], at: datetime) -> Held:
    """Points of any file whose town is declared."""
    return await _hold_points(conn, what, [], claims, at)


async def _hold_points(conn: Connection, what: str, rows: list[Any], claims: list[Claim], at: datetime) -> Held:
    held = Held(rows)
    if not claims:
        return held
    if not await real_places(conn, at):
        if what != "addresses":
            held.notes.append("note: the datum is not proved: the town outlines here are generated or missing")
        return held
    regions, _ = await load_outlines(conn, at)
    towns = Towns([region for region in regions if region.level == "town"])
    unknown = Counter(claim.town for claim in claims if towns.row(claim.town) is None)
    if unknown:
        named = ", ".join(sorted(unknown)[:STRAYS_LISTED_MAX])
        held.notes.append(
            f"note: {unknown.total()} {what} declare a town without an outline here ({named});"
            " import regions first to have them proved"
        )
    for proof in prove_points(what, claims, towns):
        _judge(held, proof)
    return held


def _judge(held: Held, proof: Proof | OutlineProof) -> None:
    if proof.verdict == "refuse":
        held.refused = f"{proof}; import it with --datum {proof.best}, or with --force if you know better"
        return
    if proof.verdict == "doubt":
        held.notes.append(f"warning: {proof}; no datum fits better, so look at these")
    elif isinstance(proof, Proof):
        held.notes.append(f"note: {proof}")
    if isinstance(proof, Proof):
        held.notes += [f"warning: {stray}" for stray in proof.strays[:STRAYS_LISTED_MAX]]
        if len(proof.strays) > STRAYS_LISTED_MAX:
            held.notes.append(f"warning: {len(proof.strays) - STRAYS_LISTED_MAX} more lie elsewhere")


def _fault_lines(faults: Sequence[Fault]) -> Iterator[str]:
    """The largest faults one by one, then how many of which kind."""
    ordered = sorted(faults, key=lambda fault: (fault.repaired, -fault.area_m2))
    yield from (str(fault) for fault in ordered[:FAULTS_LISTED_MAX])
    if len(faults) > FAULTS_LISTED_MAX:
        yield f"{len(faults) - FAULTS_LISTED_MAX} smaller faults are not listed"
    kinds = Counter(fault.kind for fault in faults)
    mended = sum(fault.repaired for fault in faults)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    yield f"faults: {counted or 'none'}; {mended} repaired"

