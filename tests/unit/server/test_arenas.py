from __future__ import annotations

import subprocess
import sys

import pytest

from server.arenas import share_heaps

HELD_BY_EACH = """
import ctypes, sys, threading
from server.arenas import share_heaps
if sys.argv[1] == "shared" and not share_heaps():
    sys.exit(3)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
ready = threading.Barrier(12)
def work():
    ready.wait()
    for _ in range(100):
        libc.malloc(1000)
    ready.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
[t.start() for t in threads]; [t.join() for t in threads]
libc.fdopen.restype, libc.fdopen.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p]
out = libc.fdopen(1, b"w")
libc.malloc_info(0, out)
libc.fflush.argtypes = [ctypes.c_void_p]
libc.fflush(out)
"""


def heaps(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", HELD_BY_EACH, how], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.count("<heap nr=")


def test_threads_share_heaps() -> None:
    if not share_heaps():
        pytest.skip("this C library has no mallopt")
    assert heaps("shared") <= 2 < heaps("own")
