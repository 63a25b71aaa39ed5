"""Archives: versions and bounds, signatures, snapshots, apt's words about trust, third parties."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsenv.ecosystems.system import pins
from dsenv.ecosystems.system.archives import repositories, snapshots, sources
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS
from dsenv.ecosystems.system.packages import debversion
from dsenv.ecosystems.system.solver import trouble
from dsenv.errors import DownloadError, IntegrityError, WrongUseError
from dsenv.pins import Need
from dsenv.tools import openpgp

KEY = Path(__file__).parents[1] / "cases" / "spec" / "right" / "keys" / "vendor.asc"
HASH = "ab" * 32


def test_versions_sort_as_dpkg_sorts_them() -> None:
    """Deb-version(7): a tilde before the end, the end before letters, letters before everything else."""
    ordered = ["0~~", "0~~a", "0~", "0", "0a", "0+b1", "1.0~rc1-1", "1.0", "1.0-1", "1.0-1+deb12u1", "1.0-2", "1.0.1"]
    ordered += ["1.2", "1.10", "1:0.1", "2:0"]
    shuffled = [*ordered[1::2], *ordered[::2]]
    assert sorted(shuffled, key=debversion.order) == ordered
    assert debversion.order("1.0") == debversion.order("0:1.0-0")


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.6-2.1", "", True),
        ("1.6-2.1", "1.6*", True),
        ("1.6-2.1", "1.6", False),
        ("1.6-2.1", ">=1.6,<2", True),
        ("2.0~rc1", "<2.0", True),
        ("2.0~rc1", "<2", False),
        ("1:1.0", "<=1.0", False),
        ("1.0", ">1.0", False),
    ],
)
def test_bounds(version: str, wanted: str, fits: bool) -> None:  # noqa: FBT001 - a column of the table
    assert debversion.matches(version, wanted) is fits


def test_a_key_is_read_with_and_without_armor() -> None:
    plain = openpgp.keyring(KEY.read_bytes())
    assert openpgp.keyring(plain) == plain
    assert [len(text) for text in openpgp.fingerprints(plain)] == [40]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it holds no OpenPGP public key"),
        (b"hello", "it is no OpenPGP file"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----", "it "),
        (
            b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----",
            "a PGP private key, and",
        ),
        (b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----", "a PGP signature, and"),
        (b"\xc6", "it "),
    ],
)
def test_what_is_no_key(content: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        openpgp.keyring(content)


def _status(*lines: str) -> str:
    return "".join(f"[GNUPG:] {line}\n" for line in lines)


VALID = "VALIDSIG AA 2020-03-01 1583020800 0 4 0 22 10 01 PRIMARY"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (_status("NEWSIG", "GOODSIG A x", VALID), "good"),
        (_status("NO_PUBKEY B", "GOODSIG A x", VALID), "good"),
        (_status("KEYEXPIRED 1591000000", "EXPKEYSIG A x", VALID), "expired"),
        (_status("KEYEXPIRED 1580000000", "EXPKEYSIG A x", VALID), "outlived"),
        (_status("REVKEYSIG A x", VALID), "revoked"),
        (_status("BADSIG A x"), "bad"),
        (_status("ERRSIG A 22 10 01 1 9", "NO_PUBKEY A"), "unknown"),
        ("", "unsigned"),
    ],
)
def test_what_signatures_are_worth(said: str, state: str) -> None:
    found = openpgp.read_status(said, "text")
    assert found.state == state
    assert bool(found.text) is (state in {"good", "expired"}), "nobody vouches for any other text"
    assert bool(found.reason) is (state != "good")


@pytest.mark.parametrize(
    ("line", "sentence", "kind"),
    [
        (
            "W: GPG error: http://u:p@a.example/d bookworm InRelease: invalid: BADSIG 1A x",
            "the signature of http://a.example/d bookworm is not that of its contents",
            IntegrityError,
        ),
        (
            "W: GPG error: http://a.example/d bookworm InRelease: the public key is not available: NO_PUBKEY 1A",
            "http://a.example/d bookworm is signed by the key 1A, which is not the key it has to be signed by",
            IntegrityError,
        ),
        (
            "W: GPG error: http://a.example/d x InRelease: The following signatures were invalid: EXPKEYSIG 1A y",
            "http://a.example/d x is signed by the key 1A, which has expired",
            IntegrityError,
        ),
        (
            "E: Release file for http://a.example/InRelease is expired (invalid since 3d). Updates for this",
            "http://a.example/InRelease has expired",
            IntegrityError,
        ),
        (
            "E: Failed to fetch http://a.example/Packages.xz  Hash Sum mismatch",
            "http://a.example/Packages.xz is not the index that its signed Release file lists",
            IntegrityError,
        ),
        (
            "E: The repository 'http://a.example x Release' is not signed.",
            "http://a.example is not signed",
            IntegrityError,
        ),
        (
            "E: Failed to fetch http://a.example/InRelease  Clearsigned file isn't valid, got 'NOSPLIT'",
            "http://a.example/InRelease is not signed, or a portal of the network answers",
            IntegrityError,
        ),
        (
            "E: The repository 'http://a.example nope Release' does not have a Release file.",
            "http://a.example nope has no Release file",
            DownloadError,
        ),
        ("E: Failed to fetch http://a.example/x  Could not connect", "apt could not fetch and verify", DownloadError),
    ],
)
def test_what_apt_says_of_trust_is_said_in_our_words(line: str, sentence: str, kind: type[Exception]) -> None:
    found = trouble.told(f"Reading package lists...\n{line}\n")
    assert found.sentence.startswith(sentence)
    assert type(found) is kind
    assert "u:p" not in found.cause
    assert found.hint


DUMP = (
    'Acquire::Snapshots "";\n'
    'Acquire::Snapshots::URI::Origin::Debian "https://s.example/origin/@SNAPSHOTID@/";\n'
    'Acquire::Snapshots::URI::Override::Label::Debian-Security "https://s.example/label/@SNAPSHOTID@/";\n'
    'Acquire::Snapshots::URI::Host::a.example "https://s.example/@PATH@/@SNAPSHOTID@/";\n'
)


@pytest.mark.parametrize(
    ("release", "given", "found"),
    [
        ("Origin: Debian\n", "", "https://s.example/origin/@SNAPSHOTID@/"),
        ("Origin: Debian\nLabel: Debian-Security\n", "", "https://s.example/label/@SNAPSHOTID@/"),
        ("Origin: Debian\nSnapshots: https://f.example/@SNAPSHOTID@\n", "", "https://f.example/@SNAPSHOTID@"),
        ("Origin: Debian\nSnapshots: no\n", "", ""),
        ("Origin: Other\n", "", "https://s.example/@PATH@/@SNAPSHOTID@/"),
        ("Origin: Debian\n", "https://g.example/@SNAPSHOTID@", "https://g.example/@SNAPSHOTID@"),
    ],
)
def test_where_snapshots_are(release: str, given: str, found: str) -> None:
    known = snapshots.read_settings(DUMP)
    assert snapshots.template("http://a.example/debian", release, known, given) == found
    assert snapshots.template("http://b.example", "Origin: Other\n", known) == ""


def test_the_address_of_a_snapshot() -> None:
    instant = snapshots.after("Date: Sat, 16 May 2026 09:53:46 UTC\n")
    assert instant
    uri = "http://a.example/debian-security/"
    assert snapshots.address("https://s.example/@PATH@/@SNAPSHOTID@/", uri, instant) == (
        "https://s.example/debian-security/20260516T215346Z"
    )
    assert snapshots.after("Date: yesterday\n") is None


def _repository(**more: object) -> repositories.Repository:
    facts = {"name": "vendor", "uri": "https://v.example/apt/", "suite": "x/", "key": "vendor.asc", **more}
    return repositories.Repository.model_validate(facts)


def test_a_third_partys_key_is_part_of_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "vendor.asc").write_bytes(KEY.read_bytes())
    found = _repository(packages=["r-base-*"]).with_key(tmp_path)
    assert found.inputs().startswith("vendor: https://v.example/apt x/, for r-base-*, key sha256:")
    assert found.inputs().endswith(found.fingerprints[0])
    assert found.takes("r-base-core")
    assert not found.takes("r-cran-rcpp")
    (tmp_path / "vendor.asc").write_text("x")
    with pytest.raises(WrongUseError, match=r"^vendor.asc is not the key of an archive"):
        _repository().with_key(tmp_path)
    with pytest.raises(WrongUseError, match="cannot be read"):
        _repository(key="gone.asc").with_key(tmp_path)


def _pins() -> pins.Pins:
    row = {"version": "1", "architecture": "all", "sha256": HASH, "size": 1, "why": ["requested"]}
    archive = {"date": "", "inrelease": HASH, "indexes": []}
    rows = [
        {**row, "name": "theirs", "filename": "x/theirs.deb", "origin": "vendor", "why": ["requested as mta"]},
        {**row, "name": "ours", "filename": "pool/ours.deb", "origin": "bookworm", "why": ["requested"]},
        {**row, "name": "more", "filename": "pool/more.deb", "origin": "bookworm", "why": ["recommended by ours"]},
    ]
    return pins.Pins.model_validate(
        {
            "base": "bootstrap:debian:bookworm",
            "locale": "C",
            "timezone": "UTC",
            "roots": {"linux-amd64": {"distribution": "debian", "codename": "bookworm", "packages": rows}},
            "provenance": {
                "archives": [
                    {**archive, "uri": "https://v.example", "suite": "vendor", "fingerprints": ["A"]},
                    {**archive, "uri": "http://d.example", "suite": "bookworm", "fallbacks": ["http://s.example"]},
                    {**archive, "uri": "http://sec.example", "suite": "bookworm-security"},
                ]
            },
        }
    )


def test_nobody_is_asked_for_anothers_packages() -> None:
    found = _pins()
    theirs, ours, _ = found.roots["linux-amd64"].packages
    assert found.artifact(theirs).urls == ("https://v.example/x/theirs.deb",)
    assert found.artifact(ours).urls == (
        "http://d.example/pool/ours.deb",
        "http://sec.example/pool/ours.deb",
        "http://s.example/pool/ours.deb",
    )


def test_a_virtual_need_is_answered_by_its_provider() -> None:
    found = _pins()
    assert pins.answers(found, [Need("mta"), Need("ours")])
    assert not pins.answers(found, [Need("ours")])
    assert not pins.answers(found, [Need("theirs"), Need("ours")])


def test_ubuntu_is_a_row() -> None:
    """Its archives were not at hand: what its data says is all that is tested."""
    ubuntu = DISTRIBUTIONS["ubuntu"]
    text = (
        "deb http://u.example/ubuntu noble main universe\ndeb http://u.example/ubuntu noble-updates main\n"
        "deb http://u.example/ubuntu noble-security main\ndeb http://u.example/ubuntu jammy main\n"
        "deb http://u.example/ubuntu noble-backports main\n"
    )
    chosen, ignored = sources.select(sources.parse({"a.list": text}), ubuntu, "noble", "amd64")
    assert [source.suite for source in chosen] == ["noble", "noble-updates", "noble-security"]
    assert {source.suite for source, _ in ignored} == {"jammy", "noble-backports"}
    assert ubuntu.security.format("noble") == "noble-security"


def test_dated_sources_may_have_expired() -> None:
    source = sources.Source(uri="http://s.example", suite="bookworm", components=("main",), live="http://a.example")
    assert "Check-Valid-Until: no\n" in sources.render([source], "/k.gpg", "amd64")
    flat = sources.Source(uri="http://s.example", suite="x/", components=())
    assert "Components" not in sources.render([flat], "/k.gpg", "amd64")
    assert "Valid-Until" not in sources.render([flat], "/k.gpg", "amd64")
