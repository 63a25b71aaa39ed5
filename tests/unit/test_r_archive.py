"""R itself as an archive that runs wherever it is unpacked: what is read of it, locked, installed and built with."""

from __future__ import annotations

import io
import json
import tarfile
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from dsenv import spec as specs
from dsenv.ecosystem import LockFiles, Request, Upgrade
from dsenv.ecosystems.r import building, install, pins, probe
from dsenv.ecosystems.r.resolve import needs, resolve
from dsenv.ecosystems.r.spec import network
from dsenv.errors import DsenvError, IntegrityError, LockFormatError, ResolutionError, SpecError
from dsenv.formats import toml_write
from dsenv.pins import Need, Selection, Target
from dsenv.progress import Silent
from dsenv.steps import Place, PrependPath, Run, SetEnv, Unpack
from dsenv.store import Store
from tests import cran as fake
from tests.elf import shared_library
from tests.unit.test_r_binaries import _Offer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

AMD64 = Target("linux", "amd64")
SELECTION = Selection(target=AMD64)
PROJECT = Place(kind="project", prefix="/p", root="/p/root", inputs="/p/.inputs")
IMAGE = Place(kind="image", prefix="/opt/dsenv", root="", inputs="/dev/dsenv")
WORKSHOP = Place(kind="workshop", prefix="/build", root="", inputs="/build/in")
BASE = "Package: base\nVersion: 4.3.1\nPriority: base\n"
MATRIX = "Package: Matrix\nVersion: 1.5-4\nPriority: recommended\n"
FILES: dict[str, str | bytes] = {
    "bin/R": "#!/bin/sh\n",
    "lib/R/bin/R": "#!/bin/sh\n",
    "lib/R/bin/exec/R": shared_library(needed=("libR.so", "libjansson.so.4", "libc.so.6")),
    "lib/R/lib/libR.so": shared_library(soname="libR.so"),
    "lib/R/library/base/DESCRIPTION": BASE,
    "lib/R/library/Matrix/DESCRIPTION": MATRIX,
}
HEAD = """\
[project]
name = "x"

[platform]
base = "bootstrap:debian:bookworm"
targets = [{targets}]

[r]
version = "{version}"
archive = {archive}
repositories = [{{ name = "CRAN", url = "{url}" }}]
packages = ["plain"]
"""


def _archive(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(f"4.3.1/{path}")
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def cran() -> Iterator[fake.Cran]:
    with fake.serve(fake.Cran()) as found:
        found.add("plain", "1.0", NeedsCompilation="yes")
        yield found


def _lock(
    directory: Path, cran: fake.Cran, *, version: str = "4.3", previous: Sequence[pins.Pins] = (), **spec: str
) -> pins.Pins:
    archive = spec.get("archive", json.dumps(f"{cran.url}/r/R-4.3.1.tar.gz"))
    text = HEAD.format(version=version, url=cran.url, archive=archive, targets=spec.get("targets", '"linux-amd64"'))
    (directory / "dsenv.toml").write_text(text)
    loaded = specs.load(directory / "dsenv.toml")
    part = loaded.parts["r"]
    assert needs(part, {}, ()) == ()
    request = Request(
        spec=part,
        platform=loaded.platform,
        previous=previous,
        upgrade=Upgrade(),
        offers={AMD64: _Offer()},
        needs=(),
        provided=dict,
        store=Store(directory / "store", network=lambda: network(part)),
        progress=Silent(),
    )
    found: pins.Pins = resolve(request).pins
    return found


def test_what_is_locked_of_it(tmp_path: Path, cran: fake.Cran, monkeypatch: pytest.MonkeyPatch) -> None:
    cran.files["/r/R-4.3.1.tar.gz"] = _archive(FILES)
    found = _lock(tmp_path, cran)
    assert (found.version, found.package) == ("4.3.1", "")
    archive = found.archives["linux-amd64"]
    assert (archive.filename, archive.needs) == ("R-4.3.1.tar.gz", ("libjansson4",))
    kinds = {row.name: row.artifacts["linux-amd64"].kind for row in found.packages}
    assert kinds == {"Matrix": "r", "plain": "source"}
    revealed = pins.revealed(found, {})
    assert Need("libjansson4", why="r") in revealed
    assert Need("gfortran", why="r", build=True) in revealed
    assert pins.COMPILERS not in {need.name for need in revealed}
    text = toml_write.dumps(dict(pins.write(found, {}).table))
    read, _ = pins.read(LockFiles(table=tomllib.loads(text)))
    assert read.archives == found.archives
    pins.check(read, {AMD64: {}})
    moved = text.replace(cran.url, "https://elsewhere.example")
    assert pins.canonical(pins.read(LockFiles(table=tomllib.loads(moved)))[0]) == pins.canonical(found)
    identity: Any = pins.identity(found, SELECTION)
    assert identity["archive"] == archive.sha256
    for old, new in ((archive.url, "/etc/x.tar.gz"), ('R-4.3.1.tar.gz"', '../x.tar.gz"')):
        with pytest.raises(LockFormatError):
            pins.read(LockFiles(table=tomllib.loads(text.replace(old, new))))
    # What is locked stays; where a mirror is named, it is asked first, and the hash decides.
    cran.files["/r/R-4.3.1.tar.gz"] = _archive({**FILES, "more": "x"})
    assert _lock(tmp_path, cran, previous=[found]).archives == found.archives
    monkeypatch.setenv("DSENV_R_MIRROR", "https://mirror.example/r/")
    assert archive.artifact().urls == ("https://mirror.example/r/R-4.3.1.tar.gz", archive.url)


@pytest.mark.parametrize(
    ("change", "version", "told"),
    [
        ({}, "4.2", "is R 4.3.1, and [r] version is 4.2"),
        ({"lib/R/library/base/DESCRIPTION": "Package: base\nVersion: 4.2.0\n"}, "4.3", "is R 4.2.0"),
        ({"bin/R": None}, "4.3", "holds no bin/R"),
        ({"lib/R/bin/exec/R": "#!/bin/sh\n"}, "4.3", "is not for linux-amd64"),
        (
            {"lib/R/bin/exec/R": FILES["lib/R/bin/exec/R"][:18] + b"\xb7\x00" + FILES["lib/R/bin/exec/R"][20:]},  # type: ignore[operator]
            "4.3",
            "is not for linux-amd64",
        ),
        ({"../x": "x"}, "4.3", ""),
    ],
)
def test_what_is_not_it(
    tmp_path: Path, cran: fake.Cran, change: Mapping[str, str | bytes | None], version: str, told: str
) -> None:
    files = {path: content for path, content in {**FILES, **change}.items() if content is not None}
    cran.files["/r/R-4.3.1.tar.gz"] = _archive(files)
    with pytest.raises((IntegrityError, ResolutionError)) as caught:
        _lock(tmp_path, cran, version=version)
    assert told in caught.value.sentence


def test_an_archive_that_is_gone(tmp_path: Path, cran: fake.Cran) -> None:
    with pytest.raises(DsenvError, match=r"R-4\.3\.1\.tar\.gz could not be downloaded"):
        _lock(tmp_path, cran)


def test_where_it_lies(tmp_path: Path, cran: fake.Cran) -> None:
    cran.files["/r/R-4.3.1.tar.gz"] = _archive(FILES)
    found = _lock(tmp_path, cran)
    store = Store(tmp_path / "store")
    archive = found.archives["linux-amd64"].artifact()
    assert pins.artifacts(found, SELECTION, PROJECT) == (archive,)
    assert pins.artifacts(found, SELECTION, Place(kind="host", prefix="/p", root="", inputs="/i")) == ()
    alone = found.model_copy(update={"packages": tuple(row for row in found.packages if row.source is None)})
    recipe = install.recipe(alone, SELECTION, PROJECT, store, Silent(), {})
    assert Unpack(artifact=archive, directory="/p/R") in recipe.steps
    assert PrependPath(name="PATH", directories=("/p/R/bin",)) in recipe.steps
    values = {step.name: step.value for step in recipe.steps if isinstance(step, SetEnv)}
    assert (values["R_HOME"], values["R_LIBS"]) == ("/p/R/lib/R", "/p/R/lib/R/library")
    image = install.recipe(alone, SELECTION, IMAGE, store, Silent(), {})
    assert [item.name for item in image.inputs] == ["R-4.3.1.tar.gz"]
    assert [step.argv[0] for step in image.steps if isinstance(step, Run)] == ["mkdir", "tar"]
    expected = probe.expectation(alone, SELECTION, IMAGE, store, {})
    assert "opt/dsenv/R/bin/R" in expected.tree
    assert "opt/dsenv/R/lib/R/library" in expected.owned


def test_packages_are_built_with_it(tmp_path: Path, cran: fake.Cran) -> None:
    cran.files["/r/R-4.3.1.tar.gz"] = _archive(FILES)
    (build,) = building.builds(_lock(tmp_path, cran), SELECTION, WORKSHOP)
    assert {"libjansson4", "gfortran"} <= {*build.sees}
    assert "r-base-core" not in build.sees
    assert "R-4.3.1.tar.gz" in {item.name for item in build.inputs}
    assert [step.argv[0] for step in build.steps] == [
        *("mkdir", "tar", "sh", "/build/work/R/bin/R", "/build/work/R/bin/Rscript", "sh"),
    ]
    assert dict(build.steps[0].env)["R_HOME"] == "/build/work/R/lib/R"


@pytest.mark.parametrize(
    ("archive", "targets", "told"),
    [
        ('"https://x/R.zip"', '"linux-amd64"', "expected the address of an archive, ending in `.tar.gz`"),
        ('"https://x/R.tar.gz"', '"linux-amd64", "linux-arm64"', "expected an address for each of linux-amd64"),
        ('{ linux-arm64 = "https://x/R.tar.gz" }', '"linux-amd64"', "it has no R for linux-amd64"),
        ('{ macos-arm64 = "https://x/R.tar.gz" }', '"linux-amd64"', "macos-arm64"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, cran: fake.Cran, archive: str, targets: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        _lock(tmp_path, cran, archive=archive, targets=targets)
    assert told in caught.value.cause
