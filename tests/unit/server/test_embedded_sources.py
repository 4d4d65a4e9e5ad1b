import pytest

from server.embedded.sources import (
    Package,
    Source,
    apt_configuration,
    archive_candidates,
    needed,
    newest_timescale,
    os_release,
    parse_deb822,
    parse_one_line,
    parse_print_uris,
    target_suite,
)

DEB822 = """\
Types: deb
# a snapshot's address
URIs: http://archive.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://archive.test/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: https://third.test/repo
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb http://commented.test/debian bookworm main
deb http://archive.test/debian bookworm main contrib  # why
deb-src http://archive.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://other.test/debian/ bookworm main
deb http://archive.test/debian-security bookworm-security main
deb http://flat.test ./
"""


def test_deb822_keeps_inline_keys_and_drops_what_is_off() -> None:
    archive, security, third = parse_deb822(DEB822)
    assert archive == Source(
        ("http://archive.test/debian",),
        ("bookworm", "bookworm-updates"),
        ("main", "contrib"),
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    )
    assert security.suites == ("bookworm-security",)
    assert third.signed_by.splitlines()[-1] == " -----END PGP PUBLIC KEY BLOCK-----"
    assert "Signed-By: \n -----BEGIN" in third.stanza()


def test_one_line_reads_options_and_skips_source_and_flat_lines() -> None:
    assert parse_one_line(ONE_LINE) == [
        Source(("http://archive.test/debian",), ("bookworm",), ("main", "contrib")),
        Source(("https://other.test/debian/",), ("bookworm",), ("main",), "/k.gpg"),
        Source(("http://archive.test/debian-security",), ("bookworm-security",), ("main",)),
    ]


def test_candidates_are_the_main_archive_first_with_the_suite_changed() -> None:
    found = archive_candidates(parse_deb822(DEB822), "bookworm", "trixie")
    assert [s.uris[0] for s in found] == ["http://archive.test/debian", "https://third.test/repo"]
    assert all(s.suites == ("trixie",) and s.components == ("main",) for s in found)
    assert found[0].stanza() == (
        "Types: deb\nURIs: http://archive.test/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_a_machine_that_says_stable_is_understood() -> None:
    stable = Source(("http://a.test/debian",), ("stable",), ("main",))
    assert archive_candidates([stable], "bookworm", "trixie")[0].suites == ("trixie",)


@pytest.mark.parametrize(
    ("release", "suite"),
    [
        (("debian", "bookworm"), "trixie"),
        (("debian", "trixie"), "trixie"),
        (("ubuntu", "noble"), "noble"),
        (("debian", "forky"), "forky"),
    ],
)
def test_target_suite(release: tuple[str, str], suite: str) -> None:
    assert target_suite(*release) == suite


def test_os_release() -> None:
    assert os_release('NAME="X"\nID=debian\nVERSION_CODENAME=bookworm\n') == ("debian", "bookworm")
    assert os_release("") == ("", "")


def test_newest_timescale() -> None:
    names = [
        "postgresql-17",
        "postgresql-17-timescaledb",
        "postgresql-9-timescaledb",
        "postgresql-17-timescaledb-x",
    ]
    assert newest_timescale(names) == 17
    assert newest_timescale(["postgresql-15"]) is None


def test_print_uris_and_what_of_it_is_needed() -> None:
    wanted = ["libc6", "zlib1g", "libzstd1", "postgresql-17", "postgresql-17-timescaledb", "mosquitto"]
    unwanted = ["perl", "libperl5.40", "libjson-perl", "libllvm19", "libz3-4", "passwd", "postgresql-common"]
    text = "".join(
        f"'http://a.test/pool/{name}_1%3a2_amd64.deb' {name}_1%3a2_amd64.deb {size} SHA256:00\n"
        for size, name in enumerate([*wanted, *unwanted])
    )
    packages = parse_print_uris("Reading package lists...\n" + text)
    assert packages[1] == Package("zlib1g", 1)
    assert len(packages) == 13
    assert [p.name for p in needed(packages)] == wanted


def test_apt_configuration_stays_within_the_folder_and_undoes_hooks() -> None:
    first, last = apt_configuration("/f", "/etc/apt/apt.conf")
    assert first == 'Dir::Etc::main "/f/last.conf";\n'
    assert last.startswith('#include "/etc/apt/apt.conf";\n')
    assert "#clear APT::Update::Post-Invoke;\n" in last
    directories = [line for line in last.splitlines() if line.startswith("Dir::")]
    assert len(directories) == 10
    assert all('"/f' in line for line in directories)
    assert "#include" not in apt_configuration("/f", None)[1]
