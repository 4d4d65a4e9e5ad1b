"""Few heaps for many threads.

glibc gives threads heaps of their own, up to eight for each core, and each keeps about as
much as it ever held. Our threads take turns at the same large jobs (checkpoints, locators),
so that in time every heap would have held the largest. They share two instead; what
they do at the same time is mostly waiting.
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""From glibc's malloc.h; see mallopt(3)."""
ARENAS = 2


def share_heaps() -> bool:
    """Let threads that start from now on share ``ARENAS`` heaps; False where the C library has no such word."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS))
    except (OSError, AttributeError):
        return False
