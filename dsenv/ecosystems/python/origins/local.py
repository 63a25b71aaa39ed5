"""What lies in the project's directory itself: whether it is there, and what of it a lock answers.

Of an ordinary source everything counts. An editable one changes all day, so of that only what decides the resolution,
and how the package is installed: its name, version, requirements, scripts and build system. These stand in
``pyproject.toml``, ``setup.cfg`` and ``setup.py`` (the latter two count whole), and in files that setuptools is told to
read requirements or a version from.
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from dsenv.errors import WrongUseError
from dsenv.tree import content_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dsenv.ecosystems.python.origins.reference import Reference

_DECIDE: Final = (
    *("name", "version", "dynamic", "requires-python", "dependencies", "optional-dependencies"),
    *("scripts", "gui-scripts", "entry-points"),
)
_BACKENDS: Final = ("setuptools", "setuptools_scm", "hatch", "poetry", "flit", "pdm", "maturin", "scikit-build")


def states(references: Iterable[Reference], directory: Path) -> dict[str, str]:
    """Return a sha256 for each source of the project, by its path.

    Raises:
        WrongUseError: One is not there, or leads out of the project.

    """
    from dsenv.tools import archive  # noqa: PLC0415 - most projects have no source of their own

    found = {}
    own = [reference for reference in references if reference.kind == "path"]
    for reference in sorted(own, key=lambda reference: not reference.editable):  # of one that is both, all counts
        path = there(reference, directory)
        found[reference.place] = _metadata(path) if reference.editable else archive.state(path)
    return dict(sorted(found.items()))


def there(reference: Reference, directory: Path) -> Path:
    """Return where a source of the project lies; raise ``WrongUseError`` where there is none."""
    path = directory / reference.place
    if not path.resolve().is_relative_to(directory.resolve()):
        raise WrongUseError(
            f"{reference.place}, which {reference.name} is to come from, leads out of the project",
            hint="Other machines do not have what lies there: copy it into the project's directory.",
        )
    if not (path.is_file() if reference.suffix else path.is_dir()):
        raise WrongUseError(
            f"there is no {reference.place}, which {reference.name} is to come from",
            hint="Correct its path in dsenv.toml, relative to that file, or get it from version control.",
        )
    return path


def pyproject(directory: Path) -> dict[str, Any]:
    """Return what a source says of itself in ``pyproject.toml``; nothing where there is none."""
    path = directory / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise WrongUseError(f"{path} is not valid TOML", cause=str(error)) from error


def name(path: Path) -> str:
    """Return the name of the package that a file or a directory is, "" where only building it would tell."""
    with contextlib.suppress(InvalidWheelFilename):
        return str(parse_wheel_filename(path.name)[0])
    with contextlib.suppress(InvalidSdistFilename):
        return str(parse_sdist_filename(path.name)[0])
    return str(_table(pyproject(path), "project").get("name", ""))


def _metadata(directory: Path) -> str:
    document = pyproject(directory)
    project, tool = _table(document, "project"), _table(document, "tool")
    said = {
        "project": {key: project[key] for key in _DECIDE if key in project},
        "build-system": document.get("build-system", {}),
        "tool": {key: tool[key] for key in _BACKENDS if key in tool},
        "files": {name: text for name in _files(tool) if (text := _text(directory / name)) is not None},
    }
    return content_sha256(json.dumps(said, sort_keys=True, default=str).encode())


def _files(tool: dict[str, Any]) -> Iterator[str]:
    yield from ("setup.cfg", "setup.py")
    for row in _table(_table(tool, "setuptools"), "dynamic").values():
        named = row.get("file", []) if isinstance(row, dict) else []
        yield from [named] if isinstance(named, str) else map(str, named)


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None
