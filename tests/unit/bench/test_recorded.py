from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.recorded import MORE_PLANTED, cuts, plant_more


def test_cuts_of_a_folder_are_the_same_each_time_and_carry_windows(tmp_path: Path) -> None:
    hours = np.arange(4_000)
    value = 20 + 5 * np.sin(hours / 24 * 2 * np.pi)
    stamps = np.datetime64("2020-01-01T00:00:00") + hours.astype("timedelta64[h]")
    lines = [f"{t},{v:.4f}" for t, v in zip(stamps.astype(str), value, strict=True)]
    (tmp_path / "room__a.csv").write_text("\n".join(["timestamp,value", *lines]))
    (tmp_path / "notes.csv").write_text("not one of them")
    first, second = list(cuts(tmp_path, range(20))), list(cuts(tmp_path, range(20)))
    assert [s.family for s in first] == ["room"] * 20
    assert sum(len(s.windows) for s in first) > 20
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.value, two.value)
        assert one.windows == two.windows
        assert all(0 <= a < b < len(one.value) for a, b in one.windows)
        assert one.kinds or np.abs(one.value - 20).max() <= 5.001, "nothing planted, nothing changed"


def test_what_is_planted_changes_only_what_follows() -> None:
    rng = np.random.default_rng(1)
    for kind in MORE_PLANTED:
        value = 20 + 5 * np.sin(np.arange(2_000) / 24 * 2 * np.pi + 0.3)
        before = value.copy()
        plant_more(rng, kind, value, 1_500, 24)
        np.testing.assert_array_equal(value[:1_500], before[:1_500])
        assert (value[1_500:1_560] != before[1_500:1_560]).any()
