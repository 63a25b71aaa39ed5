"""System packages that only building takes: in the lock, and in nothing else but the workshop."""

from __future__ import annotations

import dataclasses
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.builds import PLACE
from dsenv.ecosystem import LockFiles, Platform
from dsenv.ecosystems.system import building, install, pins
from dsenv.ecosystems.system import spec as system_spec
from dsenv.ecosystems.system.offer import offers
from dsenv.ecosystems.system.packages import alternatives
from dsenv.ecosystems.system.resolve import needs
from dsenv.ecosystems.system.spec import Spec
from dsenv.outputs import layout
from dsenv.pins import Need, Selection, Target
from dsenv.progress import Silent
from dsenv.steps import Place
from dsenv.store import Store
from dsenv.tools import deb

if TYPE_CHECKING:
    from pathlib import Path

AMD64 = Target("linux", "amd64")
SELECTION = Selection(target=AMD64)
HASH = "ab" * 32


def row(name: str, *why: str, base: bool = False, build: bool = False, sha256: str = HASH) -> dict[str, Any]:
    """Return a locked package."""
    return {
        "name": name,
        "version": "1",
        "architecture": "amd64",
        "sha256": sha256,
        "size": 1,
        "origin": "bookworm",
        "filename": f"pool/{name}_1_amd64.deb",
        "base": base,
        "build": build,
        "why": list(why),
    }


BASE = row("zlib1g", "base", base=True)
OURS = row("jq", "requested")
TOOLS = [row("gcc", "r:curl", "requested", build=True), row("cpp", "dependency", build=True)]


def locked(*packages: dict[str, Any], **root: Any) -> pins.Pins:
    """Return a lock's system part."""
    facts = {"distribution": "debian", "codename": "bookworm", "packages": list(packages or (BASE, OURS)), **root}
    return pins.Pins.model_validate(
        {"base": "bootstrap:debian:bookworm", "locale": "C.UTF-8", "timezone": "UTC", "roots": {str(AMD64): facts}}
    )


PLAIN = locked()
WITH_TOOLS = locked(BASE, OURS, *TOOLS)


def _names(kind: Any) -> set[str]:
    found = pins.artifacts(WITH_TOOLS, SELECTION, Place(kind=kind, prefix="/p", root="/p/root", inputs="/i"))
    return {artifact.filename.partition("_")[0] for artifact in found}


def test_they_come_into_the_workshop_and_nowhere_else() -> None:
    assert _names("workshop") == {"zlib1g", "jq", "gcc", "cpp"}
    assert _names("image") == {"zlib1g", "jq"}
    assert _names("project") == {"jq"}
    assert _names("host") == set()
    assert set(pins.provided(WITH_TOOLS)[AMD64]) == {"zlib1g", "jq"}


def test_the_environment_is_the_same_with_and_without() -> None:
    assert pins.identity(WITH_TOOLS, SELECTION) == pins.identity(PLAIN, SELECTION)


def test_the_lock_is_another_one() -> None:
    assert pins.canonical(WITH_TOOLS) != pins.canonical(PLAIN)
    assert building.workshop(WITH_TOOLS, SELECTION) != building.workshop(PLAIN, SELECTION)
    written = pins.write(WITH_TOOLS, {}).table[str(AMD64)]["packages"]
    assert [package.get("build") for package in written] == [None, None, True, True]


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        ((), {"zlib1g", "cmake", "libpq-dev", "libpq5"}),
        (("gcc",), {"zlib1g", "cmake", "libpq-dev", "libpq5", "gcc", "cpp"}),
        (("jq", "lost"), {"zlib1g", "cmake", "libpq-dev", "libpq5", "jq"}),
    ],
)
def test_a_build_sees_what_it_names_and_what_a_person_named(names: tuple[str, ...], seen: set[str]) -> None:
    """Else each package that comes for another one's sake would change what all builds depend on."""
    gcc = {**row("gcc", "r:curl", build=True), "dependencies": ["cpp", "zlib1g"]}
    pq = {**row("libpq-dev", "requested"), "dependencies": ["libpq5"]}
    tools = [gcc, row("cpp", "dependency", build=True), row("cmake", "requested", build=True)]
    rows = locked(BASE, OURS, *tools, pq, row("libpq5", "dependency"))
    root = building.seen(rows, SELECTION, names).root(AMD64)
    assert root
    assert {package.name for package in root.packages} == seen


def test_a_lock_without_is_what_it_always_was() -> None:
    canonical: Any = pins.canonical(PLAIN)
    assert all("build" not in package for package in canonical["roots"][str(AMD64)]["packages"])
    written = pins.write(PLAIN, {})
    assert all("build" not in package for package in written.table[str(AMD64)]["packages"])
    assert pins.read(LockFiles(table={str(AMD64): written.table[str(AMD64)], "inputs": _common()}))[0] == PLAIN


def _common() -> dict[str, str]:
    return {"base": "bootstrap:debian:bookworm", "locale": "C.UTF-8", "timezone": "UTC"}


def test_what_was_asked_for_is_answered() -> None:
    jq = Need("jq")
    tools = [Need("gcc", build=True), Need("gcc", why="r:curl", build=True)]
    assert pins.answers(WITH_TOOLS, [jq, *tools])
    assert not pins.answers(WITH_TOOLS, [jq])
    assert not pins.answers(WITH_TOOLS, [jq, tools[0]])
    assert not pins.answers(WITH_TOOLS, [jq, *tools, Need("cmake", build=True)])
    assert not pins.answers(WITH_TOOLS, [jq, *tools, Need("gcc", why="r:curl")]), "now the environment needs it, too"
    assert not pins.answers(PLAIN, [jq, *tools])
    assert pins.answers(PLAIN, [jq]), "nothing is built"
    assert pins.answers(PLAIN, [jq, Need("zlib1g", why="r:curl", build=True)]), "the environment has it already"


def test_what_building_needs_is_on_offer() -> None:
    assert offers(WITH_TOOLS)[AMD64].candidate("gcc") == "1"


def test_a_person_may_add_some() -> None:
    spec = Spec.model_validate({"packages": ["jq"], "build": ["libpq-dev", "cmake=3.25.*"]})
    assert needs(spec, {}, ()) == (Need("jq"), Need("libpq-dev", build=True), Need("cmake", "3.25.*", build=True))
    platform = Platform(base="bootstrap:debian:bookworm", targets=(AMD64,), locale="C.UTF-8", timezone="UTC")
    assert system_spec.inputs(spec, platform)["build"] == ["cmake=3.25.*", "libpq-dev"]
    assert "build" not in system_spec.inputs(Spec(packages=("jq",)), platform)
    elsewhere = dataclasses.replace(platform, targets=(Target("macos", "arm64"),))
    assert system_spec.unsupported(Spec(build=("gcc",)), elsewhere) == [
        (("build",), "no target of this project has apt packages")
    ]


SCRIPT = """\
update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 \\
    --slave /usr/bin/nawk nawk /usr/bin/mawk --slave /usr/share/man/man1/awk.1.gz awk.1.gz $man
"""


def test_slaves_follow_the_choice() -> None:
    (mawk,) = alternatives.parse(SCRIPT)
    assert mawk.slaves == (("/usr/bin/nawk", "/usr/bin/mawk"),)
    gawk = alternatives.Alternative(10, "/usr/bin/awk", "/usr/bin/gawk")
    assert alternatives.whole([mawk], {}) == {"/usr/bin/awk": "/usr/bin/mawk", "/usr/bin/nawk": "/usr/bin/mawk"}
    assert alternatives.whole([mawk, gawk], {}) == {"/usr/bin/awk": "/usr/bin/gawk"}
    locked = {"/usr/bin/awk": "/usr/bin/mawk"}
    assert alternatives.whole([mawk, gawk], locked) == {**locked, "/usr/bin/nawk": "/usr/bin/mawk"}


def _package(directory: Path, name: str, files: dict[str, str], postinst: str = "") -> dict[str, Any]:
    """Build a package and return its row."""
    home = directory / name
    for inner, text in files.items():
        (home / inner).parent.mkdir(parents=True, exist_ok=True)
        (home / inner).write_text(text)
    (home / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
    (home / "DEBIAN/control").write_text(control)
    if postinst:
        (home / "DEBIAN/postinst").write_text(f"#!/bin/sh\n{postinst}")
        (home / "DEBIAN/postinst").chmod(0o755)
    path = directory / f"{name}_1_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(home), str(path)], check=True, capture_output=True)
    return row(name, "requested", build=True, sha256=Store(directory / "store").keep(path.read_bytes()))


@pytest.fixture
def root(tmp_path: Path) -> tuple[pins.Pins, Store]:
    """Return a lock of packages that scripts would have to finish."""
    mawk = _package(tmp_path, "mawk", {"usr/bin/mawk": "mawk", "bin/other": "x"}, SCRIPT)
    cpp = _package(
        tmp_path, "cpp", {"usr/bin/cpp": "cpp"}, "update-alternatives --install /lib/cpp cpp /usr/bin/cpp 10"
    )
    r = _package(tmp_path, "r-base-core", {"usr/lib/R/etc/Renviron.ucf": "R_SHELL=sh\n"})
    return locked(mawk, cpp, r), Store(tmp_path / "store")


def test_what_scripts_would_have_made_is_in_the_root(root: tuple[pins.Pins, Store]) -> None:
    lock, store = root
    place = dataclasses.replace(PLACE, root="@root@")
    recipe = install.recipe(lock, SELECTION, place, store, Silent(), {})
    laid = layout.lay_out([recipe], place, lambda artifact: store.unpacked(artifact, deb.unpack, deb.UNPACKED))
    links = {path: entry.content for path, entry in laid.root.items() if entry.kind == "link"}
    assert links == {
        **{name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")},
        "usr/bin/awk": "mawk",
        "usr/bin/nawk": "mawk",
        "usr/lib/cpp": "../bin/cpp",
    }
    assert laid.places["etc/R/Renviron"] == b"R_SHELL=sh\n"
    assert b"\nbuild:x:1000:1000:" in bytes(laid.places["etc/passwd"])
    assert "usr/bin/other" in laid.root
    assert not any(entry.mode & (stat.S_ISUID | stat.S_ISGID) for entry in laid.root.values())
    variables = layout.variables(recipe.steps, place, laid.root)
    assert variables["PATH"] == [f"@root@/usr/{name}" for name in ("local/sbin", "local/bin", "sbin", "bin")]
