"""R packages of repositories: which versions are chosen, why, and what is refused. Repositories are on loopback."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv import spec as specs
from dsenv.download import MismatchError
from dsenv.ecosystem import LockFiles, Request, Upgrade
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r import repacks, sources
from dsenv.ecosystems.r.cran import route
from dsenv.ecosystems.r.distribution import Built, Distribution
from dsenv.ecosystems.r.spec import inputs, network
from dsenv.errors import DsenvError, IntegrityError, LockFormatError, ResolutionError, StaleLockError, WrongUseError
from dsenv.formats import deb822, toml_write
from dsenv.pins import Selection, Target
from dsenv.store import Store
from tests import cran as fake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HEAD = """\
[project]
name = "x"
{project}
[platform]
base = "bootstrap:debian:bookworm"
targets = ["linux-amd64"]

[r]
version = "4.2"
"""


@dataclass
class _Talk:
    said: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, text: str) -> None: ...

    def update(self, text: str) -> None: ...


@dataclass
class Project:
    """A project whose [r] is locked without a system: R and what it brings are made up."""

    directory: Path
    cran: fake.Cran
    brings: dict[str, str] = field(default_factory=dict)  # r-recommended: DESCRIPTION by name
    talk: _Talk = field(default_factory=_Talk)
    offers: Mapping[Target, Any] = field(default_factory=dict)

    def lock(
        self,
        tables: str,
        *,
        previous: Sequence[r_pins.Pins] = (),
        upgrade: Upgrade | None = None,
        project: str = "",
        repositories: str = "",
        r: str = "4.2.2",
    ) -> r_pins.Pins:
        """Return the pins of a spec whose repository is ours."""
        self.talk = _Talk()
        places = repositories or f'[{{ name = "CRAN", url = "{self.cran.url}" }}]'
        text = HEAD.format(project=project) + f"repositories = {places}\n{tables}"
        (self.directory / "dsenv.toml").write_text(text)
        spec = specs.load(self.directory / "dsenv.toml")
        part = spec.parts["r"]
        request = Request(
            spec=part,
            platform=spec.platform,
            previous=previous,
            upgrade=upgrade or Upgrade(),
            offers=self.offers,
            needs=(),
            provided=dict,
            store=Store(self.directory / "store", network=lambda: network(part)),
            progress=self.talk,
        )
        stanzas = {name: deb822.one_stanza(text) for name, text in self.brings.items()}
        packages = {
            name: Built(
                description=stanza,
                debs={"linux-amd64": r_pins.DebArtifact(package=f"r-cran-{name.lower()}", sha256="1" * 64)},
                askers=(),
                with_r=True,
            )
            for name, stanza in stanzas.items()
        }
        return route.resolve(request, Distribution(version=r, packages=packages, profile=""))


def versions(pins: r_pins.Pins) -> Mapping[str, str]:
    return {row.name: row.version for row in pins.packages}


@pytest.fixture
def cran() -> Iterator[fake.Cran]:
    with fake.serve(fake.Cran()) as found:
        yield found


@pytest.fixture
def project(tmp_path: Path, cran: fake.Cran) -> Project:
    return Project(tmp_path, cran)


def test_the_newest_of_a_closure(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "1.0", Imports="bb (>= 1.0), utils", LinkingTo="cc")
    cran.add("bb", "1.2", Depends="R (>= 3.5), methods")
    cran.add("cc", "0.1-2", NeedsCompilation="no")
    cran.add("dd", "1.0")
    pins = project.lock('packages = ["aa"]')
    assert versions(pins) == {"aa": "1.0", "bb": "1.2", "cc": "0.1-2"}
    aa, bb, _ = pins.packages
    assert (aa.why, bb.why) == (("requested",), ("aa",))
    assert (aa.requires, aa.linking_to) == (("bb", "cc", "utils"), ("cc",))
    assert aa.source
    assert aa.source.urls == (
        f"{cran.url}/src/contrib/aa_1.0.tar.gz",
        f"{cran.url}/src/contrib/Archive/aa/aa_1.0.tar.gz",
    )


def test_of_several_rows_the_one_that_fits_r(project: Project, cran: fake.Cran) -> None:
    """CRAN has rows for other versions of R, in directories of their own."""
    cran.add("aa", "2.0", Depends="R (>= 4.7)", at="4.7.0/Recommended")
    cran.add("aa", "1.0", Depends="R (>= 3.0)")
    cran.add("bb", "1.0", at="4.0.x/Other")
    cran.add("windows", "1.0", OS_type="windows")
    pins = project.lock('packages = ["aa", "bb"]')
    assert versions(pins) == {"aa": "1.0", "bb": "1.0"}
    assert pins.packages[1].source
    assert pins.packages[1].source.urls[0].endswith("/src/contrib/4.0.x/Other/bb_1.0.tar.gz")
    with pytest.raises(ResolutionError, match="windows") as caught:
        project.lock('packages = ["windows"]')
    assert "is for windows only" in caught.value.cause


def test_where_the_row_needs_a_newer_r_the_archive_is_asked(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "3.0", Depends="R (>= 4.4)")
    cran.archive("aa", "2.0", Depends="R (>= 4.3)")
    cran.archive("aa", "1.9", Depends="R (>= 3.0)", Imports="bb")
    cran.archive("aa", "1.8")
    cran.add("bb", "1.0")
    pins = project.lock('packages = ["aa"]')
    assert versions(pins) == {"aa": "1.9", "bb": "1.0"}
    assert pins.packages[0].source
    assert pins.packages[0].source.urls[0].endswith("/src/contrib/Archive/aa/aa_1.9.tar.gz")


@pytest.mark.parametrize("bound", ["==1.1", "==1.1.0", "<1.2", ">=1.0,<1.2,!=1.0", "@1.1"])
def test_a_bound_leads_into_the_archive(project: Project, cran: fake.Cran, bound: str) -> None:
    cran.add("aa", "1.2")
    for version in ("1.0", "1.1", "0.9"):
        cran.archive("aa", version)
    assert versions(project.lock(f'packages = ["aa{bound}"]')) == {"aa": "1.1"}


def test_what_r_brings_stays_unless_a_bound_wants_another(project: Project, cran: fake.Cran) -> None:
    project.brings = {"Matrix": fake.description("Matrix", "1.5-3")}
    cran.add("aa", "1.0", Imports="Matrix (>= 1.2-0), stats")
    cran.add("Matrix", "1.7-6", Depends="R (>= 4.4)")
    cran.archive("Matrix", "1.6-5", Depends="R (>= 3.5)")
    pins = project.lock('packages = ["aa"]')
    matrix = pins.packages[0]
    assert (matrix.version, matrix.why, matrix.source) == ("1.5-3", ("r",), None)
    assert isinstance(matrix.artifacts["linux-amd64"], r_pins.DebArtifact)
    newer = project.lock('packages = ["aa", "Matrix>=1.6"]').packages[0]
    assert (newer.version, newer.why) == ("1.6-5", ("requested", "aa"))
    assert newer.source


def test_an_old_version_takes_what_it_needs_back_to_its_time(project: Project, cran: fake.Cran) -> None:
    """CRAN has no upper bounds: what came out later satisfies every bound, and may break it."""
    cran.add("old", "2.0", date="2026-01-01", Imports="dep (>= 1.0), other, free")
    cran.archive("old", "1.0", date="2022-05-05", Imports="dep (>= 1.0), other, free")
    cran.add("dep", "3.0", date="2026-02-02", Imports="gone")
    cran.archive("dep", "2.0", date="2023-01-01")
    cran.archive("dep", "1.5", date="2022-05-01", Imports="deeper")
    cran.archive("dep", "1.0", date="2021-01-01")
    cran.add("deeper", "9.0", date="2025-01-01")
    cran.archive("deeper", "8.0", date="2022-05-04")
    cran.add("other", "1.0", date="2026-03-03")
    cran.add("free", "2.0", date="2026-03-03")
    cran.archive("free", "1.0", date="2020-03-03")
    cran.add("gone", "1.0", date="2026-03-03")
    pins = project.lock('packages = ["old==1.0"]\nconstraints = ["free>=1.5"]')
    assert versions(pins) == {"old": "1.0", "dep": "1.5", "deeper": "8.0", "other": "1.0", "free": "2.0"}
    told = "old 1.0 is of 2022-05-05: what it needs is taken as of then, deeper 8.0, dep 1.5"
    assert told in project.talk.said
    assert any("other 1.0" in text and "not known" in text for text in project.talk.warnings)
    back = project.lock('packages = ["old"]', previous=[pins], upgrade=Upgrade(everything=True))
    assert versions(back) == {"old": "2.0", "dep": "3.0", "other": "1.0", "free": "2.0", "gone": "1.0"}


def test_times_are_found_without_a_listing_s_dates(project: Project, cran: fake.Cran) -> None:
    cran.dates = False
    cran.add("old", "2.0", date="2026-01-01", Imports="dep")
    cran.archive("old", "1.0", date="2022-05-05", Imports="dep")
    cran.add("dep", "40.0", date="2026-02-02")
    for year in range(2000, 2026):
        cran.archive("dep", f"{year - 2000}.0", date=f"{year}-01-01")
    assert versions(project.lock('packages = ["old==1.0"]')) == {"old": "1.0", "dep": "22.0"}
    read = [path for path in cran.asked if path.startswith("/src/contrib/Archive/dep/dep_")]
    assert len(read) < 9  # half of the rest each time


def test_pins_stay_and_an_upgrade_moves_what_it_must(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "1.0", Imports="bb, cc")
    cran.add("bb", "1.0")
    cran.add("cc", "1.0")
    first = project.lock('packages = ["aa"]')
    cran.rows.clear()
    for name in ("aa", "bb", "cc"):
        cran.files[f"/src/contrib/Archive/{name}/{name}_1.0.tar.gz"] = cran.files.pop(f"/src/contrib/{name}_1.0.tar.gz")
    cran.add("aa", "2.0", Imports="bb (>= 1.5), cc")
    cran.add("bb", "2.0")
    cran.add("cc", "2.0")
    assert r_pins.canonical(project.lock('packages = ["aa"]', previous=[first])) == r_pins.canonical(first)
    moved = project.lock('packages = ["aa"]', previous=[first], upgrade=Upgrade(names=frozenset({"aa"})))
    assert versions(moved) == {"aa": "2.0", "bb": "2.0", "cc": "1.0"}
    both = project.lock('packages = ["aa"]', previous=[first, moved])  # two sides of a merge
    assert versions(both) == versions(first)


def test_a_conflict_names_the_chain(project: Project, cran: fake.Cran) -> None:
    cran.add("top", "1.0", Imports="middle")
    cran.add("middle", "1.0", Imports="base1 (>= 2.0)")
    cran.add("base1", "2.0")
    cran.archive("base1", "1.0")
    with pytest.raises(ResolutionError, match="base1") as caught:
        project.lock('packages = ["top", "base1<2"]')
    cause = caught.value.cause
    assert "base1 (>= 2.0), asked for by middle 1.0, asked for by top 1.0, asked for by [r] packages" in cause
    assert "base1 (< 2), asked for by [r] packages" in cause
    assert "CRAN has 2.0" in cause


def test_backtracking_takes_an_older_one_of_who_asks(project: Project, cran: fake.Cran) -> None:
    cran.add("top", "3.0", Imports="base1 (>= 2.0)")
    cran.archive("top", "2.0", Imports="base1 (>= 1.5)")
    cran.archive("top", "1.0", Imports="base1")
    cran.add("base1", "2.0")
    cran.archive("base1", "1.0")
    assert versions(project.lock('packages = ["top", "base1==1.0"]')) == {"top": "1.0", "base1": "1.0"}


def test_an_unknown_name(project: Project, cran: fake.Cran) -> None:
    cran.add("ggplot2", "1.0")
    cran.add("needy", "1.0", Imports="nowhere.pkg")
    for wanted, told in (("Ggplot2", "near: ggplot2"), ("needy", "nowhere.pkg, asked for by needy 1.0")):
        with pytest.raises(ResolutionError, match="no repository has") as caught:
            project.lock(f'packages = ["{wanted}"]')
        assert told in caught.value.cause


def test_groups_and_suggests(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "1.0", Imports="shared", Suggests="extra (>= 1.0)")
    cran.add("shared", "1.0")
    cran.add("extra", "1.0")
    cran.add("tool", "1.0", Imports="shared, inner")
    cran.add("inner", "1.0")
    pins = project.lock(
        'packages = ["aa"]\nsuggests = ["aa"]\n[r.groups]\nDev_Tools = ["tool"]\nother = ["inner"]\nempty = []'
    )
    assert r_pins.groups(pins) == ("dev-tools", "empty", "other")
    groups = {row.name: row.groups for row in pins.packages}
    assert groups == {
        "aa": (),
        "shared": (),
        "extra": (),
        "tool": ("dev-tools",),
        "inner": ("dev-tools", "other"),
    }


def test_the_first_repository_that_has_a_name_has_it_alone(project: Project, cran: fake.Cran) -> None:
    """A stranger's package of an internal name and a higher version is never taken."""
    with fake.serve(fake.Cran()) as internal:
        internal.add("secret", "1.0", Imports="aa")
        internal.add("both", "1.0")
        cran.add("secret", "9.0")
        cran.add("both", "9.0")
        cran.add("aa", "1.0")
        places = f'[{{ name = "internal", url = "{internal.url}" }}, {{ name = "CRAN", url = "{cran.url}" }}]'
        pins = project.lock('packages = ["secret", "cran::both"]', repositories=places)
        assert versions(pins) == {"aa": "1.0", "both": "9.0", "secret": "1.0"}
        assert {row.name: row.source.repository for row in pins.packages if row.source} == {
            "aa": "CRAN",
            "both": "CRAN",
            "secret": "internal",
        }
        with pytest.raises(ResolutionError, match="secret") as caught:
            project.lock('packages = ["secret>=2"]', repositories=places)
        assert "internal has 1.0" in caught.value.cause


def test_a_half_mirrored_repository(project: Project, cran: fake.Cran) -> None:
    for name in ("aa", "bb", "cc"):
        cran.add(name, "1.0")
    del cran.files["/src/contrib/aa_1.0.tar.gz"], cran.files["/src/contrib/cc_1.0.tar.gz"]
    with pytest.raises(ResolutionError, match=r"does not have: aa 1\.0 \(CRAN\), cc 1\.0 \(CRAN\)"):
        project.lock('packages = ["aa", "bb", "cc"]')


def test_a_file_that_moved_to_the_archive(project: Project, cran: fake.Cran) -> None:
    path = cran.add("aa", "1.0")
    cran.files["/src/contrib/Archive/aa/aa_1.0.tar.gz"] = cran.files.pop(path)
    assert versions(project.lock('packages = ["aa"]')) == {"aa": "1.0"}


def test_a_locked_file_moves_to_the_archive(project: Project, cran: fake.Cran) -> None:
    """CRAN moves a file when its next version comes: who restores an older lock still finds it."""
    path = cran.add("aa", "1.0")
    artifact = project.lock('packages = ["aa"]').packages[0].source.artifact()  # type: ignore[union-attr]
    cran.files["/src/contrib/Archive/aa/aa_1.0.tar.gz"] = cran.files.pop(path)
    elsewhere = Store(project.directory / "elsewhere")
    elsewhere.fetch([artifact])
    assert elsewhere.read_checked(artifact).exists()


@pytest.mark.parametrize(
    ("served", "told"),
    [
        (fake.tarball("aa", "1.0", {"R/code.R": "evil()\n"}), "was changed: its address serves another content"),
        (fake.tarball("aa", "1.0", Repository="RSPM"), "was packed anew: its address serves other bytes"),
        (fake.tarball("aa", "1.0")[:-20], "damaged, or no tarball"),
        (fake.tarball("bb", "1.0"), r"is locked, and its address serves bb 1\.0"),
        (fake.tarball("aa", "1.0", {"x": tarfile.TarInfo("../outside")}), "'../outside', which leads outside"),
    ],
    ids=["tampered", "repository", "truncated", "name", "outside"],
)
def test_what_is_served_instead_of_a_locked_file(project: Project, cran: fake.Cran, served: bytes, told: str) -> None:
    """Whoever restores does not take it, and says what it is."""
    path = cran.add("aa", "1.0")
    pins = project.lock('packages = ["aa"]')
    artifact = pins.packages[0].source.artifact()  # type: ignore[union-attr]
    cran.files[path] = served
    elsewhere = Store(project.directory / "elsewhere")
    with pytest.raises(MismatchError) as caught:
        elsewhere.fetch([artifact])
    assert elsewhere.missing([artifact])
    with pytest.raises(IntegrityError, match=told):
        if known := repacks.repacked(pins, caught.value.artifact, elsewhere):
            raise known.error


def _info(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (_info("../outside"), r"'\.\./outside', which leads outside"),
        (_info("aa/../../outside"), r"'aa/\.\./\.\./outside', which leads outside"),
        (_info("/etc/passwd"), "'/etc/passwd', which leads outside"),
        (_info("aa/link", type=tarfile.SYMTYPE, linkname="../../x"), r"aa/link, a link to '\.\./\.\./x'"),
        (_info("aa/link", type=tarfile.SYMTYPE, linkname="/etc"), "aa/link, a link to '/etc'"),
        (_info("aa/link", type=tarfile.LNKTYPE, linkname="aa/none"), "aa/link, a link to 'aa/none'"),
        (_info("aa/link", type=tarfile.LNKTYPE, linkname="../../x"), r"'\.\./\.\./x', which leads outside"),
        (_info("aa/null", type=tarfile.CHRTYPE), "aa/null, which is neither a file"),
        (_info("aa/disk", type=tarfile.BLKTYPE), "aa/disk, which is neither a file"),
        (_info("aa/pipe", type=tarfile.FIFOTYPE), "aa/pipe, which is neither a file"),
        (_info("aa/DESCRIPTION"), "aa/DESCRIPTION twice"),
        (_info("bb/DESCRIPTION"), "beside aa it holds bb/DESCRIPTION"),
    ],
)
def test_a_tarball_that_leads_astray(project: Project, cran: fake.Cran, member: tarfile.TarInfo, told: str) -> None:
    path = cran.add("aa", "1.0", files={"x": member})
    assert path in cran.files
    with pytest.raises(IntegrityError, match=told):
        project.lock('packages = ["aa"]')


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (fake.tarball("bb", "1.0"), "says that it is bb 1.0, not aa 1.0"),
        (fake.tarball("aa", "1.1"), "says that it is aa 1.1, not aa 1.0"),
        (fake.tarball("aa", "1.0", Built="R 4.2.2; ; 2020-01-01 00:00:00 UTC; unix"), "is a built package"),
        (fake.tarball("aa", "1.0")[:-20], "damaged, or no tarball"),
        (b"<html>Please log in</html>", "damaged, or no tarball"),
        (gzip.compress(b""), "damaged, or no tarball"),
    ],
    ids=["name", "version", "built", "truncated", "html", "empty"],
)
def test_a_tarball_that_is_something_else(project: Project, cran: fake.Cran, content: bytes, told: str) -> None:
    path = cran.add("aa", "1.0")
    cran.files[path] = content
    cran.rows[0] = "\n".join(row for row in cran.rows[0].splitlines() if not row.startswith("MD5sum")) + "\n"
    with pytest.raises(IntegrityError, match=told):
        project.lock('packages = ["aa"]')


def test_a_tarball_that_is_not_what_its_index_lists(project: Project, cran: fake.Cran) -> None:
    path = cran.add("aa", "1.0")
    cran.files[path] = fake.tarball("aa", "1.0", {"R/code.R": "evil()\n"})
    with pytest.raises(IntegrityError, match=r"aa_1\.0\.tar\.gz is not the file that its index lists"):
        project.lock('packages = ["aa"]')


def test_no_repository_at_all(
    project: Project, cran: fake.Cran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DsenvError, match="has no index of R packages"):
        project.lock('packages = ["aa"]')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("R_REPOSITORIES", "R_PROFILE", "R_PROFILE_USER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WrongUseError, match="no repository of R packages is configured") as caught:
        project.lock('packages = ["aa"]', repositories='["CRAN"]')
    assert "[r] repositories" in caught.value.hint
    cran.add("aa", "1.0")
    (tmp_path / ".Rprofile").write_text(f'options(repos = c(CRAN = "{cran.url}/"))\n')
    assert versions(project.lock('packages = ["aa"]', repositories='["CRAN"]')) == {"aa": "1.0"}


def _git(directory: Path, *words: str) -> str:
    settings = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *settings, *words], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass
class Repository:
    """A git repository with a package in a directory, served as plain files."""

    path: Path
    cran: fake.Cran

    def commit(self, code: str) -> str:
        """Commit another state and return its hash."""
        (self.path / "pkg" / "R" / "code.R").write_text(code)
        _git(self.path, "add", ".")
        _git(self.path, "commit", "--quiet", "-m", "state")
        bare = self.path.with_suffix(".git")
        _git(self.path, "clone", "--quiet", "--bare", ".", str(bare)) if not bare.exists() else None
        _git(self.path, "push", "--quiet", str(bare), "main")
        _git(bare, "update-server-info")
        for file in filter(Path.is_file, bare.rglob("*")):
            self.cran.files[f"/mine.git/{file.relative_to(bare)}"] = file.read_bytes()
        return _git(self.path, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, cran: fake.Cran, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Return a repository whose addresses on the net are told to git as this one's."""
    path = tmp_path / "repository"
    (path / "pkg" / "R").mkdir(parents=True)
    (path / "pkg" / "DESCRIPTION").write_text(fake.description("mine", "0.1", Imports="bb"))
    (path / "other.txt").write_text("not a part of the package\n")
    _git(path, "init", "--quiet")
    section = f'[url "{cran.url}/mine.git"]'
    lines = [
        f"{section}\n\tinsteadOf = {url}\n"
        for url in ("https://git.example/mine.git", "https://github.com/ann/mine.git")
    ]
    (tmp_path / "gitconfig").write_text("".join(lines))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return Repository(path, cran)


def test_a_package_of_a_git_repository(project: Project, cran: fake.Cran, repository: Repository) -> None:
    """The commit is pinned and stays; the same commit gives the same bytes anywhere."""
    cran.add("bb", "1.0")
    commit = repository.commit("x <- 1\n")
    asked = 'packages = [{ git = "https://git.example/mine.git", subdirectory = "pkg" }]'
    pins = project.lock(asked)
    mine = pins.packages[1]
    assert (mine.name, mine.version, mine.why) == ("mine", "0.1", ("requested",))
    assert mine.source
    assert mine.source.remote.commit == commit
    assert mine.source.urls == (f"git+https://git.example/mine.git@{commit}",)
    assert (mine.source.root, mine.source.filename) == ("pkg", "mine_0.1.tar")
    newer = repository.commit("x <- 2\n")
    assert project.lock(asked, previous=[pins]).packages[1] == mine
    moved = project.lock(asked, previous=[pins], upgrade=Upgrade(names=frozenset({"mine"}))).packages[1]
    assert moved.source
    assert moved.source.remote.commit == newer
    assert moved.source.content != mine.source.content
    old = f'packages = [{{ git = "https://git.example/mine.git", subdirectory = "pkg", rev = "{commit[:9]}" }}]'
    again = project.lock(old).packages[1]
    assert again.source
    assert again.source.sha256 == mine.source.sha256
    forge = project.lock('packages = ["mine=ann/mine/pkg@main"]').packages[1]
    assert forge.source
    assert (forge.source.remote.forge, forge.source.remote.ref) == ("github", "main")
    with pytest.raises(ResolutionError, match="is R package mine, not yours"):
        project.lock('packages = ["yours=ann/mine/pkg@main"]')
    with pytest.raises(ResolutionError, match="has no tag, branch or commit nowhere"):
        project.lock('packages = ["ann/mine/pkg@nowhere"]')


def test_a_package_of_the_project(project: Project, cran: fake.Cran) -> None:
    """A change of it makes the lock stale, and what builds leave there is no change."""
    own = project.directory / "pkgs" / "own"
    (own / "src").mkdir(parents=True)
    (own / "DESCRIPTION").write_text(fake.description("own", "0.1", Imports="bb (>= 1.0)"))
    (own / "src" / "code.c").write_text("int x;\n")
    cran.add("bb", "1.0")
    pins = project.lock('packages = [{ path = "pkgs/own" }]')
    mine = pins.packages[1]
    assert mine.source
    assert (mine.version, mine.compiles, mine.source.urls) == ("0.1", True, ("pkgs/own",))
    spec = specs.load(project.directory / "dsenv.toml")
    before = inputs(spec.parts["r"], spec.platform)
    (own / "src" / "code.o").write_text("built")
    assert inputs(sources.expand(spec.parts["r"], project.directory), spec.platform) == before
    (own / "src" / "code.c").write_text("int y;\n")
    assert inputs(sources.expand(spec.parts["r"], project.directory), spec.platform) != before
    store = Store(project.directory / "other", network=lambda: network(spec.parts["r"]))
    with pytest.raises(StaleLockError, match="pkgs/own changed since it was locked"):
        store.fetch([mine.source.artifact()])


def test_a_tarball_by_its_address(project: Project, cran: fake.Cran) -> None:
    cran.add("bb", "1.0")
    cran.files["/files/own_0.2.tar.gz"] = fake.tarball("own", "0.2", Remotes="cran::bb, nonsense::x")
    url = f"{cran.url}/files/own_0.2.tar.gz"
    pins = project.lock(f'packages = ["url::{url}"]')
    assert versions(pins) == {"own": "0.2"}
    assert pins.packages[0].source
    assert (pins.packages[0].source.kind, pins.packages[0].source.urls) == ("url", (url,))
    assert len(project.talk.warnings) == 2
    cran.files["/files/own_0.2.tar.gz"] = fake.tarball("own", "0.3")
    assert versions(project.lock(f'packages = ["url::{url}"]', previous=[pins])) == {"own": "0.2"}
    released = Upgrade(names=frozenset({"own"}))
    assert versions(project.lock(f'packages = ["url::{url}"]', previous=[pins], upgrade=released)) == {"own": "0.3"}


def test_what_a_description_asks_for(project: Project, cran: fake.Cran) -> None:
    for name in ("aa", "bb", "cc", "dd", "ee"):
        cran.add(name, "1.0")
    text = fake.description("project", "0.0.1", Depends="R (>= 4.1), aa", Imports="bb (>= 0.5), utils", Suggests="cc")
    (project.directory / "DESCRIPTION").write_text(text + "Config/Needs/website: dd\n")
    pins = project.lock('from = "DESCRIPTION"\npackages = ["ee"]')
    assert {row.name: row.groups for row in pins.packages} == {
        "aa": (),
        "bb": (),
        "cc": ("suggests",),
        "dd": ("website",),
        "ee": (),
    }
    (project.directory / "DESCRIPTION").write_text(text.replace("R (>= 4.1)", "R (>= 4.3)"))
    with pytest.raises(WrongUseError, match="needs R"):
        project.lock('from = "DESCRIPTION"')


DAY = "as-of = 2024-06-30"


def test_a_day_in_a_dated_repository(project: Project, cran: fake.Cran) -> None:
    """The state of a day is asked for by its address; today's Archive is where its files are as well."""
    cran.add("aa", "2.0", date="2026-01-01")
    with fake.serve(fake.Cran()) as dated:
        dated.add("aa", "1.0", date="2024-01-01")
        dated.files = {f"/2024-06-30{path}": content for path, content in dated.files.items()}
        rows = "\n".join(dated.rows).encode()
        dated.files["/2024-06-30/src/contrib/PACKAGES"] = rows
        place = f'{{ name = "CRAN", url = "{cran.url}", as-of-url = "{dated.url}/{{date}}" }}'
        pins = project.lock('packages = ["aa"]', project=DAY, repositories=f"[{place}]")
        assert versions(pins) == {"aa": "1.0"}
        assert pins.packages[0].source
        assert pins.packages[0].source.urls == (
            f"{dated.url}/2024-06-30/src/contrib/aa_1.0.tar.gz",
            f"{dated.url}/2024-06-30/src/contrib/Archive/aa/aa_1.0.tar.gz",
            f"{cran.url}/src/contrib/aa_1.0.tar.gz",
            f"{cran.url}/src/contrib/Archive/aa/aa_1.0.tar.gz",
        )
        with pytest.raises(WrongUseError, match="nothing is known of that day"):
            project.lock('packages = ["aa"]', project="as-of = 2024-07-01", repositories=f"[{place}]")


@pytest.mark.parametrize("dates", [True, False], ids=["dates", "no-dates"])
def test_a_day_put_together_from_index_and_archive(project: Project, cran: fake.Cran, dates: bool) -> None:  # noqa: FBT001
    cran.dates = dates
    cran.add("aa", "3.0", date="2026-01-01", Imports="bb, cc, fix")
    cran.archive("aa", "2.0", date="2024-07-01", Imports="bb")
    cran.archive("aa", "1.0", date="2024-06-30", Imports="bb, cc, fix")
    cran.archive("aa", "0.9", date="2020-01-01")
    cran.add("bb", "1.0", date="2023-01-01")
    cran.add("cc", "9.0", date="2025-01-01")
    cran.archive("cc", "8.0", date="2024-01-01")
    cran.add("fix", "1.1", date="2026-10-10")
    cran.archive("fix", "1.0", date="2024-01-01")
    cran.add("late", "1.0", date="2025-05-05")
    head = f'{DAY}\nafter-as-of = ["fix==1.1"]\n'
    pins = project.lock('packages = ["aa"]', project=head)
    assert versions(pins) == {"aa": "1.0", "bb": "1.0", "cc": "8.0", "fix": "1.1"}
    assert any("withdrawn since are missing" in text for text in project.talk.warnings)
    with pytest.raises(ResolutionError, match="late") as caught:
        project.lock('packages = ["late"]', project=head)
    assert "came out on 2025-05-05" in caught.value.cause
    cran.lists = False
    with pytest.raises(WrongUseError, match="it lists no Archive") as missing:
        project.lock('packages = ["aa"]', project=head)
    assert "as-of-url" in missing.value.hint


def test_bioconductor_goes_with_r(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "1.0")
    cran.add("limma", "9.9")  # a stranger's
    with fake.serve(fake.Cran()) as bioc:
        bioc.add("limma", "3.54.2", Imports="aa, genes")
        bioc.add("genes", "1.0")
        root = "/packages/3.16"
        files = {f"{root}/bioc{path}": content for path, content in bioc.files.items()}
        files |= {f"{root}/data/annotation{path}": content for path, content in bioc.files.items()}
        files[f"{root}/bioc/src/contrib/PACKAGES"] = bioc.rows[0].encode()
        files[f"{root}/data/annotation/src/contrib/PACKAGES"] = bioc.rows[1].encode()
        bioc.files = files
        tables = f'packages = ["bioc::limma"]\nbioconductor = {{ url = "{bioc.url}" }}'
        pins = project.lock(tables)
        assert versions(pins) == {"aa": "1.0", "genes": "1.0", "limma": "3.54.2"}
        assert {row.name: row.source.repository for row in pins.packages if row.source} == {
            "aa": "CRAN",
            "genes": "bioc/annotation",
            "limma": "bioc",
        }


def test_nothing_says_where_bioconductor_is(
    project: Project, cran: fake.Cran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cran.add("aa", "1.0")
    with pytest.raises(WrongUseError, match="nothing says where Bioconductor is"):
        project.lock('packages = ["bioc::limma"]')


def test_a_repository_that_wants_to_know_who_one_is(
    project: Project, cran: fake.Cran, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User and password come from the environment, and stand in no pin."""
    cran.add("aa", "1.0")
    cran.login = ("ann", "s3cr3t/@")
    host = cran.url.removeprefix("http://")
    monkeypatch.setenv("R_HOST", host)
    monkeypatch.setenv("R_TOKEN", "s3cr3t/@")
    places = '[{ name = "CRAN", url = "http://ann:${R_TOKEN}@${R_HOST}" }]'
    pins = project.lock('packages = ["aa"]', repositories=places)
    assert "s3cr3t" not in pins.model_dump_json()
    assert pins.packages[0].source
    assert pins.packages[0].source.urls[0] == f"{cran.url}/src/contrib/aa_1.0.tar.gz"
    monkeypatch.delenv("R_TOKEN")
    with pytest.raises(WrongUseError, match="R_TOKEN"):
        project.lock('packages = ["aa"]', repositories=places)


REPACKED = {"MD5": "1 *DESCRIPTION\n", "build/vignette.rds": "made anew"}


def _repack(cran: fake.Cran, name: str, version: str, files: Mapping[str, str], **fields: str) -> None:
    """Replace a file and its row in the index, as CRAN does."""
    cran.rows[:] = [row for row in cran.rows if not row.startswith(f"Package: {name}\n")]
    cran.add(name, version, files=files, **fields)


@pytest.mark.parametrize("here", [True, False], ids=["old-file-here", "old-file-gone"])
def test_a_repacked_tarball_stops_and_can_be_accepted(project: Project, cran: fake.Cran, here: bool) -> None:  # noqa: FBT001
    cran.add("aa", "1.0", Imports="bb")
    cran.add("bb", "1.0")
    pins = project.lock('packages = ["aa"]')
    _repack(cran, "aa", "1.0", REPACKED, date="2021-02-03", Imports="bb", Maintainer="ORPHANED")
    if not here:
        shutil.rmtree(project.directory / "store")
    with pytest.raises(IntegrityError, match=r"aa_1\.0\.tar\.gz was packed anew") as caught:
        project.lock('packages = ["aa"]', previous=[pins])
    if here:
        fields = ["DESCRIPTION Date/Publication", "DESCRIPTION Maintainer", "DESCRIPTION Packaged"]
        assert caught.value.cause.splitlines() == ["differs in:", *fields, "MD5", "build/vignette.rds"]
    assert "dsenv lock --accept-repack aa" in caught.value.hint
    store = Store(project.directory / "store")
    found = repacks.repacked(pins, "aa", store)
    assert found
    assert found.harmless
    accepted = found.pins.packages[0].source
    assert accepted.sha256[:1] == pins.packages[0].source.sha256  # type: ignore[union-attr]
    assert len(accepted.sha256) == 2
    again = project.lock('packages = ["aa"]', previous=[found.pins])
    assert r_pins.canonical(again) == r_pins.canonical(found.pins)
    assert repacks.repacked(found.pins, "aa", store) is None
    selection = Selection(target=Target("linux", "amd64"))
    assert r_pins.identity(pins, selection) == r_pins.identity(found.pins, selection)
    elsewhere = Store(project.directory / "elsewhere")
    elsewhere.fetch([accepted.artifact()])
    assert elsewhere.read_checked(accepted.artifact()).name == accepted.sha256[1]


def test_a_changed_tarball_is_named_as_such(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "1.0")
    pins = project.lock('packages = ["aa"]')
    cran.add("bb", "1.0")
    _repack(cran, "aa", "1.0", {"R/code.R": "other()\n", "R/more.R": ""}, Imports="bb")
    with pytest.raises(IntegrityError, match="was changed: its address serves another content") as caught:
        project.lock('packages = ["aa"]', previous=[pins])
    assert caught.value.cause.splitlines() == ["differs in:", "DESCRIPTION Imports", "R/code.R", "R/more.R"]
    store = Store(project.directory / "store")
    found = repacks.repacked(pins, "aa", store)
    assert found
    assert not found.harmless
    assert len(found.pins.packages[0].source.sha256) == 1
    _repack(cran, "aa", "1.0", {"../x": ""})
    cran.files["/src/contrib/aa_1.0.tar.gz"] = fake.tarball("bb", "1.0")
    with pytest.raises(IntegrityError, match=r"its address serves bb 1\.0"):
        repacks.repacked(pins, "aa", store)


def test_a_changed_archived_tarball_is_not_passed_over(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "2.0")
    path = cran.archive("aa", "1.0")
    cran.archive("aa", "0.9")
    pins = project.lock('packages = ["aa<2"]')
    cran.files[path] = fake.tarball("aa", "1.0", REPACKED)
    shutil.rmtree(project.directory / "store")
    with pytest.raises(IntegrityError, match=r"aa_1\.0\.tar\.gz was packed anew"):
        project.lock('packages = ["aa<2"]', previous=[pins])


def test_the_export_for_renv(project: Project, cran: fake.Cran, repository: Repository) -> None:
    """Each record says where renv finds the source again; renv's hash is left out where only R could tell it."""
    cran.add("bb", "1.0", Depends="R (>= 3.5)")
    project.brings = {"Matrix": fake.description("Matrix", "1.5-3")}
    commit = repository.commit("x <- 1\n")
    own = project.directory / "own"
    own.mkdir()
    (own / "DESCRIPTION").write_text("Package: own\nVersion: 0.1\nAuthors@R: person('Ann')\n")
    other = '{ name = "mine", git = "https://git.example/mine.git"'
    with pytest.raises(IntegrityError, match="is no R package"):
        project.lock(f"packages = [{other} }}]")
    with pytest.raises(ResolutionError, match="mine is to come from two places"):
        project.lock(f'packages = ["ann/mine/pkg@main", {other}, subdirectory = "pkg" }}]')
    pins = project.lock('packages = ["bb", "mine=ann/mine/pkg@main", { path = "own" }]')
    written = json.loads(r_pins.write(pins, {}).exports["renv.lock"])
    assert written["R"] == {"Version": "4.2.2", "Repositories": [{"Name": "CRAN", "URL": cran.url}]}
    bb, mine, local = (written["Packages"][name] for name in ("bb", "mine", "own"))
    assert set(written["Packages"]) == {"bb", "mine", "own"}
    assert bb == {
        "Package": "bb",
        "Version": "1.0",
        "Source": "Repository",
        "Repository": "CRAN",
        "Requirements": ["R"],
        "Hash": pins.packages[1].renv_hash,
    }
    assert mine["Source"] == "GitHub"
    assert {key: value for key, value in mine.items() if key.startswith("Remote")} == {
        "RemoteType": "github",
        "RemoteHost": "api.github.com",
        "RemoteUsername": "ann",
        "RemoteRepo": "mine",
        "RemoteRef": "main",
        "RemoteSha": commit,
        "RemoteSubdir": "pkg",
    }
    assert (local["Source"], local["RemoteUrl"]) == ("Local", "own")
    assert "Hash" not in local


def test_an_archive_that_lists_nothing(project: Project, cran: fake.Cran) -> None:
    """An exact version is asked for by its address all the same."""
    cran.lists = False
    cran.add("aa", "2.0")
    cran.archive("aa", "1.0-1")
    assert versions(project.lock('packages = ["aa==1.0-1"]')) == {"aa": "1.0-1"}
    with pytest.raises(ResolutionError, match="no version of aa"):
        project.lock('packages = ["aa<2"]')


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pkgs/own", "../../outside"),
        ("pkgs/own", "/etc/passwd"),
        ('kind = "path"', 'kind = "url"'),
    ],
)
def test_a_lock_whose_source_lies_elsewhere_is_refused(project: Project, old: str, new: str) -> None:
    own = project.directory / "pkgs" / "own"
    own.mkdir(parents=True)
    (own / "DESCRIPTION").write_text(fake.description("own", "0.1"))
    project.cran.add("bb", "1.0")
    pins = project.lock('packages = [{ path = "pkgs/own" }]')
    text = toml_write.dumps(r_pins.write(pins, {}).table)
    assert r_pins.read(LockFiles(table=tomllib.loads(text)))[0].packages == pins.packages
    with pytest.raises(LockFormatError):
        r_pins.read(LockFiles(table=tomllib.loads(text.replace(old, new))))


def test_what_is_said_of_packages_that_are_not_there(project: Project, cran: fake.Cran) -> None:
    cran.add("aa", "1.0", SystemRequirements="libcurl")
    pins = project.lock('packages = ["aa"]\nsuggests = ["bb"]\nsystem-requirements = { aa = ["jq"], cc = [] }')
    assert project.talk.warnings == [
        "[r] suggests names bb, which nothing needs",
        "[r] system-requirements names cc, which nothing needs",
    ]
    assert (pins.packages[0].needs, pins.packages[0].build_needs) == (("jq",), ())
    needs = {(need.name, need.why, need.build) for need in r_pins.revealed(pins, {})}
    assert needs == {("jq", "r:aa", False), ("make", "r", True)}


def test_a_change_of_address_is_told_only_where_it_decides() -> None:
    def asked(tables: str, head: str = "") -> object:
        text = HEAD.format(project=head) + tables
        spec = specs.parse(text)
        return inputs(spec.parts["r"], spec.platform)

    table = 'repositories = [{{ name = "x", url = "https://{}"{} }}]'
    assert asked('repositories = ["CRAN"]') == asked("")
    assert asked(table.format("a.example", "")) != asked(table.format("b.example", ""))
    dated = ', as-of-url = "https://a.example/{date}"'
    assert asked(table.format("a.example", dated)) == asked(table.format("a.example", ""))
    assert asked(table.format("a.example", dated), DAY) != asked(table.format("a.example", ""), DAY)
