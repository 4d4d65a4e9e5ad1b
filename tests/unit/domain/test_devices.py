from __future__ import annotations

from collections import Counter

from domain.devices import PARTITIONS, Device, partition_of


def test_a_partition_is_the_same_for_ever() -> None:
    # 0x26: the last byte of the check value that CRC-32 is published with.
    assert [partition_of(name) for name in ("VB-0001", "VB-0002", "123456789")] == [217, 99, 0x26]
    assert Device(7, "VB-0001", "vibration").partition == partition_of("VB-0001")
    assert Device(8, "VB-0001", "vibration", run="r1").partition == partition_of("VB-0001", "r1")


def test_devices_spread_over_all_partitions() -> None:
    spread = Counter(partition_of(f"VB-{number:05d}") for number in range(PARTITIONS * 40))
    assert len(spread) == PARTITIONS
    assert max(spread.values()) < 3 * 40
