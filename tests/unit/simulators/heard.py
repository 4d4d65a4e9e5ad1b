"""What the server would notice of simulated messages: decode, columns, detectors, all pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from itertools import islice

from alerting.default_rules import DEFAULT_RULES
from alerting.detectors.bank import DetectorBank
from alerting.rules import parse_rules
from domain.alerts import Detection
from domain.devices import Device
from ingest.batching import assemble, mark_late
from ingest.messages import Message, Rules, decode, metric_names
from ingest.timeliness import Timeliness
from simulators.devices import Emission, Site

BLOCK = 200


class Ear:
    """Keys are given out as devices and metrics are met; places and classes come from the sites."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = {site.id: site for site in sites}
        self.keys: dict[tuple[str, str | None], int] = {}
        self.devices: dict[int, Device] = {}
        self.metrics: dict[str, int] = {}
        self.refused: Counter[str] = Counter()
        self._timeliness = Timeliness()
        self._bank = DetectorBank(parse_rules(DEFAULT_RULES), self.devices.get, lambda: [*self.metrics])

    def hear(self, emissions: Iterable[Emission]) -> list[Detection]:
        found: list[Detection] = []
        stream = iter(emissions)
        while block := list(islice(stream, BLOCK)):
            found += self._hear_block(block)
        return found

    def _hear_block(self, emissions: Sequence[Emission]) -> Iterator[Detection]:
        messages = [
            Message(e.topic, e.payload, e.at_us, None, False, 0, number) for number, e in enumerate(emissions)
        ]
        decoded, refused = decode(messages, Rules(UTC, True, True))
        self.refused.update(refusal.reason + " " + refusal.detail for refusal in refused)
        for d in decoded:
            if (d.topic.device_id, d.topic.run) not in self.keys:
                self._meet(d.topic.device_id, d.topic.device_kind)
        for name in sorted(metric_names(decoded)):
            self.metrics.setdefault(name, len(self.metrics))
        rows = assemble(decoded, self.keys, self.metrics)
        mark_late(rows, self._timeliness)
        yield from self._bank.feed(rows.block(emissions[-1].at_us))

    def _meet(self, device_id: str, kind: str) -> None:
        key = self.keys[(device_id, None)] = len(self.keys) + 1
        site = self._sites.get(device_id)
        if site is None:
            self.devices[key] = Device(key, device_id, kind)
        else:
            self.devices[key] = Device(
                key, device_id, site.kind, lon=site.lon, lat=site.lat,
                building_class=site.building_class, mount=site.mount,
            )  # fmt: skip

    def name(self, detection: Detection) -> str:
        return self.devices[detection.device].id
