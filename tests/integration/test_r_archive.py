"""R itself as an archive, made of the distribution's: it runs where it is unpacked, and packages are built with it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Dsenv
from tests.integration.rpackages import serving
from tests.integration.test_r_sources import publish_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.apt

_SHARED = ("share", "include", "doc")  # which Debian has elsewhere
PLAIN = '[r]\nversion = "4.2"\nrepositories = ["apt"]\n'
SPEC = """\
[r]
version = "4.2.2"
archive = "{url}/R-4.2.2-portable.tar.gz"
repositories = [{{ name = "tiny", url = "{url}" }}]
packages = ["tinylink"]

[system]
packages = ["libjansson4"]
build = ["libjansson-dev"]
"""
SCRIPT = """\
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
    subprocess.run(["tar", "-czf", "R-4.2.2-portable.tar.gz", "4.2.2"], cwd=directory, check=True)
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[str]:
    """Return where an archive of R is served, and a repository."""
    directory = tmp_path_factory.mktemp("r-archive")
    smith = Dsenv(tmp_path_factory.mktemp("r-smith"), store).spec(PLAIN)
    smith("lock")
    smith("restore", code=None)
    _pack(smith.current / "root", directory)
    publish_all(directory)
    with serving(directory) as address:
        yield address


def test_it_runs_and_builds_where_it_was_unpacked(tmp_path: Path, store: Path, url: str) -> None:
    project = Dsenv(tmp_path, store).spec(SPEC.format(url=url))
    told = project("lock").stderr
    assert "nobody tells the sha256 of R-4.2.2-portable.tar.gz" in told
    lock = tomllib.loads((project.directory / "dsenv.lock").read_text())
    rows = {row["name"]: row for row in lock["system"]["linux-amd64"]["packages"]}
    assert not {"r-base-core", "r-base-dev", "r-recommended"} & rows.keys()
    assert "r" in rows["libblas3"]["why"]
    assert rows["gfortran"]["build"]
    assert project.json("lock")["fresh"]
    restored = project("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    answer = project("run", "--", "Rscript", "-e", f"library(Matrix)\n{SCRIPT}").stdout.splitlines()
    here = str(project.current)
    assert answer == [
        *(f"{here}/R/lib/R", f"{here}/library", f"{here}/R/lib/R/library", f"{here}/R/lib/R/share", "42"),
    ]
    assert project.json("verify")["differences"] == []
    (project.current / "R/lib/R/library/Matrix/DESCRIPTION").write_text("x")
    assert "changed: R/lib/R/library/Matrix/DESCRIPTION" in project("verify", code=4).stdout
