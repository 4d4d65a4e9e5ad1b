from __future__ import annotations

from collections import Counter

import pytest

from geo.key_places import KINDS
from simulators.city import DemoCity, build_city
from simulators.city_places import A_TOWN


@pytest.fixture(scope="module")
def city() -> DemoCity:
    return build_city(addresses=20_000)


def test_every_town_has_some_of_each_kind_and_all_say_that_they_are_generated(city: DemoCity) -> None:
    towns = {region.code for region in city.regions if region.level == "town"}
    found = Counter((place.place.town, place.kind) for place in city.key_places if place.place)
    assert found == {(town, kind): count for town in towns for kind, count, *_ in A_TOWN}
    assert all(place.generated and "示例" in place.name and "example" in place.name_en for place in city.key_places)
    assert {place.kind for place in city.key_places} <= set(KINDS)
    ids = [place.id for place in city.key_places]
    assert ids == sorted(set(ids))
