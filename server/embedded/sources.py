"""Which package sources and packages the private folder is made from. Pure: text in, text out.

Every address comes from the machine's own apt sources; none is written here, so a
machine behind a mirror or a proxy keeps using it. Refuses to touch the machine's
configuration: what is made here goes into apt's options for the private folder only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

#: Suites that carry no TimescaleDB of their own, and the one taken instead. Programs and
#: their whole library closure come from the same suite, so the machine's libc does not matter.
SUITE_FOR = {("debian", "bullseye"): "trixie", ("debian", "bookworm"): "trixie"}

#: Names under which a main archive may list the machine's own suite.
_ALIASES = {"stable", "oldstable", "oldoldstable", "testing"}

_TIMESCALE = re.compile(r"^postgresql-(\d+)-timescaledb$")
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<bytes>\d+)")

#: Library packages of the closure that neither the database nor the broker loads: the
#: just-in-time compiler (switched off, half of the download), Perl, message catalogues.
_UNUSED_LIBRARIES = re.compile(r"^lib(llvm|z3-|perl|c-l10n|c-bin|debconf|pam-modules|.*-perl$)")
_PROGRAM_PACKAGES = re.compile(r"^(postgresql-\d+(-timescaledb)?|mosquitto)$")


@dataclass(frozen=True)
class Source:
    """One apt source: an archive, what to take of it, and who signs it."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def stanza(self) -> str:
        """The source in apt's deb822 form."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Package:
    """One file of the closure: the package's name and how large its download is."""

    name: str
    size_bytes: int


def parse_one_line(text: str) -> list[Source]:
    """Read ``sources.list`` lines (``deb [options] uri suite component…``)."""
    found = []
    for raw in text.splitlines():
        match = re.match(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<rest>.+)", raw.split("#", 1)[0].strip())
        words = match["rest"].split() if match else []
        if match is None or len(words) < 3:
            continue
        options = dict(o.split("=", 1) for o in (match["options"] or "").split() if "=" in o)
        found.append(Source((words[0],), (words[1],), tuple(words[2:]), options.get("signed-by", "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Read a ``*.sources`` file: stanzas of ``Field: value`` with continuation lines."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        fields = _deb822_fields(block)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").strip() == "no":
            continue
        words = {name: tuple(fields.get(name, "").split()) for name in ("uris", "suites", "components")}
        found.append(Source(words["uris"], words["suites"], words["components"], fields.get("signed-by", "")))
    return found


def _deb822_fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            # A continuation keeps its indent: an inline key block is only valid with it.
            fields[name] += "\n" + line.rstrip()
        elif ":" in line:
            key, value = line.split(":", 1)
            name = key.strip().lower()
            fields[name] = value.strip()
    return fields


def target_suite(os_id: str, codename: str) -> str:
    """The suite to take the programs from; the machine's own unless that has none."""
    return SUITE_FOR.get((os_id, codename), codename)


def archive_candidates(sources: Iterable[Source], codename: str, suite: str) -> list[Source]:
    """The machine's main archives, most likely first, with their suite changed to ``suite``.

    Security, updates and backports are left out (another suite has its own), and so
    is everything without a ``main`` component. A third party's archive may still look
    like the distribution's; the caller tries one after the other.
    """
    wanted = {codename} | _ALIASES
    mains = [s for s in sources if wanted & set(s.suites) and "main" in s.components and s.uris]
    mains.sort(key=lambda s: "archive-keyring" not in s.signed_by)
    kept: list[Source] = []
    for source in mains:
        components = tuple(c for c in source.components if c in ("main", "universe"))
        candidate = replace(source, suites=(suite,), components=components)
        if candidate not in kept:
            kept.append(candidate)
    return kept


def newest_timescale(names: Iterable[str]) -> int | None:
    """The highest PostgreSQL major for which the archive has TimescaleDB."""
    majors = [int(m[1]) for n in names if (m := _TIMESCALE.match(n.strip()))]
    return max(majors, default=None)


def parse_print_uris(text: str) -> list[Package]:
    """Read ``apt-get install --print-uris``: one line ``'uri' file bytes hash`` a package."""
    matches = filter(None, map(_URI_LINE.match, text.splitlines()))
    return [Package(match["file"].split("_", 1)[0], int(match["bytes"])) for match in matches]


def needed(packages: Sequence[Package]) -> list[Package]:
    """The closure without what is only there for installing and administering a system."""
    return [p for p in packages if _is_needed(p.name)]


def _is_needed(name: str) -> bool:
    if _PROGRAM_PACKAGES.match(name) or name == "zlib1g":
        return True
    return name.startswith("lib") and not _UNUSED_LIBRARIES.match(name)


def os_release(text: str) -> tuple[str, str]:
    """``(ID, VERSION_CODENAME)`` of an ``os-release`` file; empty where it says nothing."""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return fields.get("ID", "").strip("\"'"), fields.get("VERSION_CODENAME", "").strip("\"'")


def apt_configuration(folder: str, machine_main: str | None) -> tuple[str, str]:
    """apt's configuration for the private folder: ``(first file, last file)``.

    apt reads the file in ``APT_CONFIG``, then the machine's ``apt.conf.d``, then the
    main file. The machine's proxies and login files thus count, and the last file
    takes back what must not: hooks that run after an update (they would clean the
    machine's own cache), pins, and the places of lists, cache and status.
    """
    first = f'Dir::Etc::main "{folder}/last.conf";\n'
    last = f'#include "{machine_main}";\n' if machine_main else ""
    last += "".join(
        f"#clear {hook};\n"
        for hook in (
            "APT::Update::Pre-Invoke",
            "APT::Update::Post-Invoke",
            "APT::Update::Post-Invoke-Success",
            "DPkg::Pre-Invoke",
            "DPkg::Post-Invoke",
            "DPkg::Pre-Install-Pkgs",
        )
    )
    places = {
        "Dir::Etc::sourcelist": f"{folder}/archive.sources",
        "Dir::Etc::sourceparts": f"{folder}/none",
        "Dir::Etc::preferences": f"{folder}/none/preferences",
        "Dir::Etc::preferencesparts": f"{folder}/none",
        "Dir::State": f"{folder}/state",
        "Dir::State::lists": f"{folder}/state/lists",
        "Dir::State::status": f"{folder}/state/status",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Cache::archives": f"{folder}/cache/archives",
        "Dir::Log": f"{folder}/log",
        # As root apt would change to a user that cannot enter a private folder.
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
    }
    last += "".join(f'{name} "{value}";\n' for name, value in places.items())
    return first, last
