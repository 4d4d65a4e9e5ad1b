"""Active alerts whose rule judges their device no longer: switched off, removed, out of force, meant for others.

Nobody would ever end them: their detector sees no more rows of that device. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alerting import lifecycle
from alerting.detectors.bank import DetectorBank
from alerting.lifecycle import Change
from domain.alerts import Alert


def retirements(
    alerts: Iterable[Alert], bank: DetectorBank, ended: Mapping[str, str], now_us: int
) -> list[Change]:
    """The change of each alert that is over because of a change of rules.

    ``ended``: rules that judge no more, and why. Alerts of no rule of ours (trips) are left alone.
    A real alert is judged by the rules of now, an exercise by those of its own clock.
    """
    changes = []
    for alert in alerts:
        at_us = lifecycle.newest_us(alert) if alert.exercise else max(now_us, lifecycle.newest_us(alert))
        because = ended.get(alert.rule)
        if because is None and alert.rule in bank.detectors and not bank.holds(alert.rule, alert.device, at_us):
            because = "it judges this device no longer"
        if because is not None:
            decision = lifecycle.on_retired(alert, because, at_us, now_us)
            if isinstance(decision, Change):
                changes.append(decision)
    return changes
