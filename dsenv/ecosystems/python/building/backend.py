"""What building a source takes: its ``[build-system]``, what its backend asks for beyond that, and compilers.

A backend is asked on this machine, in an environment that holds what it requires and nothing else. When it is asked
what it takes, it sees none of the machine's programs: that must not depend on what happens to be there. To tell what
a source is, some try a compiler. Wheels are made in the workshop only.
"""

from __future__ import annotations

import json
import os
import posixpath
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import compatible_tags, cpython_tags, platform_tags

from dsenv.builds import EPOCH
from dsenv.ecosystems.python import uv
from dsenv.ecosystems.python.building import hooks
from dsenv.ecosystems.python.origins.local import pyproject
from dsenv.errors import IntegrityError, ResolutionError, ToolError
from dsenv.tools import archive, process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from packaging.tags import Tag

    from dsenv.pins import Artifact
    from dsenv.store import Store

_LEGACY: Final = "setuptools.build_meta:__legacy__"  # PEP 517, for a source that names none
_LEGACY_REQUIRES: Final = ("setuptools>=40.8.0",)
_LANGUAGES: Final = {
    **dict.fromkeys((".c", ".pyx"), "c"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hpp"), "c++"),
    **dict.fromkeys((".f", ".f77", ".f90", ".for"), "fortran"),
    ".rs": "rust",
}
_OWN_COMPILER: Final = "puccinialin"  # what maturin asks for without cargo: it brings one over the network


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSystem:
    """How a source is built (PEP 518, PEP 517)."""

    requires: tuple[str, ...] = _LEGACY_REQUIRES
    backend: str = _LEGACY
    path: tuple[str, ...] = ()


def read(directory: Path, whose: str) -> BuildSystem:
    """Return how a source is built.

    Raises:
        IntegrityError: It is no Python package, or says what cannot be understood.

    """
    document = pyproject(directory)
    if not document and not (directory / "setup.py").is_file() and not (directory / "setup.cfg").is_file():
        raise IntegrityError(
            f"{whose} is no Python package",
            cause="there is neither a pyproject.toml nor a setup.py at its top",
            hint="If the package lies deeper, name its directory: `subdirectory`.",
        )
    table = document.get("build-system", {})
    try:
        requires = requirements(table["requires"], whose) if "requires" in table else _LEGACY_REQUIRES
        backend = str(table.get("build-backend", _LEGACY))
        path = tuple(str(item) for item in table.get("backend-path", ()))
    except (TypeError, AttributeError) as error:
        raise IntegrityError(f"{whose} has a [build-system] that cannot be read", cause=str(error)) from error
    if any(item.startswith("/") or ".." in item.split("/") or ":" in item for item in path):
        raise IntegrityError(f"{whose} has a backend-path that leads out of it", cause=", ".join(path))
    return BuildSystem(requires=requires, backend=backend, path=path)


def requirements(texts: Iterable[str], whose: str) -> tuple[str, ...]:
    """Return build requirements in canonical form; raise ``IntegrityError`` for what cannot be one."""
    try:
        found = [Requirement(text) for text in texts]
    except InvalidRequirement as error:
        raise IntegrityError(f"{whose} requires what cannot be read to be built", cause=str(error)) from error
    if direct := next((item for item in found if item.url), None):
        raise IntegrityError(f"{whose} requires {direct.name} by an address to be built, and only indexes are asked")
    return tuple(sorted({str(item) for item in found if item.name != _OWN_COMPILER}))


def languages(directory: Path) -> tuple[str, ...]:
    """Return the languages of a source that take a compiler."""
    suffixes = {posixpath.splitext(member.path)[1].lower() for member in archive.members(directory)}
    return tuple(sorted({_LANGUAGES[suffix] for suffix in suffixes & _LANGUAGES.keys()}))


def python(version: str) -> str:
    """Return the path of the Python that backends are asked under: of the locked minor, if this machine has one."""
    return uv.find_python(version.rpartition(".")[0]) or sys.executable


def tags(version: str) -> list[Tag]:
    """Return the tags of the wheels that a CPython takes on this machine."""
    numbers = tuple(int(part) for part in version.split(".")[:2])
    platforms = list(platform_tags())
    interpreter = "cp" + "".join(map(str, numbers))
    return [*cpython_tags(numbers, platforms=platforms), *compatible_tags(numbers, interpreter, platforms)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment in which a backend can be asked.

    Args:
        home: An empty directory.
        python: The path of a Python.
        wheels: All that is in it.
        store: Has them.

    """

    home: Path
    python: str
    wheels: Sequence[Artifact]
    store: Store
    _ready: list[bool] = field(default_factory=list, repr=False)

    def ask(self, command: str, source: Path, system: BuildSystem, title: str) -> Any:
        """Return a backend's answer to a command of ``hooks.py``.

        Raises:
            ResolutionError: It failed.

        """
        if not self._ready:
            self._make()
        answer = self.home / f"{command}.json"
        words = (command, str(source), system.backend, ":".join(system.path), str(answer))
        argv = [str(self.home / "environment" / "bin" / "python"), "-B", hooks.__file__, *words]
        try:
            process.run(argv, env=self._variables(command), cwd=self.home)
            return json.loads(answer.read_bytes())
        except ToolError as error:
            raise ResolutionError(
                f"{title} does not tell {_ASKED[command]}: its build backend {system.backend.partition(':')[0]} failed",
                cause=error.cause,
                hint="See whether this version can be built at all with current tools; `constraints` bound those, too.",
            ) from error

    def _make(self) -> None:
        env = {**uv.environment(), **dict(uv.ALONE), "UV_CACHE_DIR": str(self.home / "cache")}
        place = str(self.home / "environment")
        process.run([uv.program(), *uv.VENV, "--python", self.python, place], env=env)
        (self.home / "wheels").mkdir()
        names = []
        for wheel in self.wheels:
            link = self.home / "wheels" / wheel.filename
            link.symlink_to(self.store.path(wheel))
            names.append(str(link))
        if names:
            process.run([uv.program(), *uv.INSTALL, "--python", place, *names], env=env)
        (self.home / "bin").mkdir()
        if git := process.find("git"):  # versions are counted from tags
            (self.home / "bin" / "git").symlink_to(git)
        self._ready.append(True)

    def _variables(self, command: str) -> Mapping[str, str]:
        machine = [os.environ.get("PATH", "")] if command == "metadata" else []
        return {
            "PATH": os.pathsep.join([str(self.home / "bin"), *machine]),
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": EPOCH,
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
        }


_ASKED: Final = {"requires": "what building it takes", "metadata": "its version and its requirements"}
