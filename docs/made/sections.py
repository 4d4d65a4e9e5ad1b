"""The parts of the documentation that are made from code: name → Markdown.

Each function reads what the program itself uses (settings, commands, routes, rules,
SQL), so a page cannot say something else. Where code has no words for a reader, the
words stand in ``docs/made/words.py``, and a thing without words is an error: whoever
adds a quarantine reason or a table explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from alerting.detectors.catalogue import DETECTORS
from docs.made import alerting, api, ingest, limits, server, storage

SECTIONS: Mapping[str, Callable[[], str]] = {
    "settings": server.settings,
    "commands": server.commands,
    "scenarios": server.scenarios,
    **{f"payload-{name}": partial(ingest.payload, name) for name in ingest.PAYLOADS},
    **{f"limits-{name}": partial(limits.limits, name) for name in limits.LIMITS},
    "quarantine-reasons": ingest.quarantine_reasons,
    "transitions": alerting.transitions,
    "refusals": alerting.refusals,
    "actions": alerting.actions,
    "default-rules": alerting.default_rules,
    **{f"detector-{name.replace('_', '-')}": partial(alerting.detector_settings, name) for name in DETECTORS},
    "din4150": alerting.din4150_points,
    "duties": alerting.duties,
    "matters": alerting.matters,
    "http-routes": api.http_routes,
    "http-bodies": api.http_bodies,
    "permissions": api.permissions,
    "close-codes": api.close_codes,
    "timeline": api.timeline_stages,
    "metrics": storage.metrics,
    "tables": storage.database_tables,
    "code-map": storage.code_map,
}
