from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from docs.made.sketch import Panel, sketch

T = np.arange(0, 60, 0.01)
SVG = "{http://www.w3.org/2000/svg}"


def panel() -> Panel:
    y = np.where(np.arange(len(T)) == 3000, 5.0, np.sin(T))
    return Panel("a < b", T, [y], levels=[(3.0, "limit")], spans=[(30, 35)], marks=[(30, "onset")])


def test_the_same_numbers_give_the_same_well_formed_text() -> None:
    text = sketch("title & more", [panel(), panel()])
    assert text == sketch("title & more", [panel(), panel()])
    words = [each.text for each in ET.fromstring(text).iter(f"{SVG}text")]
    assert {"title & more", "a < b", "limit", "onset", "50"} <= set(words)
    assert len(text) < 80_000


def test_a_single_sample_stays_visible_among_thousands() -> None:
    paths = [each.get("d", "") for each in ET.fromstring(sketch("t", [panel()])).iter(f"{SVG}path")]
    line = max(paths, key=len)
    heights = sorted(float(point.split(" ")[1]) for point in line[1:].split("L"))
    assert heights[1] - heights[0] > 20, "the spike stands out by itself"


def test_nan_breaks_the_line_and_an_empty_or_flat_series_draws() -> None:
    t = np.arange(5.0)
    gap = sketch("t", [Panel("p", t, [np.array([0, 1, np.nan, 1, 0])])])
    assert max(each.get("d", "").count("M") for each in ET.fromstring(gap).iter(f"{SVG}path")) == 2
    assert "nan" not in sketch("t", [Panel("p", t, [np.full(5, np.nan)]), Panel("q", t, [np.full(5, 2.0)])])
