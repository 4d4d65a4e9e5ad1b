"""DIN 4150-3: guide values for short-term vibration of buildings.

Source: the table of ``building_damage.py`` in phonometry, citing DIN
4150-3:1999-02, whose values the 2016 edition keeps; three further codes agree.
Foundation, largest of |vx|, |vy|, |vz| in mm/s, linear between the corners; top
floor: largest horizontal component, all frequencies. Exceeding a value does not
mean damage; it means that somebody should look.

=============  =======  =====  ===================  =========
class          1-10 Hz  50 Hz  100 Hz and above     top floor
=============  =======  =====  ===================  =========
commercial     20       40     50                   40
residential    5        15     20                   15
sensitive      3        8      10                   8
=============  =======  =====  ===================  =========
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.devices import BUILDING_CLASSES
from domain.readings import Float64

CORNER_HZ = (10.0, 50.0, 100.0)
FOUNDATION_MM_S = np.array([[20.0, 40.0, 50.0], [5.0, 15.0, 20.0], [3.0, 8.0, 10.0]])
TOP_FLOOR_MM_S = np.array([40.0, 15.0, 8.0])
STRICTEST_MM_S = float(FOUNDATION_MM_S.min())

Classes = NDArray[np.intp]


def class_number(building_class: str) -> int:
    """0 commercial, 1 residential, 2 sensitive; an unknown word counts as residential."""
    return BUILDING_CLASSES.index(building_class) if building_class in BUILDING_CLASSES else 1


def foundation_limit(classes: Classes, freq_hz: Float64) -> Float64:
    """The limit in mm/s for each class number and frequency, ``(n,)``.

    Below 10 Hz, and where the frequency is unknown (NaN), the plateau holds: it
    is the strictest value of its class.
    """
    f = np.nan_to_num(np.asarray(freq_hz, float), nan=0.0)
    corner = FOUNDATION_MM_S[classes]
    a, b, c = corner[..., 0], corner[..., 1], corner[..., 2]
    low = a + (b - a) * (np.clip(f, 10.0, 50.0) - 10.0) / 40.0
    return np.asarray(np.where(f <= 50.0, low, b + (c - b) * (np.clip(f, 50.0, 100.0) - 50.0) / 50.0))


def limit_mm_s(building_class: str, freq_hz: float | None, mount: str = "foundation") -> float:
    """The limit of one building; ``freq_hz`` None means the strictest of its class."""
    number = class_number(building_class)
    if mount == "top_floor":
        return float(TOP_FLOOR_MM_S[number])
    f = np.array([np.nan if freq_hz is None else freq_hz])
    return float(foundation_limit(np.array([number]), f)[0])
