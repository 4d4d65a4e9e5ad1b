"""A small gazetteer with the traps of the large one."""

from __future__ import annotations

import numpy as np

from geo.addresses import AddressColumns, AddressIndex
from geo.gazetteer import Gazetteer

NAMES = {
    "441900": "东莞市",
    "441900003": "东城街道",
    "441900004": "南城街道",
    "441900005": "万江街道",
    "441900006": "莞城街道",
    "441900104": "石排镇",
    "441900107": "桥头镇",
    "441900111": "寮步镇",
    "441900121": "虎门镇",
    "441900122": "厚街镇",
    "441900124": "道滘镇",
    "441900126": "麻涌镇",
    "441900127": "望牛墩镇",
    "441900129": "高埗镇",
    "441900401": "松山湖",
    "441900402": "东莞港",
    "441900003013": "樟村社区",
    "441900004014": "石鼓社区",
    "441900005009": "石美社区",
    "441900005024": "新村社区",
    "441900104200": "石排村",
    "441900107003": "桥头社区",
    "441900121500": "大岭山生活区",
    "441900122013": "桥头社区",
    "441900122022": "涌口社区",
    "441900124200": "南城村",
    "441900126200": "麻三村",
    "441900127218": "石排村",
    "441900129207": "塘厦村",
}
ENGLISH = {"441900126": "Machong", "441900129": "Gaobu"}
GAZETTEER = Gazetteer(NAMES)

# village → its roads; houses 1 to 20 stand on each
ROADS = {
    "441900005009": ("振兴路", "莞太路"),
    "441900104200": ("石排大道", "振兴路"),
    "441900126200": ("新沙路", "振兴路"),
    "441900127218": ("和安大道",),
    "441900003013": ("松山湖大道",),
}
HOUSES = 20
TOWER = "4419000030130100999000000"


def index() -> AddressIndex:
    """The addresses of ``ROADS``, and one known by its building's name."""
    ids, texts = [], []
    for village, roads in ROADS.items():
        for k, road in enumerate(roads):
            for number in range(1, HOUSES + 1):
                ids.append(f"{village}01{k * HOUSES + number:05d}000000")
                texts.append(f"东莞市{NAMES[village[:9]]}{NAMES[village]}{road}{number}号")
    ids.append(TOWER)
    texts.append("东莞市东城街道樟村社区松山湖大道22号康华医院")
    lon, lat = np.linspace(113.6, 113.9, len(ids)), np.linspace(22.9, 23.1, len(ids))
    cells = [f"{id_[:12]}0{id_[12:14]}" for id_ in ids]
    return AddressIndex.of(AddressColumns(ids, texts, (), (), cells, lon, lat))


def id_of(village: str, road: str, number: int) -> str:
    """The id of a house of ``ROADS``."""
    return f"{village}01{ROADS[village].index(road) * HOUSES + number:05d}000000"
