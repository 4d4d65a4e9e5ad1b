"""One entry for all fuzzers: bytes into an adapter, and what must hold whatever the bytes are."""

from __future__ import annotations

import math

from domain.errors import PayloadError
from domain.readings import NO_SEQ
from ingest.adapters.things import KINDS, Adapt, Thing
from ingest.codec import VALUES_MAX, Packet, StatusMessage, Values
from ingest.times import AHEAD_US_MAX, OLDEST_US
from ingest.topics import NAME
from tests.unit.ingest.adapters.samples import SAMPLES, Sample
from tests.unit.ingest.adapters.vendor import Surroundings, given


def read(sample: Sample, payload: bytes, adapt: Adapt | None = None) -> list[Thing] | PayloadError:
    """A payload where the sample's was. Raises: whatever is not a PayloadError."""
    adapt = adapt or Surroundings(frigate_url="http://frigate:5000").adapter(sample.adapter)
    try:
        things = list(adapt(given(sample.topic, payload, sample.pattern, sample.clock_us)))
    except PayloadError as error:
        refusal = error
    else:
        for thing in things:
            check(thing, sample.clock_us)
        return things
    assert refusal.reason.replace("_", "").isalpha()
    assert refusal.detail.strip()
    refusal.detail.encode()
    return refusal


def check(thing: Thing, clock_us: int) -> None:
    """What the tables rely on."""
    assert NAME.fullmatch(thing.device_id), thing
    assert thing.kind in KINDS.values()
    assert OLDEST_US <= thing.time_us <= clock_us + AHEAD_US_MAX, thing
    content = thing.content
    if isinstance(content, Values):
        assert 0 < len(content.value) <= VALUES_MAX
        assert len({len(content.time_us), len(content.seq), len(content.metric), len(content.value)}) == 1
        assert all(map(math.isfinite, content.value))
        assert all(seq == NO_SEQ for seq in content.seq)
        assert all(OLDEST_US <= t <= clock_us + AHEAD_US_MAX for t in content.time_us)
    elif isinstance(content, Packet):
        assert content.samples.shape[0] == 3
    elif isinstance(content, StatusMessage):
        assert all(n is None or math.isfinite(n) for n in (content.battery_pct, content.rssi_dbm))
    else:
        for text in (content.event_id, content.type, *content.objects, content.text or ""):  # type: ignore[union-attr]
            assert "\0" not in text
            text.encode()


BY_ADAPTER = {sample.adapter: sample for sample in SAMPLES}
