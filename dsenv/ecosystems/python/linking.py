"""Which shared libraries the wheels take from elsewhere, by what the wheels themselves say to the dynamic linker.

What counts is what importing can reach: the extension modules, and from there what each needs, through its search
path, its own wheel and the wheels that it depends on. Plugins that a program may load or not (a toolkit brings one
for every database) are not reached. What is not found that way is the system's to bring.

What is loaded by name at run time stands in no file; the best known of those are in ``needs.toml``.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv.ecosystem import Libraries
from dsenv.ecosystems.python.building import needs as build
from dsenv.ecosystems.python.building import wheels
from dsenv.pins import Need
from dsenv.tools import elf
from dsenv.tools.wheel import Wheel
from dsenv.tree import WORKERS, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from dsenv.builds import Built
    from dsenv.ecosystem import Offer
    from dsenv.ecosystems.python.building.wheels import File
    from dsenv.ecosystems.python.pins import Pins
    from dsenv.ecosystems.python.standalone import Build
    from dsenv.pins import Selection, Target
    from dsenv.store import Store
    from dsenv.tools.elf import Library

_FORMAT: Final = "1"  # of what is kept of a wheel
_SHARED: Final = re.compile(r".*\.so(\.[0-9A-Za-z_.]+)?")
_MODULE: Final = re.compile(r".*\.(cpython-[^/]+|abi3)\.so")
_PLAIN_MODULE: Final = re.compile(r"(.*/)?(?!lib)[^/.]+\.so")
_PROGRAM: Final = re.compile(r"(.*/)?bin/python3\.[0-9]+")
_BUNDLED: Final = re.compile(r"(?P<name>lib[^/]+?)-[0-9a-f]{8}\.so\.(?P<major>\d+)[0-9.]*")  # as auditwheel renames
_DRIVER: Final = re.compile(r"lib(cuda|nvidia-.*|nvcuvid|amdhip64|ze_loader)\.so\..*")  # comes with the hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A shared library of a wheel."""

    wheel: str  # the package's name
    library: Library


def known(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the libraries that each of the named packages is known to take from the system (``needs.toml``).

    Args:
        names: Everything that is installed together, normalized.

    """
    return {
        name: tuple(row["libraries"])
        for name, row in _table().items()
        if "libraries" in row and name in names and not set(row.get("unless", ())) & set(names)
    }


def needs(names: Collection[str], offers: Iterable[Offer]) -> tuple[Need, ...]:
    """Return the system packages that the named packages are known to need, as far as they are on offer."""
    found = {
        Need(package, why=f"py:{name}")
        for offer in offers
        for name, sonames in known(names).items()
        for soname in sonames
        if (package := offer.providing(soname))
    }
    return tuple(sorted(found))


def revealed(pins: Pins, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
    """Return the system packages that the locked packages are known to need, and those that building them takes."""
    found = {need for target, offer in offers.items() for need in needs(_names(pins, target), [offer])}
    building = {need for target in offers for need in build.needs(pins, target)}
    return tuple(sorted(found | building))


def lost(pins: Pins, offers: Mapping[Target, Offer]) -> Iterator[str]:
    """Yield a sentence for each library that is known to be needed and that no package on offer has."""
    for target, offer in offers.items():
        for name, sonames in known(_names(pins, target)).items():
            if missing := [soname for soname in sonames if not offer.providing(soname)]:
                yield f"{offer.label} has no package for {', '.join(missing)}, which {name} needs"


def _names(pins: Pins, target: Target) -> set[str]:
    return {str(package.name) for package in pins.installed_on(target)}


def libraries(pins: Pins, selection: Selection, store: Store, built: Mapping[str, Built]) -> Libraries:
    """Return what the selected wheels take from the system, and what they bring that it may have, too.

    Their artifacts are in the store.
    """
    chosen = pins.select(selection)
    if selection.target.os != "linux":
        return Libraries()
    files = wheels.files(chosen, built)
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda item: _read(item, store), files)
        brought = {file.name: dict(rows) for file, rows in zip(files, found, strict=True)}
    depends = {
        row.name: {str(other["name"]) for other in row.package.dependencies or () if "name" in other} for row in chosen
    }
    interpreter = pins.interpreter(selection.target)
    if interpreter.build:
        name = f"Python {interpreter.version}"
        brought[name] = {f"{name}/{path}": row for path, row in _of_build(interpreter.build, store).items()}
        depends = {package: {*names, name} for package, names in depends.items()}
    return missing(brought, depends)


def missing(wheels: Mapping[str, Mapping[str, Library]], depends: Mapping[str, Collection[str]]) -> Libraries:
    """Return what wheels that are installed together do not find in each other.

    Args:
        wheels: The libraries of each, by path in site-packages.
        depends: The names of the wheels that each depends on.

    """
    files = {
        path: _File(wheel=name, library=library) for name, rows in wheels.items() for path, library in rows.items()
    }
    names = {name: _by_name(rows) for name, rows in wheels.items()}
    wanted: dict[str, set[str]] = {}
    pending = list(_modules(wheels))
    reached = set(pending)

    def follow() -> None:
        while pending:
            path = pending.pop()
            file = files[path]
            near = [
                names[file.wheel],
                *(names[other] for other in sorted(depends.get(file.wheel, ())) if other in names),
            ]
            for soname in file.library.needed:
                target = _found(path, soname, file.library, files, near)
                if target is None:
                    wanted.setdefault(file.wheel, set()).add(soname)
                elif target not in reached:
                    reached.add(target)
                    pending.append(target)

    follow()
    with_modules = {files[path].wheel for path in reached}
    # Nothing leads into these: they are loaded by path, through ctypes or cffi.
    pending += [path for path, file in files.items() if file.wheel not in with_modules]
    reached.update(pending)
    follow()
    return Libraries(
        wanted={
            name: tuple(sorted(soname for soname in sonames - _optional(name) if not _DRIVER.fullmatch(soname)))
            for name, sonames in sorted(wanted.items())
        },
        bundled=_bundled(wheels),
    )


def _optional(name: str) -> set[str]:
    """Return the libraries that a package is known to do without: it tries, and takes another way."""
    return set(_table().get(name, {}).get("optional", ()))


def _modules(wheels: Mapping[str, Mapping[str, Library]]) -> Iterator[str]:
    for rows in wheels.values():
        tagged = [path for path in rows if _MODULE.fullmatch(path)]
        yield from tagged or [path for path in rows if _PLAIN_MODULE.fullmatch(path)]
        yield from (path for path in rows if _PROGRAM.fullmatch(path))


def _found(
    path: str, soname: str, library: Library, files: Mapping[str, _File], near: Iterable[Mapping[str, str]]
) -> str | None:
    """Return the path of the library that a need leads to: by the search path, or as one that is loaded already."""
    for entry in library.search:
        directory = entry.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", posixpath.dirname(path) or ".")
        candidate = posixpath.normpath(posixpath.join(directory, soname))
        if candidate in files:
            return candidate
    return next((rows[soname] for rows in near if soname in rows), None)


def _of_build(build: Build, store: Store) -> dict[str, Library]:
    """Return the program and modules of a build of Python, and of its libraries those that they load."""
    everything = _kept(build.artifact().sha256, store, lambda: _in_build(build, store))
    files = {path: _File(wheel="", library=library) for path, library in everything.items()}
    pending = [path for path in files if not _SHARED.fullmatch(path) or _MODULE.fullmatch(path)]
    reached = dict.fromkeys(pending)
    while pending:
        path = pending.pop()
        targets = (_found(path, soname, files[path].library, files, ()) for soname in files[path].library.needed)
        new = [target for target in targets if target and target not in reached]
        reached.update(dict.fromkeys(new))
        pending += new
    return {path: everything[path] for path in reached}


def _in_build(build: Build, store: Store) -> Iterator[tuple[str, Library]]:
    tree, files = build.unpacked(store)
    for path, entry in tree.items():
        if entry.kind == "file" and (_SHARED.fullmatch(path) or _PROGRAM.fullmatch(path)):
            with (files / path).open("rb") as stream:
                if library := elf.read(stream):
                    yield path, library


def _by_name(rows: Mapping[str, Library]) -> dict[str, str]:
    found = {library.soname: path for path, library in rows.items() if library.soname}
    return {**{posixpath.basename(path): path for path in rows}, **found}


def _bundled(wheels: Mapping[str, Mapping[str, Library]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for name, rows in wheels.items():
        for path in rows:
            if match := _BUNDLED.fullmatch(posixpath.basename(path)):
                found.setdefault(f"{match['name']}.so.{match['major']}", set()).add(name)
    return {soname: tuple(sorted(names)) for soname, names in sorted(found.items())}


def _read(file: File, store: Store) -> dict[str, Library]:
    """Return the shared libraries of a wheel by their path in site-packages."""
    return _kept(file.sha256, store, lambda: _in_wheel(file.path(store), file.filename))


def _kept(sha256: str, store: Store, read: Callable[[], Iterable[tuple[str, Library]]]) -> dict[str, Library]:
    """Return the shared libraries of an archive by their path; they are read once a store."""
    kept = store.cache("libraries") / f"{sha256}-{_FORMAT}.json"
    try:
        return {path: _library(row) for path, row in json.loads(kept.read_bytes()).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there yet, or damaged
        rows = dict(read())
        replace_file(kept, json.dumps({path: asdict(row) for path, row in rows.items()}).encode())
        return rows


def _library(row: Mapping[str, list[str] | str]) -> Library:
    return elf.Library(soname=str(row["soname"]), needed=tuple(row["needed"]), search=tuple(row["search"]))


def _in_wheel(path: Path, filename: str) -> Iterator[tuple[str, Library]]:
    wheel = Wheel(path, filename)
    for member, content in wheel.read(lambda name: _SHARED.fullmatch(name) is not None):
        place = re.sub(rf"{re.escape(wheel.data)}/(purelib|platlib)/", "", member)
        if library := elf.read(io.BytesIO(content)):
            yield place, library


@cache
def _table() -> Mapping[str, Mapping[str, list[str]]]:
    return tomllib.loads(resources.files(__package__).joinpath("needs.toml").read_text("utf-8"))
