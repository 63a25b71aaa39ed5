"""R packages from source: built out of locked packages, installed, proven, handed on, repaired after a failure."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import tomllib
from contextlib import suppress
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
    "KeepSource": "true",
}
LINKED_FILES = {
    "NAMESPACE": "useDynLib(tinylink, C_answer)\nexport(answer)\nimportFrom(tinyr, where)\n",
    "R/tinylink.R": "# The answer.\nanswer <- function() .Call(C_answer) # as C has it\n",
    "src/tinylink.c": """\
#include <Rinternals.h>
#include <tinyc.h>
SEXP C_answer(void) { return Rf_ScalarInteger(tinyc_answer); }
""",
}
SCRIPT = """
cat(basename(.libPaths()), tinylink::answer(), class(tinyr::where()), packageVersion("tinyr") == "1.0.1", "")
source <- attr(attr(tinylink::answer, "srcref"), "srcfile")$original
cat(as.numeric(source$timestamp), grep("# as C", source$lines, value = TRUE))
"""
KEPT = "315532800 answer <- function() .Call(C_answer) # as C has it"
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


def _finished(store: Path) -> dict[str, tuple[str, int]]:
    """Return what has been built, with what shows whether it was built again."""
    return {
        json.loads(path.read_text())["title"]: (path.parts[-3], path.stat().st_ino)
        for path in (store / "builds").glob("*/files/facts.json")
    }


def _built(text: str) -> set[str]:
    return set(re.findall(r"^built (\S+) \S+ in ", text, re.MULTILINE))


def test_sources_are_built_installed_and_proven(tiny: Dsenv) -> None:
    planned = tiny.json("restore", "--dry-run")
    restored = tiny("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    assert _built(restored.stderr) == {title.partition(" ")[0] for title in planned["build"]}
    # jansson is a dependency of what building takes, and of nothing that comes into the environment.
    assert 'no locked package has libjansson.so.4, wanted by tinyc: add "libjansson4" to [system]' in restored.stderr
    assert tiny("run", "--", "Rscript", "-e", SCRIPT).stdout == f"library library 42 list TRUE {KEPT}"
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


def test_what_ccache_kept_makes_the_same_files(tiny: Dsenv, fresh: Path, repository: tuple[Path, str]) -> None:
    """Two builds with ccache, the second out of its cache, are byte by byte the one without it."""
    tiny("restore", code=None)
    text = SPEC.format(url=repository[1], packages="").replace('"libjansson-dev"', '"ccache", "libjansson-dev"')
    project = Dsenv(fresh.parent, fresh).spec(text.replace('["tinylink"]', '["tinyc"]'))
    project("lock")
    hits = []
    for _ in range(2):
        restored = project("restore", code=None)
        assert _built(restored.stderr) == {"tinyc"}, restored.stderr
        for path in (tiny.current / "library/tinyc").rglob("*"):
            other = project.current / "library" / path.relative_to(tiny.current / "library")
            assert path.is_dir() or path.read_bytes() == other.read_bytes(), path
        hits.append(_hits(fresh))
        shutil.rmtree(fresh / "builds")
        shutil.rmtree(project.directory / ".dsenv")
    assert hits == [0, 1]


def test_bytes_that_are_not_locked_are_not_installed(
    tiny: Dsenv, fresh: Path, repository: tuple[Path, str], tmp_path: Path
) -> None:
    """A tampered source stops a restore; of one that was packed anew the accepted bytes are the same package."""
    tiny("restore", code=None)
    project = tiny.copy(tmp_path / "project")
    lonely = Dsenv(project.directory, fresh)
    rows = tomllib.loads(project.locks()["dsenv.lock"].decode())["r"]["packages"]
    (sha256,) = next(row["source"]["sha256"] for row in rows if row["name"] == "tinyr")
    (fresh / "artifacts").unlink()
    ignored = shutil.ignore_patterns(f"*{sha256}*", f"*{sha256[2:]}*")
    shutil.copytree(tiny.store / "artifacts", fresh / "artifacts", copy_function=os.link, ignore=ignored)
    (fresh / "workshops").symlink_to(tiny.store / "workshops")
    try:
        publish_all(repository[0], tinyr={"R/tinyr.R": "evil <- TRUE\n"})
        stopped = lonely("restore", code=1).stderr
        assert "tinyr_1.0-1.tar.gz was changed: its address serves another content" in stopped
        publish_all(repository[0], tinyr={"MD5": "0 *DESCRIPTION\n", "build/vignette.rds": "x"})
        stopped = lonely("restore", code=1).stderr
        assert "tinyr_1.0-1.tar.gz was packed anew" in stopped
        assert "run `dsenv lock --accept-repack tinyr`" in stopped
        assert not (lonely.directory / ".dsenv/current").exists()
        lonely("lock", "--accept-repack", "tinyr")
        shutil.rmtree(fresh / "builds", ignore_errors=True)
        (fresh / "builds").symlink_to(tiny.store / "builds")
        restored = lonely("restore", code=None)
        assert restored.returncode in {0, 5}, restored.stderr
        assert not _built(restored.stderr), "its content is what was built before"
        assert lonely.json("verify")["differences"] == []
    finally:
        publish_all(repository[0])


def _hits(store: Path) -> int:
    """Return how many files ccache had for tinyc, as it says itself."""
    root = next(path.parents[2] for path in (store / "workshops").glob("*/files/root/usr/bin/ccache"))
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader, program = root / "lib64/ld-linux-x86-64.so.2", root / "usr/bin/ccache"
    argv: list[str | Path] = [loader, "--library-path", libraries, program, "--print-stats"]
    env = {"CCACHE_DIR": str(store / "caches/ccache/r-tinyc")}
    said = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    counts = dict(line.split("\t") for line in said.splitlines())
    return int(counts["direct_cache_hit"]) + int(counts["preprocessed_cache_hit"])


def test_ten_kills_then_a_plain_restore(tiny: Dsenv, fresh: Path, tmp_path: Path) -> None:
    """Killed at any moment, a restore leaves what it has finished; the next one goes on from there."""
    tiny("restore", code=None)
    (fresh / "workshops").symlink_to(tiny.store / "workshops")
    names = [f"chain{number}" for number in range(5)]
    rows = [
        {**PURE, "Package": name, "Imports": ", ".join(names[max(0, at - 2) : at : 2])} for at, name in enumerate(names)
    ]
    publish(tmp_path / "cran", *((fields, source(fields, PURE_FILES)) for fields in rows))
    moments = random.Random(5)  # noqa: S311 - the same in every run
    before: dict[str, tuple[str, int]] = {}
    with serving(tmp_path / "cran") as url:
        project = Dsenv(tmp_path, fresh).r(url, names)
        project("lock")
        for _ in range(10):
            process = project.start("restore")
            said = ""
            with suppress(subprocess.TimeoutExpired):
                said = process.communicate(timeout=moments.uniform(0.2, 2.6))[1]
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                said = process.communicate(timeout=60)[1]
            assert not _built(said) & {title.partition(" ")[0] for title in before}
            after = _finished(fresh)
            assert before.items() <= after.items(), "what was finished stays as it was"
            before = after
        restored = project("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    assert not _built(restored.stderr) & {title.partition(" ")[0] for title in before}
    whole = _finished(fresh)
    assert before.items() <= whole.items()
    assert {title.partition(" ")[0] for title in whole} == {*names}
    assert project.json("verify")["differences"] == []
    assert {path.name for path in (project.current / "library").iterdir()} == {*names}
    assert not [*(fresh / "scratch").iterdir()]
    assert [path.name for path in project.current.parent.iterdir() if path.is_dir()] == [project.current.name]
