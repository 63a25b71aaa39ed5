"""Bytecode: compiled once a store, laid beside the sources, right wherever it lies, and seen when it is another."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dsenv.ecosystems.python import compile as program
from dsenv.outputs import project
from dsenv.tree import Entry

CACHED = sys.implementation.cache_tag
MEMBERS = {
    "one/__init__.py": "value = 1\n\n\ndef where():\n    return where.__code__.co_filename\n",
    "one/template.py": "{{ no python }}\n",
    "one/latin.py": "# -*- coding: latin-1 -*-\nname = 'é'\n",
    "one/nulls.py": "\0",
    "top.py": "import one\n",
    f"one/__pycache__/__init__.{CACHED}.pyc": "old",
    "one-1.data/purelib/extra.py": "value = 2\n",
    "one-1.data/scripts/tool.py": "value = 3\n",
    "one-1.data/data/share/x.py": "value = 4\n",
}
COMPILED = {f"one/__pycache__/__init__.{CACHED}.pyc", f"one/__pycache__/latin.{CACHED}.pyc"} | {
    f"__pycache__/{name}.{CACHED}.pyc" for name in ("top", "extra")
}


class Place:
    """A site-packages directory with one wheel, and an interpreter's own modules."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.site, self.library = root / "site", root / "library"
        (self.library / "inner").mkdir(parents=True)
        (self.library / "os.py").write_text("a = 1\n")
        (self.library / "inner" / "x.py").write_text("a = 2\n")
        (self.library / "linked.py").symlink_to("os.py")
        (self.library / "lost.py").symlink_to("nowhere.py")
        wheel = root / "one.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in MEMBERS.items():
                archive.writestr(name, text.encode("latin-1" if "latin" in name else "utf-8"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site, [name for name in archive.namelist() if "data/" not in name])
        self.plan = root / "plan.json"
        plan: dict[str, Any] = {
            "cache": str(cache),
            "tag": "3.11.2-1",
            "site": str(self.site),
            "wheels": {"a" * 64: str(wheel)},
        }
        self.plan.write_text(json.dumps({**plan, "library": [str(self.library), str(root / "none")]}))

    def laid(self, root: Path) -> dict[str, bytes]:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.pyc")}


def test_bytecode_is_made_once_and_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Place(tmp_path / "first", tmp_path / "cache"), Place(tmp_path / "b", tmp_path / "cache")
    program.main(first.plan)
    assert set(first.laid(first.site)) == COMPILED
    assert len(first.laid(first.library)) == 3
    monkeypatch.setattr(program, "_make", lambda _: pytest.fail("it was made before"))
    program.main(second.plan)
    assert second.laid(second.site) == first.laid(first.site)
    assert second.laid(second.library) == first.laid(first.library)
    assert not any(str(tmp_path).encode() in content for content in first.laid(first.site).values())


def test_python_takes_it_while_its_source_is_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    program.main(place.plan)
    source = place.site / "one" / "__init__.py"
    cached = Path(importlib.util.cache_from_source(str(source)))
    laid = cached.read_bytes()
    spec = importlib.util.spec_from_file_location("one_of_test", source)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.where() == str(source)
    assert cached.read_bytes() == laid, "it was right, so it was not written anew"
    assert laid[:4] == importlib.util.MAGIC_NUMBER
    assert laid[4:16] == (3).to_bytes(4, "little") + importlib.util.source_hash(source.read_bytes())


@pytest.mark.parametrize("damage", [b"", b"x", b"{}"])
def test_a_damaged_pack_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    place = Place(tmp_path, tmp_path / "cache")
    program.main(place.plan)
    laid = place.laid(place.site)
    for pack in (tmp_path / "cache").iterdir():
        pack.write_bytes(pack.read_bytes()[:-1] + damage)
        assert program.read(pack) is None
    for path in place.site.rglob("*.pyc"):
        path.unlink()
    program.main(place.plan)
    assert place.laid(place.site) == laid


def test_where_no_worker_can_start_one_process_does_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no shared memory")

    monkeypatch.setattr(program, "ProcessPoolExecutor", refused)
    place = Place(tmp_path, tmp_path / "cache")
    program.main(place.plan)
    assert set(place.laid(place.site)) == COMPILED


def test_of_caches_only_what_importing_loads_counts() -> None:
    site = "venv/lib/python3.11/site-packages"
    tree = {
        f"{site}/{name}": Entry(kind="file")
        for name in (
            "one/__pycache__/two.cpython-311.pyc",
            "one/__pycache__/two.cpython-311.opt-1.pyc",
            "one/__pycache__/two.cpython-311-pytest-8.3.4.pyc",
            "one/__pycache__/two.f-12.py311.1.nbc",
            "one/two.cpython-311.pyc",
        )
    }
    counted = [path.removeprefix(f"{site}/") for path in tree if not project._ignored(path)]
    assert counted == ["one/__pycache__/two.cpython-311.pyc", "one/two.cpython-311.pyc"]
    assert project.compiled(tree) == {f"{site}/one/__pycache__/two.cpython-311.pyc": f"{site}/one/two.py"}
    assert project.compiled({"__pycache__/a.cpython-311.pyc": Entry(kind="file")}) == {
        "__pycache__/a.cpython-311.pyc": "a.py"
    }
