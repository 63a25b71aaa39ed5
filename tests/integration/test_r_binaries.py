"""What others have built, by a real R: packages beside those built here, and R itself, wherever it is unpacked."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tarfile
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Dsenv
from tests.integration.rpackages import serving
from tests.integration.test_r_sources import KEPT, SCRIPT, SPEC
from tests.integration.test_r_sources import publish_all as publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.apt

BUILT = "__linux__/bookworm/src/contrib"  # as a package manager has it, which serves strangers sources
TABLES = """\
[r]
version = "4.2"
repositories = [{{ name = "tiny", url = "{url}", binary = "{url}/__linux__/bookworm" }}]
packages = ["{package}"]
"""


_SHARED = ("share", "include", "doc")  # which Debian has elsewhere
ARCHIVE = """\
[r]
version = "4.2.2"
archive = "{url}/R-4.2.2-portable.tar.gz"
repositories = [{{ name = "tiny", url = "{url}" }}]
packages = ["tinylink"]

[system]
packages = ["libjansson4"]
build = ["libjansson-dev"]
"""
WHERE = """\
stopifnot(tinylink::answer() == 42, nzchar(tinyc::version()), solve(matrix(2)) == 0.5, "Matrix" %in% loadedNamespaces())
own <- system2(file.path(R.home("bin"), "Rscript"), c("-e", "'cat(6*7)'"), stdout = TRUE)
cat(R.home(), .libPaths(), R.home("share"), own, sep = "\\n")
"""


def _own(text: str, home: str) -> str:
    """Return a front end that finds out where it lies, as builds that run anywhere have it."""
    text = re.sub(
        r"(?m)^R_(SHARE|INCLUDE|DOC)_DIR=.*$", lambda match: f"R_{match[1]}_DIR=${{R_HOME}}/{match[1].lower()}", text
    )
    return re.sub(
        r"(?m)^R_HOME_DIR=.*$", f'R_HOME_DIR="$(dirname "$(dirname "$(readlink -f "$0")")")"{home}', text, count=1
    )


def _pack(tree: Path, directory: Path) -> None:
    """Make an archive of the distribution's R as it lies in an environment's tree."""
    top = directory / "4.2.2"
    home = top / "lib" / "R"
    for source, path in {"usr/lib/R": home, **{f"usr/share/R/{name}": home / name for name in _SHARED}}.items():
        with contextlib.suppress(shutil.Error):  # links to what no tree has
            shutil.copytree(tree / source, path)
    (top / "bin").mkdir()
    front = (tree / "usr/lib/R/bin/R").read_text()
    for path, below in ((home / "bin" / "R", ""), (top / "bin" / "R", "/lib/R")):
        path.unlink(missing_ok=True)
        path.write_text(_own(front, below))
        path.chmod(0o755)
    shutil.copy(tree / "usr/bin/Rscript", top / "bin" / "Rscript")
    subprocess.run(["tar", "-I", "gzip -1", "-cf", "R-4.2.2-portable.tar.gz", "4.2.2"], cwd=directory, check=True)
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[tuple[Path, str]]:
    """Serve three packages, two of them built as well; return where they lie and where they are served."""
    directory = tmp_path_factory.mktemp("shop")
    publish(directory)
    shutil.copytree(directory / "src" / "contrib", directory / BUILT)
    with serving(directory) as url:
        smith = Dsenv(tmp_path_factory.mktemp("smith"), store).spec(SPEC.format(url=url, packages='"libjansson4"'))
        smith("lock")
        smith("restore", code=None)
        for_r = directory / "for-r" / BUILT
        for_r.mkdir(parents=True)
        tarball = directory / "src" / "contrib" / "tinyr_1.0-1.tar.gz"
        scratch = directory / "scratch"
        scratch.mkdir()
        words = ("sh", "-c", f'cd "{scratch}" && mkdir l && R CMD INSTALL --build --library=l "{tarball}"')
        smith("run", "--", *words)
        (scratch / "tinyr_1.0-1_R_x86_64-pc-linux-gnu.tar.gz").rename(for_r / "tinyr_1.0-1.tar.gz")
        with tarfile.open(for_r / "tinyc_0.2.tar.gz", "w:gz") as archive:  # what --build packs, which takes compilers
            archive.add(smith.current / "library" / "tinyc", "tinyc")
        _pack(smith.current / "root", directory)
        yield directory, url


def _lock(project: Dsenv) -> dict[str, Any]:
    return tomllib.loads((project.directory / "dsenv.lock").read_text())


def _system(project: Dsenv) -> dict[str, Any]:
    return {row["name"]: row for row in _lock(project)["system"]["linux-amd64"]["packages"]}


def test_what_is_built_is_installed_beside_what_is_not(tmp_path: Path, store: Path, shop: tuple[Path, str]) -> None:
    """One built as R packs it, one with code, and one of which the address answers with its source in spite of all."""
    project = Dsenv(tmp_path, store).spec(TABLES.format(url=shop[1], package="tinylink"))
    locked = project("lock")
    assert "not built by tiny for linux-amd64, so from source: tinylink: is a source there, too" in locked.stderr
    rows = _system(project)
    assert rows["libjansson4"]["why"] == ["r:tinyc"]
    assert not rows["libjansson4"].get("build")
    restored = project("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    assert "checked tinyr 1.0-1 (binary) in" in restored.stderr
    assert "checked tinyc 0.2 (binary) in" in restored.stderr
    assert "built tinylink 2.0 in" in restored.stderr
    assert "no locked package has" not in restored.stderr
    assert project("run", "--", "Rscript", "-e", SCRIPT).stdout == f"library library 42 list TRUE {KEPT}"
    assert project.json("verify")["differences"] == []
    # The same address, built anew: what is locked is nowhere to be had, and nothing else is taken for it.
    (row,) = (row for row in _lock(project)["r"]["packages"] if row["name"] == "tinyc")
    artifact = row["artifacts"]["linux-amd64"]
    assert (artifact["kind"], artifact["r"], artifact["needs"]) == ("binary", "4.2.2", ["libjansson4"])
    kept = store / "artifacts" / artifact["sha256"][:2] / artifact["sha256"]
    served = shop[0] / "for-r" / BUILT / "tinyc_0.2.tar.gz"
    shutil.copy(served.with_name("tinyr_1.0-1.tar.gz"), served)
    aside = kept.rename(tmp_path / "aside")
    try:
        other = Dsenv(tmp_path, _without_builds(store, tmp_path))
        shutil.rmtree(project.directory / ".dsenv")
        told = other("restore", code=1).stderr
    finally:
        aside.rename(kept)
    assert "tinyc_0.2.tar.gz is not the file that the lock names" in told
    assert "`dsenv lock --upgrade-package r:tinyc` takes what is served now" in told


def test_it_runs_and_builds_where_it_was_unpacked(tmp_path: Path, store: Path, shop: tuple[Path, str]) -> None:
    project = Dsenv(tmp_path, store).spec(ARCHIVE.format(url=shop[1]))
    told = project("lock").stderr
    assert "nobody tells the sha256 of R-4.2.2-portable.tar.gz" in told
    rows = _system(project)
    assert not {"r-base-core", "r-base-dev", "r-recommended"} & rows.keys()
    assert "r" in rows["libblas3"]["why"]
    assert rows["gfortran"]["build"]
    restored = project("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    answer = project("run", "--", "Rscript", "-e", f"library(Matrix)\n{WHERE}").stdout.splitlines()
    here = str(project.current)
    assert answer == [
        *(f"{here}/R/lib/R", f"{here}/library", f"{here}/R/lib/R/library", f"{here}/R/lib/R/share", "42"),
    ]
    assert project.json("verify")["differences"] == []
    (project.current / "R/lib/R/library/Matrix/DESCRIPTION").write_text("x")
    assert "changed: R/lib/R/library/Matrix/DESCRIPTION" in project("verify", code=4).stdout


def _without_builds(store: Path, directory: Path) -> Path:
    """Return a store that takes what the session's has, and has built nothing."""
    path = directory / "fresh"
    path.mkdir()
    for name in ("artifacts", "trees"):
        (path / name).symlink_to(store / name)
    return path
