"""The page's files: both languages whole, nothing from elsewhere, third-party files named and unchanged."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[3] / "api" / "web"
SCRIPTS = sorted((WEB / "js").glob("*.js"))
OWN = [WEB / "index.html", *SCRIPTS, *sorted((WEB / "css").glob("*.css"))]
NAMESPACE = "http://www.w3.org/2000/svg"

LITERAL = re.compile(r"""\bt\(\s*"([a-z][\w. %/]*)\"""")
BRANCHES = re.compile(r"""\bt\([^()"`]*\?\s*"([\w.]+)"\s*:\s*"([\w.]+)\"""")
COMPOSED = re.compile(r"""\bt\(`([a-z_]+[._][a-z_]*)\$\{""")
TERM = re.compile(r"""\bterm\(\s*"([a-z_]+)\"""")
NAMED = re.compile(r""""((?:age|reason|help|login|session|error)\.[a-z_]+)\"""")
STATIC = re.compile(r"""data-i18n(?:-label|-placeholder|-title)?="([^"]+)\"""")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def dictionary(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((WEB / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
    return found


def keys_used() -> set[str]:
    keys = set(STATIC.findall((WEB / "index.html").read_text(encoding="utf-8")))
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        keys |= set(LITERAL.findall(text)) | set(NAMED.findall(text))
        keys |= {key for pair in BRANCHES.findall(text) for key in pair}
    return keys


def prefixes_used() -> set[str]:
    prefixes = set()
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        prefixes |= set(COMPOSED.findall(text)) | {f"{name}." for name in TERM.findall(text)}
    return prefixes


def test_both_languages_have_the_same_keys_and_placeholders() -> None:
    zh, en = dictionary("zh"), dictionary("en")
    assert zh.keys() == en.keys()
    for key, text in zh.items():
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(en[key])), key
        assert text.strip(), key
        assert en[key].strip(), key


def test_chinese_is_chinese_and_english_is_not() -> None:
    han = re.compile(r"[\u4e00-\u9fff]")
    neutral = ("unit.", "value.null", "metric.pm10", "flood.separator", "language.other", "language.switch")
    for key, text in dictionary("en").items():
        if not key.startswith("language."):
            assert not han.search(text), key
    for key, text in dictionary("zh").items():
        if not key.startswith(neutral):
            assert han.search(text), key


def test_every_key_the_page_uses_exists() -> None:
    known = dictionary("zh").keys()
    used = keys_used()
    assert len(used) > 100
    assert used <= known, used - known
    for prefix in prefixes_used():
        assert any(key.startswith(prefix) for key in known), prefix


def test_every_key_is_used() -> None:
    used, prefixes = keys_used(), tuple(prefixes_used())
    unused = [key for key in dictionary("zh") if key not in used and not key.startswith(prefixes)]
    assert unused == []


@pytest.mark.parametrize("state", ["new", "acknowledged", "assigned", "closed"])
def test_the_contracts_words_have_a_term(state: str) -> None:
    known = dictionary("en")
    assert f"state.{state}" in known
    for word in ("change.raised", "change.updated", "change.cleared", "change.commented", "change.unshelved",
                 "role.lead", "role.co", "role.owner", "condition.active", "condition.cleared",
                 "stage.sampled", "stage.pushed", "method.device", "method.camera field of view"):  # fmt: skip
        assert word in known


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
    assert re.findall(r"(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+", text) == []
    assert "@import" not in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_every_import_and_link_leads_to_a_file() -> None:
    for script in SCRIPTS:
        for target in re.findall(r"""(?:from|import\()\s*"(\.[^"]+)\"""", script.read_text(encoding="utf-8")):
            assert (script.parent / target).resolve().is_file(), f"{script.name}: {target}"
    for target in re.findall(r'(?:href|src)="([^"#]+)"', (WEB / "index.html").read_text(encoding="utf-8")):
        assert (WEB / target).is_file(), target


def test_every_element_a_script_looks_for_is_on_the_page() -> None:
    page = set(re.findall(r'\bid="([^"]+)"', (WEB / "index.html").read_text(encoding="utf-8")))
    for script in SCRIPTS:
        for name in re.findall(r'byId\("([^"]+)"\)', script.read_text(encoding="utf-8")):
            assert name in page, f"{script.name}: {name}"


def third_party_rows() -> list[list[str]]:
    lines = (WEB / "vendor" / "THIRD_PARTY.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def test_third_party_files_are_listed_and_unchanged() -> None:
    listed = {}
    for _library, version, licence, file, digest in third_party_rows():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        text = re.search(r"`([^`]+)`", licence)
        assert text is not None
        assert (WEB / "vendor" / text.group(1)).is_file(), licence
        listed[file.strip("`")] = digest.strip("`")
    present = {str(path.relative_to(WEB / "vendor")) for path in (WEB / "vendor").rglob("*") if path.is_file()}
    assert {name for name in present if not re.search(r"LICENSE|THIRD_PARTY", name)} == listed.keys()
    for name, digest in listed.items():
        assert hashlib.sha256((WEB / "vendor" / name).read_bytes()).hexdigest() == digest, name


def test_third_party_versions_are_those_in_the_files() -> None:
    versions = {library: version for library, version, *_ in third_party_rows()}
    maplibre = (WEB / "vendor" / "maplibre-gl" / "maplibre-gl.mjs").read_text(encoding="utf-8")[:400]
    uplot = (WEB / "vendor" / "uplot" / "uPlot.esm.js").read_text(encoding="utf-8")[:400]
    assert f"v{versions['MapLibre GL JS']}/" in maplibre
    assert f"v{versions['uPlot']})" in uplot


NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed; the page itself does not need it")


@needs_node
def test_scripts_parse() -> None:
    assert NODE is not None
    for script in SCRIPTS:
        done = subprocess.run([NODE, "--check", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def run_script(name: str) -> object:
    """The JSON that ``web_<name>.mjs`` prints, given the address of the page's scripts."""
    assert NODE is not None
    script = Path(__file__).parent / f"web_{name}.mjs"
    done = subprocess.run(
        [NODE, str(script), (WEB / "js").as_uri() + "/"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_times_are_the_citys_with_a_zone_label() -> None:
    assert run_script("time") == [
        1795413950123.456, "2026-11-23 14:05:50.123", "UTC+8", ["age.seconds", {"n": 59}],
        ["age.hours", {"h": 2, "m": "05"}], "0.8 ms", "143 ms", "2.31 s", "4 min 05 s", 500, "00:00:00", "–",
    ]  # fmt: skip


@needs_node
def test_the_store_keeps_the_newest_and_sorts_for_the_responder() -> None:
    assert run_script("store") == [
        "bcad", False, True, "bacd", False, "bacd", True, "acd",
        {"count": 2, "worst": 2}, 3, 13, "a", "c", "d", "",
        {"count": 4, "rows": 2, "towns": [["a", 1], ["b", 1], ["c", 1], ["d", 1]]},
    ]  # fmt: skip


@needs_node
def test_packets_are_joined_with_gaps_and_peaks_kept() -> None:
    assert run_script("packets") == [[1, 2, None, 5, -9], True, 9, 5]


@needs_node
def test_regions_get_a_label_inside() -> None:
    assert run_script("geometry") == [[2, 1], [2, 1], [0, 0, 4, 2], None, None, "441900003", "x"]


@needs_node
def test_a_lost_feed_resumes_with_its_cursor() -> None:
    assert run_script("live") == [
        [None, "connecting"], ["snapshot 7", "live"], ["alert 8", "live"], ["reconnecting"], [8, "reconnecting"],
        ["alert 9", "live"], ["reload", None], ["snapshot 20", "live"], "expired",
    ]  # fmt: skip


@needs_node
def test_alerts_fold_under_their_incident() -> None:
    assert run_script("incidents") == [
        "a incident:I c e", "I", None, True, "a incident:I b d c e", None, False,
        False, 1, True, "incident:I a c e",
        {"rows": 5, "waiting": 4, "severities": {"1": 2, "2": 1, "3": 1, "4": 1}}, 1, 4,
        True, "a b c d e", "I", None, 65, 1000, 1000,
    ]  # fmt: skip
