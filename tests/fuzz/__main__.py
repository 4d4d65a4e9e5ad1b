"""``make fuzz``: coverage-guided bytes into every adapter's decoder, where atheris is installed.

    python -m tests.fuzz [SECONDS]     60 seconds for all adapters together

Without atheris (it has wheels for few Python versions) the property tests run longer instead.
"""

from __future__ import annotations

import os
import subprocess
import sys

SECONDS = sys.argv[1] if len(sys.argv) > 1 else "60"
RSS_MB = 1024


def guided() -> int:
    import atheris

    with atheris.instrument_imports(include=["ingest.adapters"]):
        from tests.unit.ingest.adapters.mutations import read
        from tests.unit.ingest.adapters.samples import ALL

    def one(data: bytes) -> None:
        if data:
            read(ALL[data[0] % len(ALL)], data[1:])

    corpus = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gridpulse-fuzz-{os.getpid()}")
    os.makedirs(corpus, exist_ok=True)
    for index, sample in enumerate(ALL):
        with open(os.path.join(corpus, f"seed{index}"), "wb") as out:
            out.write(bytes([index]) + sample.payload)
    options = [f"-max_total_time={SECONDS}", "-timeout=5", f"-rss_limit_mb={RSS_MB}", "-max_len=8192"]
    atheris.Setup([sys.argv[0], *options, corpus], one)
    atheris.Fuzz()
    return 0


def longer() -> int:
    environment = os.environ | {"FUZZ_EXAMPLES": str(20 * int(SECONDS))}
    tests = "tests/unit/ingest/adapters/test_adapters_fuzz.py"
    return subprocess.call([sys.executable, "-m", "pytest", "-q", "--timeout=0", tests], env=environment)


if __name__ == "__main__":
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.stderr.write("atheris is not installed: running the property tests longer instead\n")
        sys.exit(longer())
    sys.exit(guided())
