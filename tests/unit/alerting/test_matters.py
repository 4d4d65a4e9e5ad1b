from __future__ import annotations

import pytest

from alerting.default_rules import DEFAULT_RULES
from alerting.dispatch.matters import kind_of, matches, matter_of


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("vibration.limit", "local:08999"), ("vibration.shaking", "local:08999"),
        ("truck.uncovered", "gb47678-2026:08011"), ("site.dust", "gb47678-2026:08004"),
        ("camera.fire", "local:10999"), ("unheard.of", None),
    ],
)  # fmt: skip
def test_matter_of_a_kind(kind: str, code: str | None) -> None:
    assert matter_of(kind) == code


def test_every_default_rule_has_a_matter_and_back() -> None:
    for rule in DEFAULT_RULES:
        if rule["kind"].startswith("device."):
            continue  # its maintainer's business, no matter of the city's
        code = matter_of(rule["kind"])
        assert code is not None
        assert kind_of(code) is not None
    assert kind_of("gb47678-2026:99999") is None


def test_patterns() -> None:
    assert matches("*", "anything")
    assert matches("fire.*", "fire.smoke")
    assert matches("fire.*", "fire")
    assert not matches("fire.*", "fireworks")
    assert not matches("fire", "fire.smoke")
