"""R packages from source: built out of locked packages, installed, proven, handed on, repaired after a failure."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Dsenv
from tests.integration.rpackages import publish, serving, source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.apt

SOMEBODY = ("setpriv", "--reuid=4321", "--regid=4321", "--clear-groups", "--no-new-privs")
READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
PURE = {"Package": "tinyr", "Version": "1.0-1", "NeedsCompilation": "no"}
PURE_FILES = {
    "NAMESPACE": "export(where)\n",
    # What is said when the package is built shows where, when and by which process it was.
    "R/tinyr.R": "built <- list(Sys.getpid(), getwd(), Sys.getenv(c('HOME', 'TZ')))\nwhere <- function() built\n",
    "man/where.Rd": "\\name{where}\\title{Where}\\description{Where.}\\usage{where()}\n",
}
CODE = {"Package": "tinyc", "Version": "0.2", "NeedsCompilation": "yes"}
CODE_FILES = {
    "NAMESPACE": "useDynLib(tinyc, .registration = TRUE)\nexport(version)\n",
    "R/tinyc.R": "version <- function() .Call(C_version)\n",
    "inst/include/tinyc.h": "static const int tinyc_answer = 42;\n",
    "src/Makevars": "PKG_LIBS = -ljansson\n",
    "src/tinyc.c": """\
#include <jansson.h>
#include <Rinternals.h>
#include <R_ext/Rdynload.h>
static SEXP version(void) { return Rf_mkString(jansson_version_str()); }
static const R_CallMethodDef calls[] = {{"C_version", (DL_FUNC) &version, 0}, {NULL, NULL, 0}};
void R_init_tinyc(DllInfo *dll) { R_registerRoutines(dll, NULL, calls, NULL, NULL); }
""",
}
LINKED = {
    "Package": "tinylink",
    "Version": "2.0",
    "Imports": "tinyr (>= 1.0)",
    "LinkingTo": "tinyc",
    "NeedsCompilation": "yes",
}
LINKED_FILES = {
    "NAMESPACE": "useDynLib(tinylink, C_answer)\nexport(answer)\nimportFrom(tinyr, where)\n",
    "R/tinylink.R": "answer <- function() .Call(C_answer)\n",
    "src/tinylink.c": """\
#include <Rinternals.h>
#include <tinyc.h>
SEXP C_answer(void) { return Rf_ScalarInteger(tinyc_answer); }
""",
}
SCRIPT = 'cat(basename(.libPaths()), tinylink::answer(), class(tinyr::where()), packageVersion("tinyr") == "1.0.1")'
SPEC = """\
[r]
version = "4.2"
repositories = [{{ name = "tiny", url = "{url}" }}]
packages = ["tinylink"]

[system]
packages = [{packages}]
build = ["libjansson-dev"]
"""


def publish_all(directory: Path, **changes: Mapping[str, str]) -> None:
    rows = ((PURE, PURE_FILES), (CODE, CODE_FILES), (LINKED, LINKED_FILES))
    publish(
        directory,
        *((fields, source(fields, {**files, **changes.get(fields["Package"], {})})) for fields, files in rows),
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Serve the three packages; return where they lie and where they are served."""
    directory = tmp_path_factory.mktemp("tiny")
    publish_all(directory)
    with serving(directory) as url:
        yield directory, url


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, store: Path, repository: tuple[Path, str]) -> Dsenv:
    """Return a project of packages from source, locked and restored."""
    project = Dsenv(tmp_path_factory.mktemp("sources"), store)
    project.spec(SPEC.format(url=repository[1], packages=""))
    project("lock")
    return project


@pytest.fixture
def fresh(store: Path) -> Iterator[Path]:
    """Return a store that takes what the session's has downloaded and unpacked, and has built nothing."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "a store"
        path.mkdir()
        for name in ("artifacts", "trees"):
            (path / name).symlink_to(store / name)
        yield path


def _built(text: str) -> set[str]:
    return set(re.findall(r"^built (\S+) \S+ in ", text, re.MULTILINE))


def test_sources_are_built_installed_and_proven(tiny: Dsenv) -> None:
    planned = tiny.json("restore", "--dry-run")
    restored = tiny("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    assert _built(restored.stderr) == {title.partition(" ")[0] for title in planned["build"]}
    # jansson is a dependency of what building takes, and of nothing that comes into the environment.
    assert 'no locked package has libjansson.so.4, wanted by tinyc: add "libjansson4" to [system]' in restored.stderr
    assert tiny("run", "--", "Rscript", "-e", SCRIPT).stdout == "library library 42 list TRUE"
    assert tiny.json("verify")["differences"] == []
    again = tiny.json("restore", code=None)
    assert again["unchanged"]
    description = (tiny.current / "library/tinyr/DESCRIPTION").read_text()
    assert "Repository: CRAN\n" in description
    assert "Author: Ann Author [aut, cre]\n" in description
    assert {path.name for path in (tiny.current / "library").iterdir()} == {"tinyc", "tinylink", "tinyr"}
    (tiny.current / "library/tinyr/DESCRIPTION").write_text("x")
    (tiny.current / "library/mine").mkdir()
    told = tiny("verify", code=4).stdout
    assert "changed: library/tinyr/DESCRIPTION (tinyr 1.0-1)" in told
    repaired = tiny("restore", code=None)
    assert not _built(repaired.stderr), "what was built lies in the store"


def test_another_user_with_another_store_builds_the_same_files(tiny: Dsenv, fresh: Path, tmp_path: Path) -> None:
    tiny("restore", code=None)
    other = Dsenv(Path(shutil.copytree(tiny.directory, fresh.parent / "elsewhere" / "x", symlinks=True)), fresh)
    shutil.rmtree(other.directory / ".dsenv")
    wrapper: tuple[str, ...] = ()
    if os.geteuid() == 0:
        wrapper = (*SOMEBODY, *READING, "--")
        for path in (fresh, other.directory.parent, other.directory, *other.directory.iterdir()):
            os.chown(path, 4321, 4321)
    env = {"HOME": str(fresh), "TZ": "Asia/Tokyo", "LC_ALL": "C", "MAKEFLAGS": "-j7", "PYTHONDONTWRITEBYTECODE": "1"}
    restored = other("restore", code=None, wrapper=wrapper, **env)
    assert _built(restored.stderr) == {"tinyr", "tinyc", "tinylink"}, restored.stderr
    ours, theirs = (
        {path.relative_to(library): path for path in library.rglob("*") if path.is_file()}
        for library in (tiny.current / "library", other.current / "library")
    )
    assert ours.keys() == theirs.keys()
    assert [str(path) for path in ours if ours[path].read_bytes() != theirs[path].read_bytes()] == []
    # From store to store by way of a directory, nothing is built.
    shelf = tmp_path / "shelf"
    assert len(tiny.json("store", "export", str(shelf))["handed"]) == 3
    shutil.rmtree(fresh / "builds")
    taken = Dsenv(tiny.directory, fresh).json("store", "import", str(shelf))
    assert (len(taken["handed"]), taken["lacking"]) == (3, [])


def test_a_failure_stops_only_what_needs_it(tiny: Dsenv, repository: tuple[Path, str], tmp_path: Path) -> None:
    directory, url = repository
    broken = {"src/tinyc.c": "#include <libpq-fe.h>\n" + CODE_FILES["src/tinyc.c"]}
    project = Dsenv(tmp_path, tiny.store).spec(SPEC.format(url=url, packages='"libjansson4"'))
    changed = {"R/tinyr.R": PURE_FILES["R/tinyr.R"] + "x <- 1\n"}
    try:
        publish_all(directory, tinyc=broken, tinyr=changed)
        project("lock")
        failed = project("restore", code=1).stderr
    finally:
        publish_all(directory)
    assert "tinyc 0.2: `R CMD INSTALL" in failed
    assert "fatal error: libpq-fe.h: No such file or directory" in failed
    assert 'libpq-fe.h is missing: add "libpq-dev" to [system] build' in failed
    assert "not built, since they need it: tinylink 2.0" in failed
    left = {title.partition(" ")[0] for title in project.json("restore", "--dry-run")["build"]}
    assert left == {"tinyc", "tinylink"}, "what does not need it was built, and is kept"
