"""The house: who may import whom, how large a room is, and that docs/architecture.md draws it as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dsenv.ecosystems import ECOSYSTEMS, python, r, system

if TYPE_CHECKING:
    from types import ModuleType

    from dsenv.ecosystem import Ecosystem

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dsenv"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES = 400

_BASE = {"builds", "errors", "foreign", "ground", "network", "pins", "progress", "formats", "model", "steps", "tree"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "pins": set(),
    "progress": set(),
    "model": set(),
    "formats": set(),
    "spec_edit": {"ecosystems", "errors"},
    "tree": {"errors"},
    "steps": {"pins"},
    "builds": {"steps"},
    "foreign": {"errors"},
    "ground": set(),
    "network": set(),
    "addresses": {"errors", "model", "pins", "tools"},
    "tools": {"errors", "pins", "formats", "network", "tree"},
    "download": {"errors", "network", "pins", "progress", "tree", "tools"},
    "artifacts": {"download", "errors", "network", "pins", "progress", "tree"},
    "store": {"artifacts", "errors", "network", "pins", "progress", "tree"},
    "project": {"errors", "progress"},
    "ecosystem": {"builds", "errors", "foreign", "ground", "network", "pins", "progress", "steps", "store", "tree"},
    "foundation": {"ecosystem", "ground", "pins", "progress", "steps", "store"},
    "nothing": {"builds", "ecosystem", "foreign", "pins", "steps", "store"},
    "ecosystems.python": _BASE | {"addresses", "ecosystem", "nothing", "store", "tools"},
    "ecosystems.r": _BASE | {"addresses", "artifacts", "download", "ecosystem", "nothing", "store", "tools"},
    "ecosystems.system": _BASE | {"addresses", "ecosystem", "nothing", "store", "tools"},
    "ecosystems": {"ecosystem", "foundation", "ecosystems.python", "ecosystems.r", "ecosystems.system"},
    "spec": {"ecosystem", "ecosystems", "ecosystems.system", "errors", "formats", "model", "pins"},
    "locks": {"ecosystem", "ecosystems", "errors", "foreign", "formats", "pins", "spec"},
    "outputs": {"builds", "errors", "pins", "progress", "project", "steps", "store", "tools", "tree"},
}
"""What a room may import beside itself; ``operations`` may import all of these, ``cli`` operations as well."""

MAY_IMPORT["operations"] = {*MAY_IMPORT}
MAY_IMPORT["cli"] = {*MAY_IMPORT}
_ECOSYSTEMS = {"python", "r", "system"}


def _room(module: str) -> str:
    parts = module.split(".")[1:]
    if not parts:
        return ""
    if parts[0] == "ecosystems" and len(parts) > 1 and parts[1] in _ECOSYSTEMS:
        return f"ecosystems.{parts[1]}"
    return parts[0]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    """Return the modules of dsenv that a file imports, anywhere in it."""
    known = {_module(file) for file in FILES}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith("dsenv"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dsenv"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else str(node.module))
    return found


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_imports_run_one_way(path: Path) -> None:
    room = _room(_module(path))
    if _module(path) in {"dsenv", "dsenv.__main__"}:
        return
    for module in _imports(path):
        other = _room(module)
        assert other in {"", room} or other in MAY_IMPORT[room], f"{room} must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_a_room_can_be_read_in_one_sitting(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LINES
    assert ast.get_docstring(ast.parse(text)), "the first lines say what may stand in a file"


@pytest.mark.parametrize("path", [file for file in FILES if _room(_module(file)) != "cli"], ids=_module)
def test_nothing_below_the_command_line_prints_or_exits(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "exit", "quit", "sys.exit", "input"}, f"{path}:{node.lineno}"
            assert not called.startswith(("sys.stdout", "sys.stderr")), f"{path}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_processes_are_started_in_one_room(path: Path) -> None:
    starts = {"subprocess", "os.system", "os.popen", "os.execvpe", "multiprocessing"}
    text = path.read_text()
    if _module(path) != "dsenv.tools.process":
        for word in starts:
            assert not re.search(rf"\bimport {re.escape(word)}\b|\b{re.escape(word)}\(", text), word
    assert "shell=True" not in text


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_texts_are_read_whatever_the_locale(path: Path) -> None:
    """Maintainers have umlauts in their names, and a container often has no locale."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            at = {"read_text": 0, "write_text": 1}.get(node.func.attr)
            if at is not None:
                said = [ast.unparse(word) for word in node.args[at : at + 1]]
                assert said in (["'utf-8'"], ["'utf-8-sig'"], ["'ascii'"]), f"{path}:{node.lineno}"


def test_the_drawing_is_true() -> None:
    """docs/architecture.md names every file of the package with a line of its own, and no other."""
    drawing = (ROOT / "docs" / "architecture.md").read_text()
    block = re.search(r"```text\n(dsenv/\n.*?)```", drawing, re.DOTALL)
    assert block
    drawn: set[str] = set()
    stack: list[str] = []
    for line in block[1].splitlines():
        match = re.match(r"(?P<indent> *)(?P<name>[\w.]+/?)(?: {2,}\S.*)?$", line)
        assert match, line
        depth = len(match["indent"]) // 2
        stack = [*stack[:depth], match["name"]]
        if not match["name"].endswith("/"):
            drawn.add("".join(stack))
    real = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in {"__init__.py", "py.typed"}
    }
    assert drawn == real


@pytest.mark.parametrize(
    ("ecosystem", "package"), [*zip(ECOSYSTEMS, (system, python, r), strict=True)], ids=["system", "python", "r"]
)
def test_every_door_of_an_ecosystem_opens(ecosystem: Ecosystem, package: ModuleType) -> None:
    """What a package says that it answers is in the room that it names, and nothing else is behind a door."""
    doors = [door for names in package.DOORS.values() for door in names]
    assert sorted([*doors, "files", "name", "title"]) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(ecosystem, name) is not None
        assert name not in doors or callable(getattr(ecosystem, name)) or name == "exports"
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = ecosystem.nothing_of_the_kind  # type: ignore[attr-defined]


def test_every_room_is_in_the_table() -> None:
    rooms = {_room(_module(path)) for path in FILES} - {"", "__main__"}
    assert rooms == set(MAY_IMPORT)
