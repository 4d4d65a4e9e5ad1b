"""Bounds of the program by their names in the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

from api import accounts, auth, client, dispatch, filters, hub, live, messages, paging, secrets, snapshots, values
from api.routes import received
from docs.made.markdown import number, table
from docs.made.words import LIMIT_WORDS
from geo import borders, locate, matching, streets, zones
from ingest import codec, pace, registry, session, times, topics
from server import finding

LIMITS: Mapping[str, Sequence[tuple[ModuleType, str]]] = {
    "ingest": (
        (codec, "PAYLOAD_BYTES_MAX"), (codec, "VALUES_MAX"), (codec, "RATE_HZ_MAX"), (times, "AHEAD_US_MAX"),
        (session, "RECEIVE_MAX"), (session, "UNACKNOWLEDGED_BYTES_MAX"), (pace, "COMMIT_S"), (pace, "ROWS_MAX"),
        (registry, "DEVICES_MAX"), (registry, "METRICS_MAX"), (topics, "TOPICS_CACHED"),
    ),
    "live": (
        (live, "HELLO_S"), (messages, "MESSAGE_BYTES_MAX"), (live, "MESSAGES_BURST"), (live, "SUBSCRIPTIONS_MAX"),
        (filters, "VALUES_MAX"), (snapshots, "ALERTS_MAX"), (dispatch, "REPLAY_MAX"), (client, "FRAMES_MAX"),
        (client, "CHARS_MAX"), (values, "TICK_S"), (live, "CLIENTS_MAX"), (hub, "RECHECK_S"),
    ),
    "http": ((paging, "LIMIT_DEFAULT"), (paging, "LIMIT_MAX"), (received, "POINTS_MAX"), (received, "PACKETS_MAX")),
    "security": (
        (accounts, "TOKEN_TTL_S"), (accounts, "TICKET_TTL_S"), (secrets, "PASSWORD_MIN"), (auth, "LOGIN_BURST"),
        (auth, "LOGIN_EVERY_S"), (auth, "LOGIN_BURST_ADDRESS"), (auth, "LOGIN_EVERY_S_ADDRESS"),
    ),
    "places": (
        (locate, "ADDRESS_WITHIN_M"), (locate, "OUTLINE_WITHIN_M"), (locate, "SCORE_SCALE_M"),
        (locate, "DEVICE_SCORE_MIN"), (locate, "DEVICE_SCORE_UNCHECKED"),
    ),
    "search": (
        (matching, "QUERY_MAX"), (matching, "NAME_MAX"), (matching, "SPELLED_MAX"), (streets, "NAMES_MAX"),
        (finding, "BESIDE_MAX"),
    ),
    "zones": (
        (borders, "BORDER_WITHIN_M"), (borders, "NEIGHBOURS_MAX"), (zones, "RADIUS_M_MAX"), (zones, "RINGS_MAX"),
    ),
}  # fmt: skip


def limits(name: str) -> str:
    """Bounds of one part, by their names in the code."""
    rows = []
    for module, constant in LIMITS[name]:
        file = module.__name__.replace(".", "/") + ".py"
        rows.append((LIMIT_WORDS[constant], number(getattr(module, constant)), f"`{constant}` in `{file}`"))
    return table(("limit", "value", "where"), rows)
