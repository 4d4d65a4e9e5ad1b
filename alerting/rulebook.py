"""The rules as people see and change them, and how a running server follows them.

A change is checked first (``parse_rule`` says what is wrong, ``remarks`` what looks
wrong), then written as a new version; the table wakes every server. The one that
detects takes the new rules between two blocks. A rule in the table that is wrong all
the same (written by hand) is named in the log and counted, and the version before it
stays in force.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.base import Rule
from alerting.metrics import RULES_REFUSED
from alerting.rule_backtest import Asked, Limits, Progress, backtest, unheard
from alerting.rule_store import (
    CHANNEL,
    Row,
    check_version,
    delete_row,
    lock_row,
    put_row,
    read_metrics,
    read_rows,
    read_stamp,
    read_versions,
    shown,
)
from alerting.rules import parse_rule, remarks, rule_json
from alerting.service import AlertService
from db.listen import wakeups
from db.pool import Connection, Pool, unavailable
from domain.clock import US_PER_S
from domain.devices import Device
from domain.errors import DatabaseUnavailable, NotFound, PayloadError, SettingsError

log = logging.getLogger(__name__)

POLL_S = 5.0
VERSIONS_MAX = 100
DAY_US = 86_400 * US_PER_S

PUT_FIELDS = ("detector", "kind", "applies_to", "valid_from", "valid_to", "enabled", "settings")


class RuleBook:
    """Rules in the database."""

    def __init__(
        self,
        pool: Pool,
        url: str,
        devices: Callable[[], Sequence[Device]],
        now_us: Callable[[], int],
    ) -> None:
        self._pool = pool
        self._url = url
        self._devices = devices
        self._now_us = now_us
        self._busy = False

    # ------------------------------------------------------------ people

    async def all(self) -> list[dict[str, Any]]:
        """All rules with all their settings, by id. Raises: DatabaseUnavailable."""
        with unavailable("reading rules"):
            async with self._pool.connection() as conn:
                rows = await read_rows(conn)
        return [rule_shown(row) for row in rows if not row["deleted"]]

    async def get(self, rule_id: str) -> dict[str, Any]:
        """One rule with its versions, newest first. Raises: NotFound, DatabaseUnavailable."""
        with unavailable("reading a rule"):
            async with self._pool.connection() as conn:
                row = await lock_row(conn, rule_id)
                if row is None:
                    raise NotFound(f"there is no rule {rule_id!r}; GET /api/v1/rules lists them")
                versions = await read_versions(conn, rule_id, VERSIONS_MAX)
        return {**rule_shown(row), "deleted": row["deleted"], "versions": [shown(version) for version in versions]}

    async def put(self, rule_id: str, body: Mapping[str, Any], actor: str) -> tuple[dict[str, Any], bool]:
        """Write a rule; the rule with ``warnings``, and whether it is new.

        ``body``: PUT_FIELDS, ``note``, and for a rule that exists the ``version`` that was read.
        Raises: PayloadError, VersionConflict, DatabaseUnavailable.
        """
        rule = checked(rule_id, body)
        with unavailable("writing a rule"):
            async with self._pool.connection() as conn:
                row = await lock_row(conn, rule_id)
                known = row is not None and not row["deleted"]
                version = body.get("version")
                if known and version is None:
                    raise PayloadError("bad_body", '"version" is missing: send the one you have read')
                if known or version:
                    check_version(rule_id, row, version)
                warnings = await warnings_of(conn, rule)
                written = await put_row(conn, {**body, "id": rule_id}, actor, str(body.get("note") or ""))
                row = written or await lock_row(conn, rule_id)
        assert row is not None
        return {**rule_shown(row), "warnings": warnings}, not known

    async def delete(self, rule_id: str, version: int | None, actor: str, note: str) -> None:
        """Remove a rule; its alerts and history stay. Raises: NotFound, VersionConflict, DatabaseUnavailable."""
        with unavailable("removing a rule"):
            async with self._pool.connection() as conn:
                await delete_row(conn, rule_id, version, actor, note)

    async def backtest(
        self,
        rule_id: str,
        body: Mapping[str, Any] | None,
        *,
        begin_us: int | None = None,
        end_us: int | None = None,
        seconds: float = 60.0,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """What a rule (``body``; None = as it is) would have raised over stored data, against what is in force.

        The last 7 days unless told otherwise; one at a time. Raises: NotFound, PayloadError (also when
        another one runs), DatabaseUnavailable.
        """
        end = self._now_us() if end_us is None else end_us
        begin = end - 7 * DAY_US if begin_us is None else begin_us
        if not begin < end:
            raise PayloadError("bad_query", "from must lie before to")
        with unavailable("reading rules"):
            async with self._pool.connection() as conn:
                rows = await read_rows(conn)
                metrics = await read_metrics(conn)
        in_force, _, _ = followed(rows, {})
        row = next((row for row in rows if row["id"] == rule_id and not row["deleted"]), None)
        if body is None and row is None:
            raise NotFound(f"there is no rule {rule_id!r}; send the proposed rule in the body")
        proposed = checked(rule_id, {**(row or {}), **(body or {})})
        if self._busy:
            raise PayloadError("busy", "another back-test runs; try again when it has ended")
        self._busy = True
        try:
            asked = Asked(proposed, in_force, self._devices(), metrics, begin, end)
            return await backtest(self._url, asked, Limits(seconds), progress or unheard)
        finally:
            self._busy = False

    # ------------------------------------------------------------ the running server

    async def follow(self, alerts: AlertService, registry_version: Callable[[], object]) -> None:
        """Hand every change of the rules to the detectors; runs until cancelled.

        ``registry_version``: changes when a device has changed, who may then be another rule's.
        """
        stamp, devices = "", registry_version()
        good: dict[str, Rule] = {}
        async for _ in wakeups(self._url, CHANNEL, poll_s=POLL_S, name="gridpulse-rules"):
            try:
                with unavailable("reading rules"):
                    async with self._pool.connection() as conn:
                        newest = await read_stamp(conn)
                        rows = await read_rows(conn) if newest != stamp else None
                if devices != registry_version():
                    devices = registry_version()
                    alerts.forget_devices()
                if rows is not None:
                    rules, ended, refused = followed(rows, good)
                    good = {rule.id: rule for rule in rules}
                    RULES_REFUSED.set(refused)
                    stamp = newest
                    await alerts.set_rules(rules, ended)
                else:
                    await alerts.retire()
            except DatabaseUnavailable as error:
                log.info("rules are read again later: %s", error)


def checked(rule_id: str, body: Mapping[str, Any]) -> Rule:
    """The rule of a body. Raises: PayloadError ``bad_rule``."""
    try:
        return parse_rule({**{name: body[name] for name in PUT_FIELDS if name in body}, "id": rule_id})
    except SettingsError as error:
        raise PayloadError("bad_rule", str(error)) from error


async def warnings_of(conn: Connection, rule: Rule) -> list[str]:
    """What looks like a mistake in a rule that is about to be written."""
    others, _, _ = followed(await read_rows(conn), {})
    metrics = {*await read_metrics(conn), *(m for row in DEFAULT_RULES for m in parse_rule(row).settings.metrics())}
    return remarks(rule, metrics, others)


def rule_shown(row: Row) -> dict[str, Any]:
    """A rule for people: every setting it goes by, its version, and who changed it when and why."""
    try:
        rule, error = rule_json(parse_rule(row)), None
    except SettingsError as wrong:
        rule, error = {name: shown(row)[name] for name in ("id", *PUT_FIELDS)}, str(wrong)
    about = {"version": row["version"], "updated_by": row["updated_by"], "note": row["note"]}
    return {**rule, **about, "updated_at": row["updated_at"].isoformat(), "error": error}


def followed(rows: Sequence[Row], before: Mapping[str, Rule]) -> tuple[list[Rule], dict[str, str], int]:
    """The rules to go by, why others judge no more, and how many are wrong (``before`` is kept for those)."""
    rules: list[Rule] = []
    ended: dict[str, str] = {}
    refused = 0
    for row in rows:
        by = f"by {row['updated_by']} (version {row['version']})" + (f": {row['note']}" if row["note"] else "")
        if row["deleted"] or not row["enabled"]:
            ended[row["id"]] = ("removed " if row["deleted"] else "switched off ") + by
            continue
        try:
            rules.append(parse_rule(row))
        except SettingsError as error:
            refused += 1
            log.warning("a rule is wrong and is not followed, the one before stays: %s", error)
            if row["id"] in before:
                rules.append(before[row["id"]])
    return rules, ended, refused


