"""R packages from source: what is built and how, what the scripts make of a source, and what came of it."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.builds import Built
from dsenv.ecosystems import r
from dsenv.ecosystems.r import building, install, pins, probe
from dsenv.errors import LockFormatError
from dsenv.pins import Selection, Target
from dsenv.progress import Silent
from dsenv.steps import Place, Run, SetEnv, Write
from dsenv.store import Store
from dsenv.tree import Entry, content_sha256, file_sha256
from tests.elf import shared_library

if TYPE_CHECKING:
    from pathlib import Path

SELECTION = Selection(target=Target("linux", "amd64"))
ROOT = Place(kind="workshop", prefix="/build", root="", inputs="/build/in")
BESIDE = Place(kind="workshop", prefix="/s/b", root="/s/root", inputs="/s/b/in")
PROJECT = Place(kind="project", prefix="/p", root="/p/root", inputs="/p/.inputs")
IMAGE = Place(kind="image", prefix="/opt/dsenv", root="", inputs="/dev/dsenv")
DESCRIPTION = "Package: one\nVersion: 1.0-1\nTitle: One,\n  of two lines\n"


def _row(name: str, *requires: str, groups: tuple[str, ...] = ()) -> dict[str, Any]:
    source = {
        "kind": "repository",
        "repository": "CRAN",
        "filename": f"{name}_1.0-1.tar.gz",
        "sha256": ["1" * 64],
        "size": 9,
        "content": "2" * 64,
    }
    return {
        "name": name,
        "version": "1.0-1",
        "why": ["requested"],
        "groups": groups,
        "requires": requires,
        "source": source,
        "artifacts": {"linux-amd64": {"kind": "source"}},
    }


def _pins(*rows: dict[str, Any]) -> pins.Pins:
    return pins.Pins.model_validate({"version": "4.2.2", "package": "r-base-core", "packages": rows})


def test_each_package_is_built_after_all_that_it_needs() -> None:
    rows = _pins(_row("app", "R", "methods", "mid"), _row("base64"), _row("mid", "base64", "stats"), _row("zz"))
    found = building.builds(rows, SELECTION, ROOT)
    assert [(build.name, build.after) for build in found] == [
        ("base64", ()),
        ("mid", ("base64",)),
        ("app", ("base64", "mid")),
        ("zz", ()),
    ]
    assert {build.title for build in found} == {"app 1.0-1", "base64 1.0-1", "mid 1.0-1", "zz 1.0-1"}


def test_only_what_is_selected_is_built() -> None:
    rows = _pins(_row("one"), _row("two", "one", groups=("dev",)))
    assert [build.name for build in building.builds(rows, SELECTION, ROOT)] == ["one"]
    dev = Selection(target=SELECTION.target, groups=("dev",))
    assert [build.name for build in building.builds(rows, dev, ROOT)] == ["one", "two"]
    assert building.builds(rows, Selection(target=Target("linux", "arm64")), ROOT) == ()


def test_packages_that_need_each_other_are_no_lock() -> None:
    with pytest.raises(LockFormatError) as caught:
        building.builds(_pins(_row("one", "two"), _row("two", "one")), SELECTION, ROOT)
    assert "needs itself" in caught.value.cause


@pytest.mark.parametrize("place", [ROOT, BESIDE], ids=["root", "beside"])
def test_a_build_sees_no_library_and_no_settings_of_the_machine(place: Place) -> None:
    (build,) = building.builds(_pins(_row("one")), SELECTION, place)
    for step in build.steps:
        env = dict(step.env)
        assert env["R_ENVIRON"] == env["R_ENVIRON_USER"] == env["R_MAKEVARS_SITE"] == "/dev/null"
        assert env["R_LIBS_SITE"] == env["R_LIBS_USER"] == "NULL"
        assert env["R_LIBS"] == f"{place.prefix}/work/library"
        assert env["R_MAKEVARS_USER"] == f"{place.prefix}/work/Makevars"
    install_step = next(step for step in build.steps if "INSTALL" in step.argv)
    assert {"--use-vanilla", "--no-test-load"} < set(install_step.argv)
    assert sum("load.R" in word for step in build.steps for word in step.argv) == 1
    assert build.steps[-1].argv[-1] == f"{place.prefix}/out/one.tar"
    words = {word for step in build.steps for word in step.argv}
    assert {item.name for item in build.inputs} >= {
        word.removeprefix(f"{place.inputs}/") for word in words if word.startswith(f"{place.inputs}/")
    }


def test_the_doors_lead_to_the_builds() -> None:
    assert r.DOORS["building"] == ("builds",)


def _source(path: Path, description: str, *, top: str = "one", **files: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"DESCRIPTION": description, "R/one.R": "f <- 1\n", **files}.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(text.encode()), 0o666
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def _script(name: str, *words: str, cwd: Path, code: int = 0, **env: str) -> str:
    script = cwd.parent / "in" / name
    script.write_text(resources.files("dsenv.ecosystems.r").joinpath(name).read_text("utf-8"))
    completed = subprocess.run(
        ["sh", str(script), *words],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == code, completed.stderr
    return completed.stderr


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a directory to work in, beside one of inputs and an R with its flags."""
    for name in ("work", "in", "r/etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "r/etc/Makeconf").write_text(
        "CC = gcc\nCFLAGS = -g -O2 -Wformat -Werror=format-security -flto\nCXX17FLAGS = -g -O2\nCPICFLAGS = -fpic\n"
    )
    return tmp_path / "work"


def _prepare(work: Path, description: str, code: int = 0, **source: str) -> str:
    _source(work.parent / "in" / "one_1.0-1.tar.gz", description, **source)
    words = ("one", "1.0-1", "one_1.0-1.tar.gz", "CRAN")
    return _script("prepare.sh", *words, cwd=work, code=code, R_HOME=str(work.parent / "r"))


@pytest.mark.parametrize(
    "added",
    [
        "",
        "Repository: CRAN\nDate/Publication: 2026-01-01 10:00:00 UTC\n",
        "Repository: RSPM\nPackaged: 2026-01-01\n  10:00:00 UTC; somebody\nX-CRAN-Comment: Archived\n  once\n\n",
        "MD5sum: 0\nBuilt: R 4.5.1; ; 2026-01-01 00:00:00 UTC; unix\n",
    ],
)
def test_a_package_that_was_published_again_is_the_same_source(work: Path, added: str) -> None:
    _prepare(work, f"{DESCRIPTION}{added}License: MIT\n", MD5="0 *DESCRIPTION\n")
    assert (work / "source/one/DESCRIPTION").read_text() == f"{DESCRIPTION}License: MIT\nRepository: CRAN\n"
    assert not (work / "source/one/MD5").exists()
    assert (work / "source/one/R/one.R").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "author", ["One Author [aut] (ORCID: <https://orcid.org/0>)\n", "One Author [aut] (<https://orcid.org/0>)\n"]
)
def test_who_wrote_it_is_left_to_r_to_word(work: Path, author: str) -> None:
    person = 'Authors@R: person("One",\n  "Author")\n'
    _prepare(work, f"{DESCRIPTION}Author: {author}{person}Maintainer: One\nAuthorship: kept\n")
    said = (work / "source/one/DESCRIPTION").read_text()
    assert said == f"{DESCRIPTION}{person}Authorship: kept\nRepository: CRAN\n"
    shutil.rmtree(work)
    work.mkdir()
    _prepare(work, f"{DESCRIPTION}Author: {author}Maintainer: One\n")
    assert f"Author: {author}Maintainer: One\n" in (work / "source/one/DESCRIPTION").read_text()


def test_what_comes_from_no_repository_names_none(work: Path) -> None:
    _source(work.parent / "in" / "x.tar.gz", DESCRIPTION, top="repo-0123abc")
    _script("prepare.sh", "one", "1.0-1", "x.tar.gz", "", cwd=work, R_HOME=str(work.parent / "r"))
    assert (work / "source/one/DESCRIPTION").read_text() == DESCRIPTION


def test_the_flags_are_rs_own_without_symbols(work: Path) -> None:
    _prepare(work, DESCRIPTION)
    assert (work / "Makevars").read_text() == "CFLAGS = -g0 -O2 -Wformat -flto\nCXX17FLAGS = -g0 -O2\n"


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("Package: two\nVersion: 1.0-1\n", "the source of two 1.0-1, and the lock says that it is one 1.0-1"),
        ("Package: one\r\nVersion: 1.0.1\r\n", "the source of one 1.0.1, and"),
        ("Version: 1.0-1\n", "the source of  1.0-1, and"),
    ],
)
def test_a_source_of_another_package_is_not_built(work: Path, description: str, told: str) -> None:
    assert told in _prepare(work, description, code=1)


def test_what_somebody_has_built_is_no_source(work: Path) -> None:
    assert "somebody has built" in _prepare(work, DESCRIPTION, code=1, **{"Meta/package.rds": "x"})


def test_what_is_no_source_is_not_built(work: Path) -> None:
    (work.parent / "in/one_1.0-1.tar.gz").touch()
    with tarfile.open(work.parent / "in/one_1.0-1.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("one/README"))
    words = ("one", "1.0-1", "one_1.0-1.tar.gz", "CRAN")
    assert "no DESCRIPTION" in _script("prepare.sh", *words, cwd=work, code=1, R_HOME=str(work.parent / "r"))


def test_the_packages_that_it_needs_lie_in_the_library(work: Path, tmp_path: Path) -> None:
    (tmp_path / "in/built/two").mkdir(parents=True)
    _pack(tmp_path / "in/built/two/two.tar", "two")
    _prepare(work, DESCRIPTION)
    assert (work / "library/two/DESCRIPTION").read_text() == "two\n"


def _pack(path: Path, name: str, library: bytes = b"", mode: int = 0o644) -> None:
    work = path.parent / f"{name}-work"
    (work / "library" / name / "libs").mkdir(parents=True)
    (path.parent / "in").mkdir(exist_ok=True)
    (work / "library" / name / "DESCRIPTION").write_text(f"{name}\n")
    (work / "library" / name / "DESCRIPTION").chmod(mode)
    (work / "library" / name / "libs" / f"{name}.so").write_bytes(library)
    _script("pack.sh", name, str(path), cwd=work, SOURCE_DATE_EPOCH="315532800")


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _pack(tmp_path / "a/one.tar", "one")
    _pack(tmp_path / "b/one.tar", "one", mode=0o600)
    os.utime(tmp_path / "a/one-work/library/one/DESCRIPTION", (0, 0))
    assert (tmp_path / "a/one.tar").read_bytes() == (tmp_path / "b/one.tar").read_bytes()
    with tarfile.open(tmp_path / "a/one.tar") as archive:
        assert archive.getnames() == ["one", "one/DESCRIPTION", "one/libs", "one/libs/one.so"]
        assert {(member.uid, member.gid, member.mtime) for member in archive} == {(0, 0, 315532800)}


def _built(path: Path) -> Built:
    return Built(path=path, sha256=file_sha256(path), canonical=True)


@pytest.mark.parametrize(("place", "library"), [(PROJECT, "/p/library"), (IMAGE, "/opt/dsenv/library")])
def test_what_was_built_is_unpacked_and_looked_for(tmp_path: Path, place: Place, library: str) -> None:
    _pack(tmp_path / "one.tar", "one")
    built = {"one": _built(tmp_path / "one.tar")}
    recipe = install.recipe(_pins(_row("one")), SELECTION, place, Store(tmp_path / "s"), Silent(), built)
    assert [step.argv for step in recipe.steps if isinstance(step, Run)] == [
        ("sh", f"{place.inputs}/unpack.sh", library)
    ]
    assert [item.name for item in recipe.inputs] == ["unpack.sh", "library/one.tar"]
    assert recipe.inputs[1].sha256 == built["one"].sha256
    values = {step.name: step.value for step in recipe.steps if isinstance(step, SetEnv)}
    libraries = f"{library}:{place.root}/usr/lib/R/library"
    assert values["R_LIBS"] == libraries
    texts = {step.path: step.text for step in recipe.steps if isinstance(step, Write)}
    named = ", ".join(f'"{path}"' for path in libraries.split(":"))
    assert f".libPaths(c({named}), include.site = FALSE)" in texts[str(values["R_PROFILE"])]
    where = library.removeprefix("/p/").removeprefix("/")
    expected = probe.expectation(_pins(_row("one")), SELECTION, place, Store(tmp_path / "s"), built)
    assert expected.tree[f"{where}/one/DESCRIPTION"] == Entry(
        kind="file", mode=0o644, content=content_sha256(b"one\n"), owner="one 1.0-1"
    )
    assert expected.tree[f"{where}/one/libs"].kind == "directory"
    assert (where in expected.owned) == (place.kind == "image")


def test_an_unpacked_library_is_what_was_packed(work: Path, tmp_path: Path) -> None:
    (tmp_path / "in/library").mkdir()
    for name in ("one", "two"):
        _pack(tmp_path / f"in/library/{name}.tar", name)
    _script("unpack.sh", str(tmp_path / "a library"), cwd=work)
    assert sorted(path.name for path in (tmp_path / "a library").iterdir()) == ["one", "two"]
    assert (tmp_path / "a library/one/DESCRIPTION").stat().st_mtime == 315532800


def test_libraries_that_nobody_brings_are_wanted(tmp_path: Path) -> None:
    needed = ("libR.so", "libRblas.so", "libgdal.so.32", "libtwo.so.1")
    _pack(tmp_path / "one.tar", "one", shared_library(needed=needed))
    _pack(tmp_path / "two.tar", "two", shared_library(soname="libtwo.so.1"))
    built = {name: _built(tmp_path / f"{name}.tar") for name in ("one", "two")}
    found = probe.libraries(_pins(_row("one"), _row("two")), SELECTION, Store(tmp_path / "s"), built)
    assert found.wanted == {"one": ("libgdal.so.32",)}


def test_only_what_keeps_its_process_may_differ_where_an_image_built_it(tmp_path: Path) -> None:
    for name in ("cli", "one"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            for path in ("R/cli.rdb", "R/one.rdb"):
                archive.addfile(tarfile.TarInfo(f"{name}/{path}"))
    built = {name: _built(tmp_path / f"{name}.tar") for name in ("cli", "one")}
    rows, store = _pins(_row("cli"), _row("one")), Store(tmp_path / "s")
    found = probe.expectation(rows, SELECTION, IMAGE, store, built)
    assert found.inside == {"opt/dsenv/library/cli/R/cli.rdb": "it keeps the number of the process that built it"}
    assert found.exceptions == {}
    assert probe.expectation(rows, SELECTION, PROJECT, store, built).inside == {}


def test_a_recipe_waits_for_what_is_not_built(tmp_path: Path) -> None:
    _pack(tmp_path / "one.tar", "one")
    built = {"one": _built(tmp_path / "one.tar")}
    rows = _pins(_row("one"), _row("two"))
    recipe = install.recipe(rows, SELECTION, IMAGE, Store(tmp_path / "s"), Silent(), built)
    assert [(item.name, item.build) for item in recipe.pending] == [("library/two.tar", "two")]
    assert all(build.in_image for build in building.builds(rows, SELECTION, ROOT))
