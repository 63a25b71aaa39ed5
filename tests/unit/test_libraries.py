"""Shared libraries: what they say, what wheels take from the system, and which package has it."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Pylock

from dsenv.ecosystem import Libraries, Supplier
from dsenv.ecosystems.python import linking
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python.building.wheels import File
from dsenv.ecosystems.system import pins as system_pins
from dsenv.ecosystems.system.packages import sonames
from dsenv.operations import libraries
from dsenv.pins import Artifact, Selection, Target
from dsenv.progress import Silent
from dsenv.store import Store
from dsenv.tools import elf
from dsenv.tools.elf import Library
from tests.elf import shared_library

LINUX = Target("linux", "amd64")


def test_a_library_says_what_it_needs() -> None:
    content = shared_library(
        soname="libx.so.1", needed=("libc.so.6", "libgomp.so.1"), rpath="$ORIGIN/a:/b", runpath="$ORIGIN/a"
    )
    assert elf.read(io.BytesIO(content)) == Library(
        soname="libx.so.1", needed=("libc.so.6", "libgomp.so.1"), search=("$ORIGIN/a", "/b")
    )


@given(st.binary(max_size=80), st.integers(0, 300), st.binary(min_size=1, max_size=8))
def test_what_is_no_library_is_none(noise: bytes, at: int, wrong: bytes) -> None:
    whole = shared_library(needed=("libc.so.6",), soname="x")
    for content in (noise, elf.MAGIC + noise, whole[:at], whole[:at] + wrong + whole[at + len(wrong) :]):
        found = elf.read(io.BytesIO(content))
        assert found is None or isinstance(found, Library)
        assert elf.glibc(io.BytesIO(content)) == ()


def _needs(*needed: str, search: tuple[str, ...] = (), soname: str = "") -> Library:
    return Library(needed=needed, search=search, soname=soname)


def test_what_importing_reaches_is_found_in_the_wheels_or_wanted() -> None:
    wheels = {
        "app": {
            "app/core.cpython-311-x86_64-linux-gnu.so": _needs(
                "libin.so.1", "libfar.so.2", "libown.so", "libmissing.so.3"
            ),
            "app/lib/libin.so.1": _needs("libdeep.so.5", soname="libin.so.1"),
            "app/plugins/libmysql.so": _needs("libmysqlclient.so.21"),
            "app/libown.so": _needs(),
        },
        "far": {
            "far/lib/libfar.so.2": _needs("libcuda.so.1", "libfar-own.so", soname="libfar.so.2"),
            "far/x": _needs(),
        },
        "loaded": {"loaded/libloaded.so": _needs("libgomp.so.1")},
        "base": {"base/libdeep.so.5": _needs(soname="libdeep.so.5")},
    }
    first = wheels["app"]["app/core.cpython-311-x86_64-linux-gnu.so"]
    wheels["app"]["app/core.cpython-311-x86_64-linux-gnu.so"] = _needs(
        *first.needed, search=("${ORIGIN}/lib", "$ORIGIN/../far/lib", "/opt/lib")
    )
    found = linking.missing(wheels, {"app": {"base", "elsewhere"}})
    assert found.wanted == {"app": ("libmissing.so.3",), "far": ("libfar-own.so",), "loaded": ("libgomp.so.1",)}
    alone = linking.missing(wheels, {})
    assert alone.wanted["app"] == ("libdeep.so.5", "libmissing.so.3"), "a wheel that nothing depends on is not found"


def test_a_program_says_which_c_library_it_takes() -> None:
    program = Path(sys.executable).resolve().read_bytes()
    named = {tuple(map(int, text.split(b"."))) for text in re.findall(rb"\0GLIBC_([0-9.]+)(?=\0)", program)}
    assert elf.glibc(io.BytesIO(program)) == max(named, default=())


def test_libraries_that_auditwheel_renamed_are_known_again() -> None:
    rows = {"one.libs/libgomp-a34b3233.so.1.0.0": _needs(), "one.libs/libquadmath-2284e583.so.0": _needs()}
    found = linking.missing({"one": rows, "two": {"two.libs/libgomp-00000000.so.1.0.0": _needs()}}, {})
    assert found.bundled == {"libgomp.so.1": ("one", "two"), "libquadmath.so.0": ("one",)}


def test_what_a_package_does_without_is_not_wanted() -> None:
    """numba tries its threading layers one after the other, and the last needs nothing."""
    rows = {"numba/pool.cpython-311-x86_64-linux-gnu.so": _needs("libtbb.so.12", "libother.so.1")}
    assert linking.missing({"numba": rows}, {}).wanted == {"numba": ("libother.so.1",)}
    assert linking.known({"numba"}) == {}


def test_what_brings_a_library_of_its_own_needs_none() -> None:
    assert linking.known({"psycopg", "six"}) == {"psycopg": ("libpq.so.5",)}
    assert linking.known({"psycopg", "psycopg-binary"}) == {}


@pytest.mark.parametrize(
    ("soname", "package"),
    [
        ("libgomp.so.1", "libgomp1"),
        ("libGL.so.1", "libgl1"),
        ("libX11.so.6", "libx11-6"),
        ("libdbus-1.so.3", "libdbus-1-3"),
        ("libglib-2.0.so.0", "libglib2.0-0"),
        ("libgthread-2.0.so.0", "libglib2.0-0"),
        ("libgcc_s.so.1", "libgcc-s1"),
        ("libstdc++.so.6", "libstdc++6"),
        ("libbz2.so.1.0", "libbz2-1.0"),
        ("libquadmath.so.0.0.0", "libquadmath0"),
        ("libssl.so.3", "libssl3t64"),
        ("libcrypto.so.3", "libssl3"),
        ("libz.so.1", "zlib1g"),
        ("libicuuc.so.72", "libicu72"),
        ("libm.so.6", "libc6"),
        ("ld-linux-x86-64.so.2", "libc6"),
        ("libtk8.6.so", "libtk8.6"),
    ],
)
def test_a_librarys_package_is_called_after_it(soname: str, package: str) -> None:
    assert package in sonames.package_names(soname)


def test_every_known_need_has_a_name_to_ask_for() -> None:
    for name, row in linking._table().items():
        assert name == name.lower().replace("_", "-")
        for soname in [*row.get("libraries", ()), *row.get("optional", ())]:
            assert ".so." in soname
            assert sonames.package_names(soname)
    assert sonames.package_names("not a library") == ()


@pytest.mark.parametrize("linked", [True, False])
def test_a_build_of_python_brings_what_it_has_loaded(tmp_path: Path, *, linked: bool) -> None:
    """Its program and modules are followed like a wheel's; a library that lies there unloaded serves nobody."""
    own, major = "libpython3.12.so.1.0", "libtcl9.0.so"
    files = {
        "bin/python3.12": shared_library(needed=(*((own,) if linked else ()), "libm.so.6"), rpath="$ORIGIN/../lib"),
        f"lib/{own}": shared_library(soname=own, needed=("libdl.so.2",)),
        f"lib/{major}": shared_library(soname=major, needed=("libX11.so.6",)),
        "lib/python3.12/lib-dynload/_ssl.cpython-312-x86_64-linux-gnu.so": shared_library(needed=("libssl.so.3",)),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"python/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    store = Store(tmp_path / "store")
    module = {"one/core.cpython-312-x86_64-linux-gnu.so": shared_library(needed=(own, "libm.so.6"))}
    wheel = store.keep(_wheel(tmp_path / "one.whl", **module).read_bytes())
    name, url = "one-1-py3-none-any.whl", "https://x.example/one-1-py3-none-any.whl"
    package = {"name": "one", "version": "1", "wheels": [{"name": name, "url": url, "hashes": {"sha256": wheel}}]}
    head = {"lock-version": "1.0", "created-by": "dsenv", "requires-python": ">=3.12", "packages": [package]}
    build = {
        "filename": "python.tar.gz",
        "sha256": store.keep(packed.getvalue()),
        "url": "https://x.example/python.tar.gz",
    }
    row = {"target": "linux-amd64", "version": "3.12.9", "libc": "2.36", "build": build}
    pins = python_pins.Pins(interpreters=(python_pins.Interpreter.model_validate(row),), lock=Pylock.from_dict(head))
    found = linking.libraries(pins, Selection(target=Target("linux", "amd64")), store, {})
    assert found.wanted == {
        "Python 3.12.9": (*(("libdl.so.2",) if linked else ()), "libm.so.6", "libssl.so.3"),
        "one": ("libm.so.6",) if linked else ("libm.so.6", own),
    }


def _wheel(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one-1.dist-info/RECORD", "")
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_wheel_is_read_once_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    members = {
        "one/a.so": shared_library(needed=("libgomp.so.1",)),
        "one-1.data/platlib/b.so.3": shared_library(soname="b"),
        "one/no.so": b"INPUT(libx.so.1)",
        "one/c.py": b"\x7fELF",
    }
    content = _wheel(tmp_path / "one.whl", **members).read_bytes()
    artifact = Artifact(filename="one-1-py3-none-any.whl", sha256=store.keep(content))
    file = File(name="one", version="1", filename=artifact.filename, sha256=artifact.sha256, source=artifact)
    first = linking._read(file, store)
    assert first == {"one/a.so": Library(needed=("libgomp.so.1",)), "b.so.3": Library(soname="b")}
    path = store.path(artifact)
    path.unlink()
    assert linking._read(file, store) == first, "the wheel itself is not read again"
    kept = next((tmp_path / "store" / "caches" / "libraries").iterdir())
    for damaged in (b"{", b"[]", b'{"x": {}}', b'{"x": 1}'):
        kept.write_bytes(damaged)
        path.write_bytes(content)
        assert linking._read(file, store) == first, damaged


def _pins(*rows: dict[str, Any]) -> system_pins.Pins:
    whole = [
        {
            "version": "1",
            "architecture": "amd64",
            "sha256": "0" * 64,
            "size": 1,
            "filename": "pool/x.deb",
            "origin": "bookworm",
            "why": ["dependency"],
            **row,
        }
        for row in rows
    ]
    root = {"distribution": "debian", "codename": "bookworm", "packages": whole}
    return system_pins.Pins.model_validate(
        {"base": "bootstrap:debian:bookworm", "locale": "C", "timezone": "UTC", "roots": {"linux-amd64": root}}
    )


def test_a_library_comes_from_a_locked_package_or_would(tmp_path: Path) -> None:
    pins = _pins({"name": "libc6", "base": True, "why": ["base"]}, {"name": "libgomp1", "why": ["py:lightgbm"]})
    store = Store(tmp_path)

    def supplier(soname: str, target: Target = LINUX) -> Supplier:
        return sonames.supplier(pins, target, soname, store)

    assert supplier("libm.so.6") == Supplier(package="libc6", locked=True, asked_for=True, base=True)
    assert supplier("libgomp.so.1") == Supplier(package="libgomp1", locked=True, asked_for=True)
    assert supplier("libGL.so.1") == Supplier(package="libgl1")
    assert supplier("libgomp.so.1", Target("macos", "arm64")) == Supplier(package="libgomp1")
    assert supplier("odd") == Supplier(package="odd")


class _Ears(Silent):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def warn(self, text: str) -> None:
        self.heard.append(text)


def test_missing_libraries_and_those_that_come_twice_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = {
        "libgomp.so.1": Supplier(package="libgomp1", locked=True),
        "libz.so.1": Supplier(package="z", locked=True, base=True),
    }
    rows["libssl.so.3"] = Supplier(package="libssl3", locked=True, asked_for=True)

    class Foundation:
        @staticmethod
        def supplier(_pins: object, _target: object, soname: str, _store: object) -> Supplier:
            return rows.get(soname, Supplier(package=soname.partition(".")[0]))

    class Ecosystem:
        name = "python"

        @staticmethod
        def libraries(_pins: object, _selection: object, _store: object, _built: object) -> Libraries:
            return Libraries(
                wanted={"lightgbm": ("libgomp.so.1",), "cv": ("libGL.so.1", "libX.so.2", "libz.so.1")},
                bundled={
                    "libgomp.so.1": ("scipy", "sklearn"),
                    "libz.so.1": ("pillow",),
                    "libssl.so.3": ("psycopg2-binary",),
                    "libQt.so.5": ("cv",),
                },
            )

    class Selected:
        ground = None

        class selection:  # noqa: N801
            target = LINUX

        @staticmethod
        def parts() -> Any:
            return [(Ecosystem(), None)]

    monkeypatch.setattr(libraries, "FOUNDATION", Foundation())
    ears = _Ears()
    libraries.warn(Selected(), Store(tmp_path), ears, {})  # type: ignore[arg-type]
    assert ears.heard == [
        (
            "no locked package has libGL.so.1, libX.so.2, wanted by cv: "
            'add "libGL", "libX" to [system] packages, or it may fail when it is imported'
        ),
        (
            "libgomp.so.1 comes twice: within scipy, sklearn, and from libgomp1, which lightgbm takes: "
            "a process may load both"
        ),
        "libssl.so.3 comes twice: within psycopg2-binary, and from libssl3: a process may load both",
    ]
