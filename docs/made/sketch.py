"""Line plots as SVG text: panels one above the other over one time axis, as a detector sees its input.

Pure, and the same numbers give the same text: coordinates are rounded to a tenth of a
pixel, a line of many samples becomes the smallest and largest of each pixel column.
Refuses to be a plotting library: no legends, no styles, no second axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, LEFT, RIGHT = 760, 62, 14
PANEL, GAP, HEAD, FOOT = 104, 14, 30, 34
INK, MUTED, GRID, RED, SHADE = "#1f2933", "#66737f", "#e3e8ec", "#c2362b", "#f6c9c4"
LINES = ("#1f6f9f", "#c07a12", "#4b8b3b")
TICKS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Panel:
    """One plot. ``t``: seconds (or whatever the axis says); ``lines``: one or up to three series over ``t``.

    ``levels``: horizontal lines with their words (a threshold); ``spans``: shaded
    stretches (from, to) in which an alert is active; ``marks``: moments with a word (an
    onset); ``y_range``: left out, all that is drawn fits.
    """

    label: str
    t: ArrayLike
    lines: Sequence[ArrayLike]
    levels: Sequence[tuple[float, str]] = ()
    spans: Sequence[tuple[float, float]] = ()
    marks: Sequence[tuple[float, str]] = ()
    y_range: tuple[float, float] | None = None


def sketch(title: str, panels: Sequence[Panel], x_label: str = "seconds") -> str:
    """The panels as one SVG document; the time axis covers all of them. NaN breaks a line."""
    times = [np.asarray(panel.t, float) for panel in panels]
    x0, x1 = min(float(t.min()) for t in times), max(float(t.max()) for t in times)
    x1 = x1 if x1 > x0 else x0 + 1.0
    height = HEAD + len(panels) * (PANEL + GAP) + FOOT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 19, title, INK, size=13),
    ]
    for number, panel in enumerate(panels):
        out += _panel(panel, HEAD + number * (PANEL + GAP), x0, x1)
    bottom = HEAD + len(panels) * (PANEL + GAP) - GAP
    for x in _ticks(x0, x1, 8):
        out.append(_text(_x(x, x0, x1), bottom + 15, _number(x), MUTED, anchor="middle"))
    out += [_text((LEFT + WIDTH - RIGHT) / 2, bottom + 31, x_label, MUTED, anchor="middle"), "</svg>"]
    return "\n".join(out) + "\n"


def _panel(panel: Panel, top: float, x0: float, x1: float) -> list[str]:
    low, high = panel.y_range or _extent(panel)
    t = np.asarray(panel.t, float)
    right = WIDTH - RIGHT
    out = [f'<rect x="{LEFT}" y="{top}" width="{right - LEFT}" height="{PANEL}" fill="none" stroke="{GRID}"/>']
    for begin, end in panel.spans:
        a, b = _x(max(begin, x0), x0, x1), _x(min(end, x1), x0, x1)
        out.append(
            f'<rect x="{_f(a)}" y="{top}" width="{_f(max(b - a, 1.0))}" height="{PANEL}" fill="{SHADE}"/>'
        )
    for y in _ticks(low, high, 4):
        at = _y(y, low, high, top)
        out.append(f'<path d="M{LEFT} {_f(at)}H{right}" stroke="{GRID}"/>')
        out.append(_text(LEFT - 6, at + 4, _number(y), MUTED, anchor="end"))
    for colour, line in zip(LINES, panel.lines, strict=False):
        path = _path(t, np.asarray(line, float), x0, x1, low, high, top)
        out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.1"/>')
    for level, word in panel.levels:
        at = _y(level, low, high, top)
        out.append(f'<path d="M{LEFT} {_f(at)}H{right}" stroke="{RED}" stroke-dasharray="5 3"/>')
        out.append(_text(right - 4, at - 4, word, RED, anchor="end"))
    for moment, word in panel.marks:
        at = _x(moment, x0, x1)
        out.append(f'<path d="M{_f(at)} {top}V{top + PANEL}" stroke="{RED}"/>')
        left = at > (LEFT + right) / 2
        out.append(_text(at + (-4 if left else 4), top + PANEL - 6, word, RED, anchor="end" if left else "start"))
    out.append(_text(LEFT + 5, top + 13, panel.label, INK))
    return out


def _path(
    t: NDArray[np.float64], y: NDArray[np.float64], x0: float, x1: float, low: float, high: float, top: float
) -> str:
    """The line: as it is, or the smallest and largest of each pixel column when there are more samples."""
    px = LEFT + (t - x0) / (x1 - x0) * (WIDTH - RIGHT - LEFT)
    py = top + PANEL - (np.clip(y, low, high) - low) / (high - low) * PANEL
    if len(t) > 2 * (WIDTH - RIGHT - LEFT):
        column = np.floor(px).astype(int)
        first = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
        px = np.repeat(column[first] + 0.5, 2)
        py = np.stack([np.minimum.reduceat(py, first), np.maximum.reduceat(py, first)], axis=1).ravel()
    parts, pen = [], "M"
    for x, at in zip(px.tolist(), py.tolist(), strict=True):
        if math.isfinite(at):
            parts.append(f"{pen}{_f(x)} {_f(at)}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _extent(panel: Panel) -> tuple[float, float]:
    """Everything drawn, with a little air; nothing or one value gives a range of one."""
    values = np.concatenate([np.asarray(line, float).ravel() for line in panel.lines])
    values = np.append(values[np.isfinite(values)], [level for level, _ in panel.levels])
    if len(values) == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    air = 0.12 * (high - low) or 0.5
    return low - (air if low < 0 else 0.0), high + air


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between low and high, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (*TICKS, 10.0) if power * k >= rough * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _x(x: float, x0: float, x1: float) -> float:
    return LEFT + (x - x0) / (x1 - x0) * (WIDTH - RIGHT - LEFT)


def _y(y: float, low: float, high: float, top: float) -> float:
    return top + PANEL - (min(max(y, low), high) - low) / (high - low) * PANEL


def _f(value: float) -> str:
    """A coordinate to a tenth of a pixel; no minus zero."""
    return f"{round(value, 1) + 0.0:g}"


def _number(value: float) -> str:
    return f"{round(value, 9) + 0.0:g}"


def _text(x: float, y: float, words: str, colour: str, *, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{_f(x)}" y="{_f(y)}" fill="{colour}" text-anchor="{anchor}" '
        f'font-size="{size}">{escape(words)}</text>'
    )
