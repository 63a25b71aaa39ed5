"""Compile what an environment holds, once a store, and lay the bytecode beside the sources.

A program for the environment's own Python: when it runs, nothing of dsenv is there. Its one argument is a plan::

    {"cache": DIRECTORY, "tag": "3.11.2-1", "site": DIRECTORY, "wheels": {SHA256: PATH, …}, "library": [DIRECTORY, …]}

Bytecode is kept in packs: one for each wheel, and one for each directory of the interpreter's own modules. A pack is a
line with the sha256 of the rest, a line of JSON with the size of each file by its path, and the files one after the
other. Each file is checked by the hash of its source (PEP 552), so it is right at every path and at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import marshal
import os
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

_CHECKED = (0b11).to_bytes(4, "little")  # the hash of the source is compared at each import
_SHA256 = 64  # hexadecimal digits
_CHUNK = 50  # sources that are compiled as one piece of work
_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(plan: Path) -> None:
    """Do what a plan says."""
    said = json.loads(plan.read_bytes())
    cache = Path(said["cache"])
    wanted: dict[Path, tuple[Path, Path]] = {}  # pack -> where its sources are, and where it is laid
    for sha256, wheel in said["wheels"].items():
        wanted[pack(cache, sha256, said["tag"])] = Path(wheel), Path(said["site"])
    for directory in filter(Path.is_dir, map(Path, said["library"])):
        wanted[pack(cache, _digest(directory), said["tag"])] = directory, directory
    with ThreadPoolExecutor(2 * _PROCESSORS) as pool:
        whole = list(pool.map(lambda path: _lay(path, wanted[path][1]), wanted))
    missing = {path: wanted[path][0] for path, laid in zip(wanted, whole) if not laid}  # noqa: B905 - as below
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        _make(missing)
    for path in missing:
        _lay(path, wanted[path][1])


def pack(cache: Path, key: str, tag: str) -> Path:
    """Return where a pack lies."""
    return cache / f"{key}-{tag}"


def read(path: Path) -> dict[str, memoryview] | None:
    """Return the bytecode of a pack by its path below the directory of the sources; ``None`` when it is not whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    whole = memoryview(content)  # a slice of it is no copy
    if hashlib.sha256(whole[_SHA256 + 1 :]).hexdigest().encode() != bytes(whole[:_SHA256]):
        return None
    at = content.index(b"\n", _SHA256 + 1) + 1
    found = {}
    for name, size in json.loads(bytes(whole[_SHA256 + 1 : at])).items():
        found[name] = whole[at : at + size]
        at += size
    return found


def bytecode_of(source: str, cache_tag: str) -> str:
    """Return where Python looks for the bytecode of a source."""
    directory, _, name = source.rpartition("/")
    return f"{directory}/__pycache__/{name[:-3]}.{cache_tag}.pyc".lstrip("/")


def _digest(directory: Path) -> str:
    sha256 = hashlib.sha256()
    for name in sorted(_sources(directory)):
        content = (directory / name).read_bytes()
        sha256.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return sha256.hexdigest()


def _sources(place: Path) -> dict[str, str]:
    """Return the sources of a wheel or below a directory: the path that each is installed at, and its name there."""
    if place.is_dir():
        return {name: name for name in _below(place)}
    with zipfile.ZipFile(place) as archive:
        return {_installed(name): name for name in archive.namelist() if name.endswith(".py") and _installed(name)}


def _below(directory: Path) -> list[str]:
    found = []
    for parent, _, names in os.walk(directory):
        inner = Path(parent).relative_to(directory)
        found += [(inner / name).as_posix() for name in names if name.endswith(".py")]
    return [name for name in found if (directory / name).is_file()]  # a link may lead nowhere


def _installed(name: str) -> str:
    """Return a wheel member's path in site-packages (PEP 427), empty when it lies elsewhere."""
    data, _, rest = name.partition("/")
    if not data.endswith(".data"):
        return name
    scheme, _, path = rest.partition("/")
    return path if scheme in {"purelib", "platlib"} else ""


def _make(missing: dict[Path, Path]) -> None:
    """Compile the sources of each missing pack, several at once, and write it."""
    work = []
    for path, place in missing.items():
        names = sorted(_sources(place).items())
        work += [(path, place, names[at : at + _CHUNK]) for at in range(0, len(names), _CHUNK)]
    made: dict[Path, dict[str, bytes]] = {path: {} for path in missing}
    pieces = [(place, names) for _, place, names in work]
    try:
        with ProcessPoolExecutor(_PROCESSORS) as pool:
            done = list(pool.map(_compiled, pieces))
    except (ImportError, OSError):  # no shared memory, as in some sandboxes
        done = [_compiled(piece) for piece in pieces]
    for (path, _, _), files in zip(work, done):  # noqa: B905 - for Pythons before 3.10, too
        made[path].update(files)
    for path, files in made.items():
        sizes = {name: len(files[name]) for name in sorted(files)}
        rest = json.dumps(sizes, separators=(",", ":")).encode() + b"\n" + b"".join(files[name] for name in sizes)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        aside.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        aside.replace(path)


def _compiled(piece: tuple[Path, list[tuple[str, str]]]) -> dict[str, bytes]:
    """Return the bytecode of some sources of one place; those that are no Python, as templates are, have none."""
    place, names = piece
    found = {}
    with contextlib.ExitStack() as stack:
        archive = None if place.is_dir() else stack.enter_context(zipfile.ZipFile(place))
        for installed, name in names:
            source = archive.read(name) if archive else (place / name).read_bytes()
            with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                # Importing sets the real file name; this one must not tell where it was compiled.
                code = compile(source, installed, "exec", dont_inherit=True)
                head = importlib.util.MAGIC_NUMBER + _CHECKED + importlib.util.source_hash(source)
                found[bytecode_of(installed, str(sys.implementation.cache_tag))] = head + marshal.dumps(code)
    return found


def _lay(path: Path, destination: Path) -> bool:
    """Write the files of a pack below the directory of its sources; return whether it was whole."""
    files = read(path)
    if files is None:
        return False
    for directory in sorted({name.rpartition("/")[0] for name in files}):
        with contextlib.suppress(FileExistsError):  # a wheel may bring bytecode of its own
            (destination / directory).mkdir()
    for name, content in files.items():
        _write(f"{destination}/{name}", content)
    return True


def _write(path: str, content: memoryview) -> None:
    """Write a file with as few calls as can be: there are thousands."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
