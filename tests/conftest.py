"""Fixtures every level shares; the real stack is in ``tests/fix_stack.py``."""

from __future__ import annotations

pytest_plugins = ["tests.fix_stack"]
