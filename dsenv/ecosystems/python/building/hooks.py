"""Ask a source what building takes, and build it: a program for a build environment's own Python (PEP 517).

When it runs, nothing of dsenv is there. Its arguments are a command and words::

    prepare WHEEL ARCHIVE FORM      take the program uv out of its wheel to ./uv, and unpack a source to ./source
    requires SOURCE BACKEND PATHS ANSWER   write what it needs beyond [build-system] requires, as JSON
    metadata SOURCE BACKEND PATHS ANSWER   write its METADATA, as JSON
    wheel SOURCE BACKEND PATHS OUT         make its wheel in a directory

SOURCE is a directory. PATHS are those of ``backend-path``, with ``:`` between.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


# These build in a directory with a name of chance, which some packages write into what they make.
_SETTINGS = {"mesonpy": {"builddir": ".build"}, "scikit_build_core.build": {"build-dir": ".build"}}


class UnsafeError(Exception):
    """An archive holds what may not be unpacked."""


def main(words: list[str]) -> None:
    """Do what a command line says."""
    command, *rest = words
    if command == "prepare":
        wheel, archive, form = rest
        take_program(Path(wheel), Path("uv"))
        unpack(Path(archive), Path("source"), form)
        return
    source, backend, paths, where = rest
    os.chdir(source)
    hooks = _load(backend, [path for path in paths.split(":") if path])
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])  # noqa: PTH120
    if command == "wheel":
        hooks.build_wheel(where, _SETTINGS.get(backend))
    else:
        answer = _requires(hooks) if command == "requires" else _metadata(hooks)
        Path(where).write_text(json.dumps(answer), "utf-8")


def take_program(wheel: Path, program: Path) -> None:
    """Write the program that is in uv's wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        with archive.open(name) as source, program.open("xb") as sink:
            shutil.copyfileobj(source, sink)
    program.chmod(0o755)


def unpack(archive: Path, directory: Path, form: str) -> None:
    """Unpack a source into a new directory, with plain modes and nothing outside of it.

    Args:
        archive: A tar of any compression, or a zip archive.
        directory: It must not exist.
        form: ``sdist`` for one whose files lie in a directory of its own, which is left out; ``tree`` for any other.

    Raises:
        UnsafeError: It holds a path, a link or a device that leads elsewhere.

    """
    directory.mkdir()
    for name, kind, content in _members(archive):
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise UnsafeError(f"it holds the path {name!r}, which leads outside of it")
        inner = parts[1:] if form == "sdist" else parts
        if not inner:
            continue
        path = directory.joinpath(*inner)
        if kind == "directory":
            path.mkdir(parents=True, exist_ok=True)
            continue
        if any((directory.joinpath(*inner[:depth])).is_symlink() for depth in range(1, len(inner))):
            raise UnsafeError(f"it holds the path {name!r}, which leads through a link")
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            _check_link(inner, content)
            path.unlink(missing_ok=True)
            path.symlink_to(content)
        elif content is not None:
            path.unlink(missing_ok=True)
            with path.open("xb") as sink:
                shutil.copyfileobj(content, sink)
            path.chmod(0o755 if kind == "program" else 0o644)


def _check_link(inner: list[str], target: str) -> None:
    depth = len(inner) - 1
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0 or target.startswith("/"):
            raise UnsafeError(f"it holds a link {'/'.join(inner)!r} to {target!r}, which leads outside of it")


def _members(archive: Path) -> Iterator[tuple[str, str, IO[bytes] | str | None]]:
    """Yield the name and kind of each member; with a file's content, or a link's target."""
    if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = "program" if info.external_attr >> 16 & 0o111 else "file"
                with zipped.open(info) as file:
                    yield info.filename, "directory" if info.is_dir() else kind, file
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                yield member.name, "directory", None
            elif member.issym():
                yield member.name, "link", member.linkname
            elif member.isreg() or member.islnk():
                yield member.name, "program" if member.mode & 0o111 else "file", tar.extractfile(member)
            else:
                raise UnsafeError(f"it holds {member.name!r}, which is neither a file, a link nor a directory")


def _load(backend: str, paths: list[str]) -> Any:
    """Return a backend's hooks (PEP 517, "Build backend interface")."""
    here = Path.cwd()
    sys.path[:0] = [str(here / path) for path in paths]
    module, _, attributes = backend.partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, attributes.split(".")):
        found = getattr(found, name)
    return found


def _requires(hooks: Any) -> list[str]:
    """Return what a backend wants to make a wheel, or an editable one."""
    names = ("get_requires_for_build_wheel", "get_requires_for_build_editable")
    return sorted({text for name in names if hasattr(hooks, name) for text in getattr(hooks, name)()})


def _metadata(hooks: Any) -> str:
    """Return a source's METADATA, building it where there is no shorter way."""
    with tempfile.TemporaryDirectory() as directory:
        if hasattr(hooks, "prepare_metadata_for_build_wheel"):
            name = hooks.prepare_metadata_for_build_wheel(directory)
            return Path(directory, name, "METADATA").read_text("utf-8")
        with zipfile.ZipFile(Path(directory, hooks.build_wheel(directory))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return wheel.read(name).decode("utf-8")


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    main(sys.argv[1:])
