"""Fixtures every level shares: the stack (``fix_stack``) and the whole server (``fix_server``)."""

from __future__ import annotations

pytest_plugins = ["tests.fix_stack", "tests.fix_server"]
