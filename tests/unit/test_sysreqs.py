"""What R packages need of the system: every rule that matches, and building and running kept apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from dsenv.ecosystems.r import r_config, sysreqs
from dsenv.ecosystems.system.packages import linked
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

SF = "GDAL (>= 2.0.1), GEOS (>= 3.4.0), PROJ (>= 4.8.0), sqlite3"


@dataclass
class _Offer:
    """A distribution with -dev packages whose library is called after them."""

    lacks: tuple[str, ...] = ()
    whole: bool = True
    label: str = "x"
    asked: list[list[str]] = field(default_factory=list)

    def candidate(self, name: str) -> str | None:
        return None if name in self.lacks else "1.0"

    def near(self, _name: str) -> tuple[str, ...]:
        return ()

    def providing(self, _soname: str) -> str | None:
        return None

    def libraries(self, names: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        self.asked.append(sorted(names))
        return {name: (name.removesuffix("-dev"),) for name in names}


def _wanted(text: str, said: Sequence[str] | None = None, offer: _Offer | None = None) -> sysreqs.Wanted:
    return sysreqs.wanted({"x": text}, {} if said is None else {"x": said}, [offer or _Offer()])["x"]


def test_every_rule_counts() -> None:
    """renv stops at the first one."""
    found = _wanted(SF)
    assert found.build == ("libgdal-dev", "libgeos-dev", "libproj-dev", "libsqlite3-dev")
    assert found.run == ("gdal-bin", "libgdal", "libgeos", "libproj", "libsqlite3")


@pytest.mark.parametrize(
    ("text", "build", "run"),
    [
        ("", (), ()),
        ("C++17", (), ()),
        ("GNU make", ("make",), ()),
        ("pandoc (>= 2.8) - http://pandoc.org", (), ("pandoc",)),
        ("libcurl: libcurl-devel (rpm) or libcurl4-openssl-dev (deb)", ("libcurl4-openssl-dev", "libssl-dev"), None),
        ("ImageMagick++: ImageMagick-c++-devel (rpm) or libmagick++-dev (deb)", ("libmagick++-dev",), None),
        ("ICU4C (>= 61, optional)", ("libicu-dev",), None),
        ("fftw3 (>= 3.1.2)", ("libfftw3-dev",), None),
        ("A system with zoneinfo data", (), ("tzdata",)),
        ("libpq >= 9.0: libpq-dev (deb) or postgresql-devel (rpm)", ("libpq-dev",), None),
        ("Cargo (Rust's package manager), rustc", ("cargo",), ()),
        ("JAGS 4.x.y (http://mcmc-jags.sourceforge.net)", ("jags",), ("jags",)),
    ],
)
def test_texts_of_real_packages(text: str, build: tuple[str, ...], run: tuple[str, ...] | None) -> None:
    found = _wanted(text)
    assert found.build == build
    if run is not None:
        assert found.run == run


def test_the_spec_says_otherwise() -> None:
    assert _wanted(SF, ()) == sysreqs.Wanted()
    found = _wanted(SF, ("libgdal-dev", "cmake", "graphviz"))
    assert (found.build, found.run) == (("cmake", "libgdal-dev"), ("graphviz", "libgdal"))


def test_the_name_that_a_distribution_has() -> None:
    assert _wanted("gsl", offer=_Offer(lacks=("libgsl-dev",))).build == ("libgsl0-dev",)
    nothing = _wanted("mongodb", offer=_Offer(lacks=("mongodb",)))
    assert (nothing.run, nothing.missing) == ((), ("mongodb",))
    assert sysreqs.talk({"mongolite": nothing.missing}) == (
        "the distribution has no package for what R packages ask for: mongolite (mongodb)"
    )
    assert _wanted("mongodb", offer=_Offer(lacks=("mongodb",), whole=False)).run == ("mongodb",)


def test_a_distribution_is_asked_once() -> None:
    offer = _Offer()
    sysreqs.wanted({"sf": SF, "curl": "libcurl", "pure": ""}, {}, [offer])
    assert offer.asked == [["libcurl4-openssl-dev", "libgdal-dev", "libgeos-dev", "libproj-dev", "libsqlite3-dev"]]


def test_every_rule_has_packages() -> None:
    for rule in sysreqs.rules():
        assert rule.build or rule.run, rule.name
        for choice in (*rule.build, *rule.run):
            assert all(name == name.strip().lower() and name for name in choice.split(" | ")), rule.name


GRAPH = {
    "libgdal-dev": ("3.6+b1", ["libgdal32", "libgeos-dev", "libc6-dev"]),
    "libgdal32": ("3.6+b1", ["libc6"]),
    "libjpeg-dev": ("2.1-1", ["libjpeg62-turbo-dev"]),
    "libjpeg62-turbo-dev": ("2.1-1+b2", ["libjpeg62-turbo", "libc6-dev"]),
    "libjpeg62-turbo": ("2.1-1+b2", []),
    "zlib1g-dev": ("1.2", ["zlib1g"]),
    "zlib1g": ("1.2", []),
    "default-libmysqlclient-dev": ("1.1", ["libmariadb-dev", "libmariadb-dev-compat"]),
    "libmariadb-dev": ("10.11", ["libmariadb3", "libssl-dev"]),
    "libmariadb-dev-compat": ("10.11", ["libmariadb-dev"]),
    "libmariadb3": ("10.11", []),
    "libssl-dev": ("3.0", ["libssl3"]),
    "libssl3": ("3.0", []),
    "libeigen3-dev": ("3.4", ["pkg-config"]),
}


def test_what_is_linked_follows_from_dev_packages() -> None:
    """The library of the same source, through names for another -dev package; not what that needs itself."""
    steps = []

    def depends(names: Sequence[str]) -> dict[str, list[str]]:
        steps.append(names)
        return {name: GRAPH[name][1] for name in names if name in GRAPH}

    wanted = [name for name in GRAPH if name.endswith("-dev")]
    found = linked.libraries([*wanted, "libnone-dev"], {name: row[0] for name, row in GRAPH.items()}, depends)
    assert found["libgdal-dev"] == ("libgdal32",)
    assert found["libjpeg-dev"] == ("libjpeg62-turbo",)
    assert found["zlib1g-dev"] == ("zlib1g",)
    assert found["default-libmysqlclient-dev"] == ("libmariadb3",)
    assert found["libeigen3-dev"] == found["libnone-dev"] == ()
    assert len(steps) <= 3


SITE = """\
# options(repos = c(CRAN = "https://no.example"))
local({
    r <- getOption("repos")
    r["CRAN"] <- "https://site.example/"
    options(repos = r)
})
"""


@pytest.fixture
def _no_r(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dsenv.tools.process.find", lambda _: None)
    monkeypatch.setattr("dsenv.ecosystems.r.r_config._SITE", ())
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("R_REPOSITORIES", "R_PROFILE", "R_PROFILE_USER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_r")
def test_which_repositories_r_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The locked R's own profile is the last to be asked, the variable the first."""
    assert r_config.read("") == r_config.Configured()
    assert r_config.read(SITE).repositories == {"CRAN": "https://site.example"}
    (tmp_path / "site").write_text('options("x" = 1, repos = "https://one.example")')
    monkeypatch.setenv("R_PROFILE", str(tmp_path / "site"))
    assert r_config.read(SITE).repositories == {"CRAN": "https://one.example"}
    (tmp_path / ".Rprofile").write_text(
        "options(repos = c(RSPM = \"https://p.example/cran/__linux__/jammy/latest\", own = 'http://own.example'),\n"
        '        BioC_mirror = "https://bioc.example/")'
    )
    told = r_config.read(SITE)
    assert told.repositories == {"RSPM": "https://p.example/cran/latest", "own": "http://own.example"}
    assert told.bioc_mirror == "https://bioc.example"
    table = "menu_name\tURL\tdefault\tsource\nCRAN\tCRAN\thttps://table.example/\tTRUE\tTRUE\nX\tx\t%bm/x\tTRUE\tTRUE\n"
    (tmp_path / "repositories").write_text(table + "Off\toff\thttps://off.example\tFALSE\tTRUE\n")
    monkeypatch.setenv("R_REPOSITORIES", str(tmp_path / "repositories"))
    assert r_config.read(SITE).repositories == {"CRAN": "https://table.example"}
    assert r_config.read(SITE).bioc_mirror == "https://bioc.example"
    monkeypatch.setenv("R_REPOSITORIES", str(tmp_path / "nowhere"))
    with pytest.raises(WrongUseError, match="R_REPOSITORIES names"):
        r_config.read(SITE)


def test_the_r_of_this_machine_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "Rscript"
    program.write_text(
        "#!/bin/sh\nprintf 'hello\\n@repos\\tCRAN\\thttps://r.example/\\n@repos\\tx\\t@CRAN@\\n@bioc\\t\\t\\n'"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("R_REPOSITORIES", raising=False)
    assert r_config.read(SITE).repositories == {"CRAN": "https://r.example"}
    program.write_text("#!/bin/sh\nexit 1\n")
    assert r_config.read(SITE).repositories == {"CRAN": "https://site.example"}
