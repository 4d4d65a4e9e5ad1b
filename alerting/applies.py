"""Which devices a rule is for, and which of several rules is the more specific one.

Pure. What is left empty does not matter; what is given must all be true. Inside one
criterion any entry will do.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.devices import Device

Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Product = Annotated[str, Field(min_length=1, max_length=64)]
Glob = Annotated[str, Field(pattern=r"^[A-Za-z0-9._*?-]{1,64}$")]
Prefix = Annotated[str, Field(pattern=r"^([0-9]{6}|[0-9]{9}|[0-9]{12}|[0-9]{15})$")]

Specificity = tuple[int, int, int, int, int, int]


class AppliesTo(BaseModel):
    """The devices of a rule: kinds, products, classes of building, ids, places; empty = all.

    ``devices`` and ``except_devices``: ids, in which ``*`` stands for any characters and ``?``
    for one; ``places``: codes of city, town, village or cell, for everything inside.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Kind, ...] = ()
    products: tuple[Product, ...] = ()
    building_classes: tuple[Literal["commercial", "residential", "sensitive"], ...] = ()
    devices: Annotated[tuple[Glob, ...], Field(max_length=10_000)] = ()
    places: tuple[Prefix, ...] = ()
    except_devices: Annotated[tuple[Glob, ...], Field(max_length=10_000)] = ()

    @model_validator(mode="after")
    def _somebody_is_left(self) -> AppliesTo:
        if self.devices and set(self.devices) <= set(self.except_devices):
            raise ValueError("every device it names is also excepted; nothing would be left")
        return self

    @property
    def everywhere(self) -> bool:
        """Whether it is for every device."""
        return self == EVERYWHERE

    def specificity(self, device: Device) -> Specificity | None:
        """How narrowly the rule means this device, larger = narrower; None when it does not apply.

        In this order: the device by its id, by the longest pattern, its product, its place by
        the longest code, the class of its building, its kind.
        """
        if any(_matches(glob, device.id) for glob in self.except_devices):
            return None
        named = [_literal(glob) for glob in self.devices if _matches(glob, device.id)]
        inside = [len(code) for code in self.places if device.place_code.startswith(code)]
        if (
            (self.devices and not named)
            or (self.places and not inside)
            or (self.kinds and device.kind not in self.kinds)
            or (self.products and device.product not in self.products)
            or (self.building_classes and device.building_class not in self.building_classes)
        ):
            return None
        return (
            int(device.id in self.devices), max(named, default=0), int(bool(self.products)),
            max(inside, default=0), int(bool(self.building_classes)), int(bool(self.kinds)),
        )  # fmt: skip


EVERYWHERE = AppliesTo()


def _literal(glob: str) -> int:
    """Characters that are meant as they stand, and one for the pattern itself."""
    return 1 + len(re.sub(r"[*?]", "", glob))


def _matches(glob: str, device_id: str) -> bool:
    return glob == device_id or (("*" in glob or "?" in glob) and bool(_pattern(glob).fullmatch(device_id)))


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in glob))
