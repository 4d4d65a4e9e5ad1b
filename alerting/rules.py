"""Rules as checked settings: which detector watches what, and when it speaks.

A rule is data (table ``rule``); this module turns it into types or says in one
sentence what is wrong. It refuses unknown settings, because a misspelt limit
that is silently ignored is an alarm that never comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from domain.errors import SettingsError

Severity = Annotated[int, Field(ge=1, le=4)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Positive = Annotated[float, Field(gt=0)]


class Title(BaseModel):
    """The alert's headline in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


class _Settings(BaseModel):
    """What every rule has."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    title: Title


class ThresholdSettings(_Settings):
    """Levels of one metric, with hysteresis and delays in event time.

    ``levels``: severity to level, e.g. ``{3: 60, 2: 75}``; ``direction``: above,
    below, or magnitude (the sign does not matter, as with tilt); ``clear``: the value
    at or beyond which (on the safe side) the condition ends; ``on_delay_s``: how
    long a level must be exceeded without a break; ``off_delay_s``: how long the
    value must stay safe; ``gap_s``: silence after which both delays start anew;
    ``peak_step``: a new peak is reported when it passes the last reported one by
    this share of the level.
    """

    metric: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    unit: str = ""
    direction: Literal["above", "below", "magnitude"] = "above"
    levels: dict[Severity, float] = Field(min_length=1)
    clear: float
    on_delay_s: Seconds = 0.0
    off_delay_s: Seconds = 0.0
    gap_s: Positive = 600.0
    peak_step: Positive = 0.1

    @property
    def sign(self) -> int:
        """-1 when low values are bad, else 1."""
        return -1 if self.direction == "below" else 1

    @model_validator(mode="after")
    def _levels_make_sense(self) -> ThresholdSettings:
        steps = [self.sign * self.levels[s] for s in sorted(self.levels, reverse=True)]
        if any(b <= a for a, b in pairwise(steps)):
            raise ValueError(f"levels {self.levels}: a worse severity (1 is worst) needs a more extreme level")
        if self.direction == "magnitude" and steps[0] <= 0:
            raise ValueError("levels must be above zero when direction is magnitude")
        if self.sign * self.clear > steps[0]:
            mildest = self.sign * steps[0]
            raise ValueError(f"clear {self.clear} must not lie beyond the mildest level {mildest}")
        return self


class VibrationLimitSettings(_Settings):
    """DIN 4150-3 short-term limits; see ``alerting/detectors/vibration_limit.py``.

    ``ratio_severity``: severity from PPV / limit; ``self_built``: also warn
    (severity 3) from 70 % on, as GB 50868-2013 has it for self-built houses.
    """

    ppv_metric: str = "ppv_mm_s"
    freq_metric: str = "freq_hz"
    corner_hz: Annotated[float, Field(ge=0.1, le=4)] = 1.0
    settle_s: Seconds = 1.0
    gap_s: Positive = 2.0
    ratio_severity: dict[Severity, Positive] = {2: 1.0, 1: 3.0}
    self_built: bool = False
    self_built_ratio: Positive = 0.7
    clear_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    clear_after_s: Seconds = 10.0
    peak_factor: Annotated[float, Field(gt=1)] = 1.25

    def steps(self) -> list[tuple[float, int]]:
        """(ratio, severity), mildest first."""
        table = dict(self.ratio_severity)
        if self.self_built:
            table[3] = self.self_built_ratio
        return sorted((ratio, severity) for severity, ratio in table.items())

    @model_validator(mode="after")
    def _steps_rise(self) -> VibrationLimitSettings:
        severities = [s for _, s in self.steps()]
        if severities != sorted(severities, reverse=True):
            raise ValueError("ratio_severity: a higher ratio needs a worse severity (1 is worst)")
        return self


class StaLtaSettings(_Settings):
    """Short against long average; see ``alerting/detectors/sta_lta.py``.

    ``floor_gal``: below this short-term amplitude nothing triggers, whatever the
    ratio; ``pga_severity``: severity to peak acceleration in gal.
    """

    sta_s: Positive = 1.0
    lta_s: Positive = 10.0
    on: Annotated[float, Field(gt=1)] = 3.0
    off: Annotated[float, Field(gt=1)] = 1.5
    background_s: Positive = 60.0
    floor_gal: Positive = 0.3
    dead_s: Seconds = 60.0
    trigger_s_max: Positive = 300.0
    gap_s: Positive = 5.0
    severity: Severity = 4
    pga_severity: dict[Severity, Positive] = {3: 22.0, 2: 89.0, 1: 178.0}
    peak_factor: Annotated[float, Field(gt=1)] = 1.25

    @model_validator(mode="after")
    def _windows_and_levels(self) -> StaLtaSettings:
        if self.off >= self.on:
            raise ValueError(f"off {self.off} must be below on {self.on}")
        if self.lta_s < 5 * self.sta_s:
            raise ValueError("lta_s must be at least five times sta_s")
        steps = [self.pga_severity[s] for s in sorted(self.pga_severity, reverse=True)]
        if steps != sorted(steps):
            raise ValueError("pga_severity: a worse severity (1 is worst) needs a higher acceleration")
        return self


class CameraSettings(_Settings):
    """One type of camera event: the score it needs, and its severities by score."""

    type: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    score_min: Annotated[float, Field(ge=0, le=1)] = 0.5
    severity: Severity = 3
    score_severity: dict[Severity, Annotated[float, Field(ge=0, le=1)]] = {}
    stale_s: Positive = 300.0


class VehicleCoverSettings(_Settings):
    """A loaded bed under an open cover, for this long; closed again for that long."""

    severity: Severity = 3
    on_delay_s: Seconds = 10.0
    off_delay_s: Seconds = 0.0
    gap_s: Positive = 120.0


Settings = ThresholdSettings | VibrationLimitSettings | StaLtaSettings | CameraSettings | VehicleCoverSettings

DETECTORS: dict[str, type[_Settings]] = {
    "threshold": ThresholdSettings,
    "vibration_limit": VibrationLimitSettings,
    "sta_lta": StaLtaSettings,
    "camera_event": CameraSettings,
    "vehicle_cover": VehicleCoverSettings,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: ``detector`` says how to read ``settings``, ``kind`` what alerts are called."""

    id: str
    detector: str
    kind: str
    settings: Settings
    version: int = 1
    enabled: bool = True

    @property
    def title(self) -> dict[str, str]:
        """The headline of its alerts in both languages."""
        return {"zh": self.settings.title.zh, "en": self.settings.title.en}


def parse_rule(row: Mapping[str, Any]) -> Rule:
    """A rule of ``id, detector, kind, settings`` and optionally ``version, enabled``.

    Raises SettingsError that names the rule, the setting and what is wrong with it.
    """
    name = str(row.get("id") or "")
    if not name:
        raise SettingsError("a rule without id; give each rule a short unique id")
    model = DETECTORS.get(str(row.get("detector")))
    if model is None:
        raise SettingsError(
            f"rule {name}: unknown detector {row.get('detector')!r}; use one of {', '.join(sorted(DETECTORS))}"
        )
    kind = str(row.get("kind") or "")
    if not kind:
        raise SettingsError(f"rule {name}: kind is missing; give what its alerts are called, e.g. fire.smoke")
    try:
        settings = model.model_validate(row.get("settings"))
    except ValidationError as error:
        raise SettingsError(f"rule {name}: {_first(error)}") from error
    assert isinstance(settings, Settings)
    version, enabled = int(row.get("version", 1)), bool(row.get("enabled", True))
    return Rule(name, str(row["detector"]), kind, settings, version, enabled)


def parse_rules(rows: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """All rules; raises SettingsError for a wrong one or an id given twice."""
    rules = [parse_rule(row) for row in rows]
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise SettingsError(f"rule {rule.id} is given twice; ids must be unique")
        seen.add(rule.id)
    return rules


def _first(error: ValidationError) -> str:
    """The first complaint in one line."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
