"""R packages that repositories have built: which are taken, which are not and why, what is locked and done of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv import spec as specs
from dsenv.ecosystem import LockFiles, Upgrade
from dsenv.ecosystems.r import binary, building, description, pins
from dsenv.ecosystems.r.cran import binaries
from dsenv.ecosystems.r.cran.index import Index
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import DownloadError, IntegrityError, LockFormatError, SpecError
from dsenv.formats import toml_write
from dsenv.pins import Artifact, Need, Selection, Target
from dsenv.steps import Place
from tests import cran as fake
from tests.elf import shared_library
from tests.unit.test_cran import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AMD64 = Target("linux", "amd64")
CODE = "R 4.2.1; x86_64-pc-linux-gnu; 2026-11-20 10:00:00 UTC; unix"
DATED = "/__linux__/bookworm/2026-11-20"  # as a package manager has it, which serves sources to strangers
CUSTOM = "/bin/linux/bookworm-x86_64/contrib/4.2"  # as R has it since 4.6, and r-universe
ROOT = Place(kind="workshop", prefix="/build", root="", inputs="/build/in")


@pytest.fixture
def cran() -> Iterator[fake.Cran]:
    with fake.serve(fake.Cran()) as found:
        yield found


@pytest.fixture
def project(tmp_path: Path, cran: fake.Cran) -> Project:
    return Project(tmp_path, cran)


def _where(cran: fake.Cran, binary: str) -> str:
    return f'[{{ name = "CRAN", url = "{cran.url}", binary = {binary} }}]'


def _dated(cran: fake.Cran) -> str:
    cran.index(f"{DATED}/src/contrib", *cran.rows)
    return _where(cran, f'"{cran.url}{DATED}"')


def _artifact(found: pins.Pins, name: str, target: str = "linux-amd64") -> Any:
    return next(row for row in found.packages if row.name == name).artifacts[target]


def _serve(cran: fake.Cran, name: str, version: str, content: bytes | None) -> None:
    """Serve a package under the dated address: its source to anybody, what was built of it to an R."""
    path = f"{DATED}/src/contrib/{name}_{version}.tar.gz"
    cran.files[path] = cran.files[f"/src/contrib/{name}_{version}.tar.gz"]
    if content:
        cran.for_r[path] = content


def test_by_default_sources_alone_are_taken(project: Project, cran: fake.Cran) -> None:
    cran.add("plain", "1.0")
    found = project.lock('packages = ["plain"]')
    assert _artifact(found, "plain").kind == "source"
    assert found.provenance.binaries == ()


def test_an_address_that_answers_by_user_agent(project: Project, cran: fake.Cran) -> None:
    """What is built is locked beside its source, by its own hash; what only looks built is a source, and said."""
    cran.add("plain", "1.0")
    cran.add("late", "2.0-1")
    cran.add("gone", "1.0")
    built = fake.built("plain", "1.0")
    _serve(cran, "plain", "1.0", built)
    _serve(cran, "late", "2.0-1", None)
    found = project.lock('packages = ["plain", "late", "gone"]', repositories=_dated(cran))
    plain = _artifact(found, "plain")
    assert (plain.kind, plain.r, plain.size) == ("binary", "4.2.1", len(built))
    assert plain.urls == (f"{cran.url}{DATED}/src/contrib/plain_1.0.tar.gz",)
    source = next(row for row in found.packages if row.name == "plain").source
    assert source is not None
    assert source.sha256 != (plain.sha256,)
    assert {_artifact(found, name).kind for name in ("late", "gone")} == {"source"}
    (told,) = project.talk.warnings
    assert told == (
        "not built by CRAN for linux-amd64, so from source: gone: is not there; late: is a source there, too"
    )


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("R 4.3.1; ; 2026-11-20 10:00:00 UTC; unix", "was built by R 4.3.1"),
        ("R 4.2.1; aarch64-unknown-linux-gnu; x; unix", "was built for aarch64-unknown-linux-gnu"),
        ("R 4.2.1; x86_64-pc-linux-musl; x; unix", "was built for x86_64-pc-linux-musl"),
        ("R 4.2.1; x86_64-w64-mingw32; x; windows", "was built for windows"),
        ("R 4.2.1; ; x; unix", "does not say for which machine it was built"),
        ("yesterday", "is a source there, too"),
    ],
)
def test_what_does_not_fit_is_built_from_source(project: Project, cran: fake.Cran, by: str, told: str) -> None:
    cran.add("code", "1.0", NeedsCompilation="yes")
    library = {"libs/code.so": shared_library(soname="code.so")}
    _serve(cran, "code", "1.0", fake.built("code", "1.0", library, by=by))
    found = project.lock('packages = ["code"]', repositories=_dated(cran))
    assert _artifact(found, "code").kind == "source"
    assert project.talk.warnings[0].endswith(f"code: {told}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (fake.built("other", "1.0"), "says that it is other 1.0, not code 1.0"),
        (fake.built("code", "1.1"), "says that it is code 1.1, not code 1.0"),
        (fake.built("code", "1.0", {"../x": "x"}), "leads outside of it"),
        (b"nothing", "is damaged, or no tarball"),
    ],
)
def test_a_file_that_is_something_else_stops(project: Project, cran: fake.Cran, content: bytes, told: str) -> None:
    cran.add("code", "1.0")
    _serve(cran, "code", "1.0", content)
    with pytest.raises(IntegrityError, match=told):
        project.lock('packages = ["code"]', repositories=_dated(cran))


@dataclass
class _Offer:
    """A distribution with one library."""

    label: str = "debian bookworm"
    whole: bool = True
    libc6: str = "2.36-9"

    def candidate(self, name: str) -> str:
        return self.libc6 if name == "libc6" else "1"

    def near(self, name: str) -> tuple[str, ...]:
        return (name,)

    def providing(self, soname: str) -> str | None:
        return {"libjansson.so.4": "libjansson4"}.get(soname)

    def libraries(self, names: Any) -> Mapping[str, tuple[str, ...]]:
        return {name: ("libcurl4",) if name == "libcurl4-openssl-dev" else () for name in names}


def test_libraries_of_built_code_are_locked_and_compilers_are_not(project: Project, cran: fake.Cran) -> None:
    cran.add("code", "1.0", NeedsCompilation="yes", SystemRequirements="libcurl: libcurl-devel")
    needed = ("libjansson.so.4", "libcurl.so.4", "libR.so", "libc.so.6", "libown.so")
    files = {"libs/code.so": shared_library(needed=needed), "libs/libown.so": shared_library(soname="libown.so")}
    _serve(cran, "code", "1.0", fake.built("code", "1.0", files, by=CODE))
    project.offers = {AMD64: _Offer()}
    found = project.lock('packages = ["code"]', repositories=_dated(cran))
    assert _artifact(found, "code").needs == ("libjansson4",)
    needs = pins.revealed(found, {})
    assert Need("libjansson4", why="r:code") in needs
    assert [need.name for need in needs if need.build] == ["make"]
    # What was built for another release loads what this one has not.
    _serve(
        cran,
        "code",
        "1.0",
        fake.built("code", "1.0", {"libs/code.so": shared_library(needed=("libx.so.70",))}, by=CODE),
    )
    other = project.lock('packages = ["code"]', repositories=_dated(cran))
    assert _artifact(other, "code").kind == "source"
    assert "code: loads libx.so.70, which the distribution has not" in project.talk.warnings[-1]
    again = project.lock('packages = ["code"]\nfrom-source = ["code"]', repositories=_dated(cran))
    assert _artifact(again, "code").kind == "source"
    assert {need.name for need in pins.revealed(again, {}) if need.build} >= {pins.COMPILERS, "libcurl4-openssl-dev"}


@pytest.mark.parametrize(
    ("glibc", "candidate", "told"),
    [
        ((2, 38), "2.36-9+deb12u10", "takes glibc 2.38, and the distribution has 2.36"),
        ((2, 36), "2.36-9+deb12u10", ""),
        ((2, 4), "2.36-9", ""),
        ((), "2.36-9", ""),
        ((2, 38), "", ""),
    ],
)
def test_what_was_built_for_a_newer_release(glibc: tuple[int, ...], candidate: str, told: str) -> None:
    assert binary.too_new(glibc, _Offer(libc6=candidate)) == told
    assert binary.too_new(glibc, None) == ""


def test_headers_of_what_is_built_are_for_whom_they_are_compiled_into(project: Project, cran: fake.Cran) -> None:
    cran.add("headers", "1.0", SystemRequirements="libcurl: libcurl-devel")
    cran.add("user", "1.0", NeedsCompilation="yes", LinkingTo="headers")
    _serve(cran, "headers", "1.0", fake.built("headers", "1.0"))
    project.offers = {AMD64: _Offer()}
    found = project.lock('packages = ["user"]', repositories=_dated(cran))
    assert {_artifact(found, name).kind for name in ("headers", "user")} == {"binary", "source"}
    assert "libcurl4-openssl-dev" in {need.name for need in pins.revealed(found, {}) if need.build}
    user = next(build for build in building.builds(found, Selection(target=AMD64), ROOT) if build.name == "user")
    assert "libcurl4-openssl-dev" in user.sees


def test_what_it_was_compiled_with_has_to_be_what_is_locked(project: Project, cran: fake.Cran) -> None:
    cran.add("headers", "1.1")
    cran.archive("headers", "1.0")
    cran.add("user", "2.0", NeedsCompilation="yes", LinkingTo="headers (>= 1.0), methods")
    cran.archive("user", "1.0", NeedsCompilation="yes", LinkingTo="headers")
    files = {"libs/user.so": shared_library()}
    _serve(cran, "user", "2.0", fake.built("user", "2.0", files, by=CODE, LinkingTo="headers (>= 1.0), methods"))
    where = _dated(cran)
    found = project.lock('packages = ["user"]', repositories=where)
    assert _artifact(found, "user").linking_to == {"headers": "1.1"}
    older = project.lock('packages = ["user", "headers==1.0"]', repositories=where, previous=[found])
    assert _artifact(older, "user").kind == "source"
    assert "user: was compiled with headers 1.1, and 1.0 is locked" in project.talk.warnings[-1]
    # An archived one was compiled at some other time, with nobody knows what.
    path = f"{DATED}/src/contrib/Archive/user/user_1.0.tar.gz"
    cran.for_r[path] = fake.built("user", "1.0", files, by=CODE, LinkingTo="headers")
    archived = project.lock('packages = ["user==1.0"]', repositories=where)
    assert _artifact(archived, "user").kind == "source"
    assert "user: was compiled with a version of headers that nobody tells" in project.talk.warnings[-1]


def test_a_day(project: Project, cran: fake.Cran) -> None:
    cran.add("plain", "1.0")
    _serve(cran, "plain", "1.0", fake.built("plain", "1.0"))
    _dated(cran)
    cran.index("/2026-11-20/src/contrib", *cran.rows)
    days = f'as-of-url = "{cran.url}/{{date}}", binary = "{cran.url}/__linux__/bookworm/{{date}}"'
    where = f'[{{ name = "CRAN", url = "{cran.url}", {days} }}]'
    found = project.lock('packages = ["plain"]', repositories=where, project="as-of = 2026-11-20")
    assert _artifact(found, "plain").urls == (f"{cran.url}{DATED}/src/contrib/plain_1.0.tar.gz",)


def test_an_archived_version_may_be_built(project: Project, cran: fake.Cran) -> None:
    cran.add("plain", "2.0")
    cran.archive("plain", "1.0")
    cran.for_r[f"{DATED}/src/contrib/Archive/plain/plain_1.0.tar.gz"] = fake.built("plain", "1.0")
    found = project.lock('packages = ["plain==1.0"]', repositories=_dated(cran))
    assert _artifact(found, "plain").kind == "binary"


def test_what_is_locked_stays_until_it_is_to_move(project: Project, cran: fake.Cran) -> None:
    cran.add("plain", "1.0")
    _serve(cran, "plain", "1.0", fake.built("plain", "1.0"))
    where = _dated(cran)
    first = project.lock('packages = ["plain"]', repositories=where)
    _serve(cran, "plain", "1.0", fake.built("plain", "1.0", {"R/more": "x"}))
    assert project.lock('packages = ["plain"]', repositories=where, previous=[first]) == first
    upgrade = Upgrade(names=frozenset({"plain"}))
    moved = project.lock('packages = ["plain"]', repositories=where, previous=[first], upgrade=upgrade)
    assert _artifact(moved, "plain").sha256 != _artifact(first, "plain").sha256
    other = project.lock('packages = ["plain"]', repositories=where, previous=[first], r="4.3.0")
    assert _artifact(other, "plain").kind == "source"


def test_the_layout_that_r_has_for_any_system(project: Project, cran: fake.Cran) -> None:
    """``bin/linux/BUILD/contrib/4.2``: the index may name files and say who built them; its md5 is the file's."""
    cran.add("named", "1.0")
    cran.add("marked", "1.0")
    cran.add("other", "1.0")
    cran.add("newer", "1.0")
    cran.files[f"{CUSTOM}/n.tar.gz"] = fake.built("named", "1.0")
    cran.files[f"{CUSTOM}/marked_1.0_R_linux-bookworm-x86_64.tar.gz"] = fake.built("marked", "1.0")
    cran.index(
        CUSTOM,
        "Package: named\nVersion: 1.0\nFile: n.tar.gz\n",
        "Package: marked\nVersion: 1.0\n",
        "Package: other\nVersion: 1.0\nBuilt: R 4.1.0; ; x; unix\n",
        "Package: newer\nVersion: 1.1\n",
    )
    where = _where(cran, f'{{ linux-amd64 = "{cran.url}/bin/linux/bookworm-{{arch}}/contrib/{{r}}" }}')
    found = project.lock('packages = ["named", "marked", "other", "newer"]', repositories=where)
    kinds = {row.name: row.artifacts["linux-amd64"].kind for row in found.packages}
    assert kinds == {"named": "binary", "marked": "binary", "other": "source", "newer": "source"}
    assert f"{CUSTOM}/other_1.0.tar.gz" not in cran.asked
    assert [row.name for row in found.provenance.binaries] == ["CRAN linux-amd64"]
    cran.index(CUSTOM, f"Package: named\nVersion: 1.0\nFile: n.tar.gz\nMD5sum: {'0' * 32}\n")
    with pytest.raises(IntegrityError, match=r"n\.tar\.gz is not the file that its index lists"):
        project.lock('packages = ["named"]', repositories=where)


def test_macs_have_their_own(project: Project, cran: fake.Cran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_cran.HEAD", HEAD_OF_TWO)
    place = "/bin/macosx/big-sur-arm64/contrib/4.2"
    cran.add("code", "1.0", NeedsCompilation="yes")
    by = CODE.replace("x86_64-pc-linux-gnu", "aarch64-apple-darwin20")
    cran.files[f"{place}/code_1.0.tgz"] = fake.built("code", "1.0", {"libs/code.so": "Mach-O"}, by=by)
    cran.index(place, "Package: code\nVersion: 1.0\n")
    where = _where(cran, f'{{ macos-arm64 = "{cran.url}/bin/macosx/big-sur-{{arch}}/contrib/{{r}}" }}')
    found = project.lock('packages = ["code"]', repositories=where)
    assert _artifact(found, "code", "macos-arm64").filename == "code_1.0.tgz"
    assert _artifact(found, "code", "linux-amd64").kind == "source"


HEAD_OF_TWO = """\
[project]
name = "x"
{project}
[platform]
base = "bootstrap:debian:bookworm"
targets = ["linux-amd64", "macos-arm64"]

[r]
version = "4.2"
"""


def test_of_a_universe_the_commit_counts(project: Project, cran: fake.Cran) -> None:
    cran.add("dev", "1.0", RemoteSha="a" * 40)
    path = f"{DATED}/src/contrib/dev_1.0.tar.gz"
    cran.for_r[path] = fake.built("dev", "1.0", RemoteSha="b" * 40)
    found = project.lock('packages = ["dev"]', repositories=_dated(cran))
    assert _artifact(found, "dev").kind == "source"
    assert "dev: was built of another commit" in project.talk.warnings[-1]


def test_no_index_where_one_is_said_to_be(project: Project, cran: fake.Cran) -> None:
    cran.add("plain", "1.0")
    with pytest.raises(DownloadError, match="has no index of built packages for linux-amd64"):
        project.lock('packages = ["plain"]', repositories=_where(cran, f'"{cran.url}/nowhere"'))


def test_the_lock_holds_all_of_it(project: Project, cran: fake.Cran) -> None:
    cran.add("headers", "1.1")
    cran.add("user", "2.0", LinkingTo="headers")
    _serve(cran, "headers", "1.1", fake.built("headers", "1.1"))
    _serve(cran, "user", "2.0", fake.built("user", "2.0", LinkingTo="headers"))
    found = project.lock('packages = ["user"]', repositories=_dated(cran))
    files = pins.write(found, {})
    text = toml_write.dumps(dict(files.table))
    table = tomllib.loads(text)
    assert "[r.packages" not in text
    read, _ = pins.read(LockFiles(table=table, provenance=files.provenance))
    assert read == found
    moved = text.replace(cran.url, "https://elsewhere.example")
    assert pins.canonical(pins.read(LockFiles(table=tomllib.loads(moved)))[0]) == pins.canonical(found)
    selection = Selection(target=AMD64)
    identity: Any = pins.identity(found, selection)
    assert ["user", "2.0", _artifact(found, "user").sha256] in identity["packages"]
    torn = text.replace('linking-to = { headers = "1.1" }', 'linking-to = { headers = "1.0" }')
    with pytest.raises(LockFormatError, match="built R packages that do not fit") as caught:
        building.builds(pins.read(LockFiles(table=tomllib.loads(torn)))[0], selection, ROOT)
    assert caught.value.cause == "user 2.0 was compiled with headers 1.0; locked is 1.1"
    assert "--upgrade-package r:user" in caught.value.hint
    for old, new in ((f"{cran.url}{DATED}", "/etc"), ("user_2.0.tar.gz", "../x.tar.gz"), ('r = "4.2.1"', 'r = "$(x)"')):
        with pytest.raises(LockFormatError):
            pins.read(LockFiles(table=tomllib.loads(text.replace(old, new))))


def test_what_is_built_is_checked_without_compilers(project: Project, cran: fake.Cran) -> None:
    cran.add("plain", "1.0")
    cran.add("user", "1.0", Imports="plain")
    _serve(cran, "plain", "1.0", fake.built("plain", "1.0"))
    found = project.lock('packages = ["user"]', repositories=_dated(cran))
    plain, user = building.builds(found, Selection(target=AMD64), ROOT)
    assert (plain.title, plain.verb, user.after) == ("plain 1.0 (binary)", "checked", ("plain",))
    assert not any("INSTALL" in step.argv for step in plain.steps)
    assert [step.argv[-1] for step in plain.steps] == ["4.2.1", "plain", "/build/out/plain.tar"]
    source = plain.inputs[0].source
    assert isinstance(source, Artifact)
    assert source.agent == "R/4.2.2 R (4.2.2 x86_64-pc-linux-gnu x86_64 linux-gnu)"
    assert pins.COMPILERS not in plain.sees


@pytest.mark.parametrize(
    ("binary_", "told"),
    [
        ('"ftp://x"', "expected an address such as"),
        ('"https://x/{os}"', "expected an address without"),
        ('"https://u:p@x"', "expected no password in this file"),
        ('"https://x/{date}"', "`{date}` goes with [project] as-of"),
        ('{ linux-mips = "https://x" }', "linux-mips"),
        ("7", "expected a text in quotes"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, binary_: str, told: str) -> None:
    head = HEAD_OF_TWO.format(project="")
    text = f'{head}repositories = [{{ name = "a", url = "https://x", binary = {binary_} }}]\npackages = ["x1"]\n'
    (tmp_path / "dsenv.toml").write_text(text)
    with pytest.raises(SpecError) as caught:
        specs.load(tmp_path / "dsenv.toml")
    assert told in caught.value.cause


@given(st.text(), st.sampled_from(["linux-amd64", "linux-arm64", "macos-arm64"]))
def test_whatever_stands_in_built_is_read_or_nothing(text: str, target: str) -> None:
    found = description.built({"Built": text})
    assert found is None or isinstance(binary.misfit(found, RVersion("4.2.2"), Target.parse(target)), str)


@given(
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["", "x86_64-pc-linux-gnu", "aarch64-apple-darwin20"]),
    st.text(st.characters(blacklist_characters=";\n\r\x85\u2028\u2029", blacklist_categories=("Cs", "Cc", "Zs"))),
)
def test_what_r_writes_is_read(minor: int, patch: int, platform: str, day: str) -> None:
    found = description.built({"Built": f"R 4.{minor}.{patch}; {platform}; {day}; unix"})
    assert found is not None
    assert (found.r.text, found.platform, found.system) == (f"4.{minor}.{patch}", platform, "unix")


_WORDS = st.text(st.sampled_from('ab.:/-_ \n1%~\\"$'), max_size=12)


@given(
    st.dictionaries(st.sampled_from(["File", "Path", "Version", "MD5sum", "Built", "Depends"]), _WORDS, max_size=6),
    st.sampled_from([f"https://x{CUSTOM}", "https://x/src/contrib"]),
)
def test_a_row_leads_to_no_other_place(fields: dict[str, str], place: str) -> None:
    """Whatever an index says: what is asked for lies below its directory, by a plain name."""
    row = {"Version": "1.0", **fields}
    text = "Package: aa\n" + "".join(f"{key}: {' '.join(value.split())}\n" for key, value in row.items())
    artifact = Artifact(filename="PACKAGES.gz", sha256="0" * 64)
    shelf = binaries.Shelf(repository="x", target=AMD64, directory=place, agent="", index=Index(text), file=artifact)
    found = shelf.files("aa", "1.0", RVersion("4.2.2"))
    for url in found.urls if found else ():
        assert url.startswith(f"{place}/")
        assert ".." not in url.split("/")
        assert not set(url) & set(' \n"$\\')


def test_where_the_index_lies() -> None:
    assert binaries.directory("https://x/y") == "https://x/y/src/contrib"
    for whole in ("https://x/src/contrib", "https://x/bin/macosx/big-sur-arm64/contrib/4.2"):
        assert binaries.directory(whole) == whole
