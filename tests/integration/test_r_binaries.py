"""R packages that a repository has built, by a real R: locked, loaded, installed beside what is built here, proven."""

from __future__ import annotations

import shutil
import tarfile
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Dsenv
from tests.integration.rpackages import serving
from tests.integration.test_r_sources import SCRIPT, SPEC
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
{more}
"""


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
        yield directory, url


def _system(project: Dsenv) -> dict[str, Any]:
    lock = tomllib.loads((project.directory / "dsenv.lock").read_text())
    return {row["name"]: row for row in lock["system"]["linux-amd64"]["packages"]}


def test_what_is_built_is_installed_beside_what_is_not(tmp_path: Path, store: Path, shop: tuple[Path, str]) -> None:
    """One built as R packs it, one with code, and one of which the address answers with its source in spite of all."""
    project = Dsenv(tmp_path, store).spec(TABLES.format(url=shop[1], package="tinylink", more=""))
    locked = project("lock")
    assert "not built by tiny for linux-amd64, so from source: tinylink: is a source there, too" in locked.stderr
    rows = _system(project)
    assert rows["libjansson4"]["why"] == ["r:tinyc"]
    assert not rows["libjansson4"].get("build")
    assert project.json("lock")["fresh"]
    restored = project("restore", code=None)
    assert restored.returncode in {0, 5}, restored.stderr
    assert "checked tinyr 1.0-1 (binary) in" in restored.stderr
    assert "checked tinyc 0.2 (binary) in" in restored.stderr
    assert "built tinylink 2.0 in" in restored.stderr
    assert "no locked package has" not in restored.stderr
    assert project("run", "--", "Rscript", "-e", SCRIPT).stdout == "library library 42 list TRUE"
    assert project.json("verify")["differences"] == []


def test_no_compilers_and_no_silent_way_out(tmp_path: Path, store: Path, shop: tuple[Path, str]) -> None:
    directory, url = shop
    project = Dsenv(tmp_path, store).spec(TABLES.format(url=url, package="tinyc", more=""))
    project("lock")
    assert not [name for name, row in _system(project).items() if row.get("build")]
    (row,) = (row for row in _r(project) if row["name"] == "tinyc")
    artifact = row["artifacts"]["linux-amd64"]
    assert (artifact["kind"], artifact["needs"]) == ("binary", ["libjansson4"])
    # The same address, built anew: what is locked is nowhere to be had, and nothing else is taken for it.
    kept = store / "artifacts" / artifact["sha256"][:2] / artifact["sha256"]
    served = directory / "for-r" / BUILT / "tinyc_0.2.tar.gz"
    aside, before = tmp_path / "aside", served.read_bytes()
    kept.rename(aside)
    try:
        shutil.copy(served.with_name("tinyr_1.0-1.tar.gz"), served)
        fresh = str(_without_builds(store, tmp_path))
        told = project("restore", code=1, DSENV_STORE=fresh).stderr
    finally:
        aside.rename(kept)
        served.write_bytes(before)
    assert "tinyc_0.2.tar.gz is not the file that the lock names" in told


def _r(project: Dsenv) -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = tomllib.loads((project.directory / "dsenv.lock").read_text())["r"]["packages"]
    return packages


def _without_builds(store: Path, directory: Path) -> Path:
    """Return a store that takes what the session's has, and has built nothing."""
    path = directory / "fresh"
    path.mkdir()
    for name in ("artifacts", "trees"):
        (path / name).symlink_to(store / name)
    return path
