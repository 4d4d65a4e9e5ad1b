"""The documentation tells the truth: made parts are current, links lead somewhere, names exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs import make
from docs.made import api, ingest, limits, server, storage
from docs.made.sections import SECTIONS
from docs.made.sketches import SKETCHES
from docs.made.words import FIELDS, LIMIT_WORDS, REASONS, TABLES
from server.settings import NOT_SETTINGS, Settings

ROOT = Path(__file__).parents[1]
PAGES = make.pages()
DECISIONS = ROOT / "docs/decisions"

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
FOLDERS = "domain|db|geo|ingest|alerting|api|simulators|server|tests|docs|bench"
FILE = re.compile(rf"^(?:{FOLDERS})/[\w./-]*\w\.\w+$")
ROUTE = re.compile(r"\b(GET|POST|PUT|DELETE) (/[\w/{}.-]*)")
COMMAND = re.compile(r"gridpulse ((?:-|[a-z])[^`\n]*)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their words."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        found.add(plain.strip().replace(" ", "-"))
    return found


# ---------------------------------------------------------------- made from code


@pytest.fixture(scope="module")
def old() -> set[str]:
    return {name(page) for page, _ in make.old_pages()}


def test_the_parts_made_from_code_are_current(old: set[str]) -> None:
    assert not old, "run `make docs`"


def test_the_drawings_are_current_and_shown_on_a_page() -> None:
    assert not [path.name for path, _ in make.old_drawings()], "run `make docs`"
    assert {path.stem for path in make.DRAWINGS.glob("*.svg")} == set(SKETCHES), "remove what nothing draws"
    shown = {Path(target).stem for page in PAGES for target in LINK.findall(text(page)) if target.endswith(".svg")}
    assert shown == set(SKETCHES)


def test_every_part_has_its_page() -> None:
    used = [marker for page in PAGES for marker in make.markers(text(page))]
    assert sorted(used) == sorted(SECTIONS), "each part on one page, once"


def test_a_marker_that_does_not_fit_is_named() -> None:
    for wrong in ("<!-- made: settings -->\n", "<!-- made: nothing -->\n<!-- end: nothing -->"):
        with pytest.raises(ValueError, match=r"settings|nothing"):
            make.renewed(wrong)


def test_words_are_kept_for_what_exists_only() -> None:
    assert set(REASONS) == ingest.reasons_in_code()
    assert set(TABLES) == set(storage.table_names())
    assert set(FIELDS) == set(ingest.PAYLOADS)
    assert set(LIMIT_WORDS) == {constant for given in limits.LIMITS.values() for _, constant in given}


# ---------------------------------------------------------------- links and paths


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target}: no such file"
        assert there.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading; there are {sorted(anchors(there))}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_mentioned_exist(page: Path) -> None:
    for mentioned in INLINE.findall(prose(page)):
        if FILE.match(mentioned):
            assert (ROOT / mentioned).exists(), f"{mentioned}: no such file"


def test_every_page_can_be_reached() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve() for page in PAGES for target in LINK.findall(prose(page))
    }
    assert not [name(page) for page in PAGES if page not in linked and page.name != "README.md"]


# ---------------------------------------------------------------- names


def words_of_commands(page: Path) -> Iterator[list[str]]:
    """Every ``gridpulse …`` in code, as words."""
    blocks = [body for language, body in FENCE.findall(text(page)) if language in ("sh", "ini")]
    code = "\n".join(blocks).replace("\\\n", " ") + "\n" + "\n".join(INLINE.findall(prose(page)))
    for line in code.splitlines():
        for match in COMMAND.finditer(line):
            before = line[: match.start()]
            if before and not before.endswith(("/", " ", "(", "=", '"')):
                continue
            yield re.split(r"[)|#;&]|\[--| >", match[1].replace("…", ""))[0].split()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_mentioned_exist_with_their_options(page: Path) -> None:
    tree = server.command_tree()
    groups = {path.rsplit(" ", 1)[0] for path in tree}
    for words in words_of_commands(page):
        if words[0].startswith("-") or (len(words) == 1 and f"gridpulse {words[0]}" in groups):
            continue
        path = next((p for n in (2, 1) if (p := " ".join(["gridpulse", *words[:n]])) in tree), None)
        if path is None and page.name == "CHANGELOG.md":
            continue  # a list of names
        assert path is not None, f"gridpulse {' '.join(words)}: no such command"
        known = {option for p in tree[path].params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"{path} has no {', '.join(sorted(used - known))}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_routes_mentioned_exist(page: Path) -> None:
    known = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in api.routes()}
    known.add(("GET", "/api/openapi.json"))
    known |= {(method, path.removeprefix("/api/v1")) for method, path in known}
    for method, path in ROUTE.findall(text(page)):
        shape = re.sub(r"\{\w+\}", "{}", path.rstrip("."))
        assert (method, shape) in known or shape == "/", f"{method} {path}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_and_metrics_mentioned_exist(page: Path) -> None:
    settings = {f"GRIDPULSE_{field.upper()}" for field in Settings.model_fields} | NOT_SETTINGS
    mentioned = set(re.findall(r"GRIDPULSE_[A-Z_]*[A-Z]", text(page))) - {"GRIDPULSE_HTP_PORT"}
    assert mentioned <= settings
    metrics = {storage.metric_name(metric) for metric in storage.metric_objects()}
    metrics |= {f"{metric}_bucket" for metric in metrics}
    named = set(re.findall(r"\bgridpulse_[a-z_]+[a-z]", text(page))) - {"gridpulse_cases_open"}
    assert named <= metrics


def test_what_exists_is_documented() -> None:
    def missing(page: str, names: set[str]) -> set[str]:
        return {each for each in names if f"`{each}" not in text(ROOT / "docs/reference" / page)}

    assert not missing("settings.md", {f"GRIDPULSE_{field.upper()}" for field in Settings.model_fields})
    assert not missing("commands.md", set(server.command_tree()))
    assert not missing("http.md", {f"{method} {path}" for method, path in api.routes()})
    assert not missing("metrics.md", {storage.metric_name(metric) for metric in storage.metric_objects()})
    assert not missing("database.md", set(storage.table_names()))
    assert not missing("topics.md", ingest.reasons_in_code())


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.split(r"[<>=!~]", each)[0] for each in wanted}
    page = text(DECISIONS / "0011-dependencies.md")
    assert not {each for each in names if f"`{each}`" not in page}


def test_decisions_are_numbered_and_listed() -> None:
    records = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    numbers = [int(path.name[:4]) for path in records]
    assert numbers == sorted(set(numbers)), "two records with one number"
    for path in records:
        assert f"({path.name})" in text(DECISIONS / "README.md")
        assert all(f"**{part}.**" in text(path) for part in ("Context", "Decision", "Consequences")), path.name
