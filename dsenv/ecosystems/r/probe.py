"""What is there now of R: the files of packages that were built, and the libraries in which no others may lie."""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv import tree as trees
from dsenv.ecosystem import Expectation, Libraries
from dsenv.ecosystems.r import building
from dsenv.ecosystems.r.built import HOME
from dsenv.ecosystems.r.install import home, library
from dsenv.tools import elf, tar
from dsenv.tree import Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dsenv.builds import Built
    from dsenv.ecosystems.r.pins import Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place
    from dsenv.store import Store
    from dsenv.tools.elf import Library

_LIBRARIES: Final = ("usr/lib/R/site-library", "usr/lib/R/library", "usr/local/lib/R/site-library")
_SHARED: Final = re.compile(r".*\.so(\.[0-9A-Za-z_.]+)?")
_OF_R: Final = re.compile(r"libR(blas|lapack)?\.so")  # in R's own directory, where only R looks


def expectation(
    pins: Pins, selection: Selection, place: Place, store: Store, built: Mapping[str, Built]
) -> Expectation:
    """Return the files of what was built, and the libraries of an image; in a project every directory is owned."""
    inside = place.kind == "image"
    where = library(place).removeprefix("/" if inside else f"{place.prefix}/")
    tree: Tree = {}
    for row in building.made(pins, selection) if place.kind != "host" else ():
        for path, entry in _entries(built[row.name].path, f"{row.name} {row.version}"):
            tree[f"{where}/{path}"] = entry
    varies = {f"{where}/{path}": reason for path, reason in _varying().items() if f"{where}/{path}" in tree}
    owned = (*_LIBRARIES, where) if inside else ()
    archive = pins.archives.get(str(selection.target)) if inside else None
    if archive:  # in a project a step says so
        directory = home(place).removeprefix("/")
        entries = tar.entries(store.read_checked(archive.artifact()), archive.filename)
        tree |= {f"{directory}/{path}": entry for path, entry in entries.items()}
        owned = (*owned, f"{directory}/{HOME}/library")
    return Expectation(tree=tree, owned=owned, inside=varies if inside else {})


def _varying() -> dict[str, str]:
    """Return the files that another place of building shows in, by path in a library, each with the reason."""
    table = tomllib.loads(resources.files(__package__).joinpath("varying.toml").read_text("utf-8"))
    return {f"{row['package']}/{path}": row["reason"] for row in table["package"] for path in row["paths"]}


def libraries(pins: Pins, selection: Selection, store: Store, built: Mapping[str, Built]) -> Libraries:
    """Return what packages that were built take from the system; of the others apt has seen to what they need."""
    del store
    found = {row.name: _shared(built[row.name].path) for row in building.made(pins, selection) if row.name in built}
    own = {posixpath.basename(path) for rows in found.values() for path in rows}
    own |= {row.soname for rows in found.values() for row in rows.values()}
    wanted = {
        name: {
            soname
            for row in rows.values()
            for soname in row.needed
            if soname not in own and not _OF_R.fullmatch(soname)
        }
        for name, rows in found.items()
    }
    return Libraries(wanted={name: tuple(sorted(sonames)) for name, sonames in wanted.items() if sonames})


def _entries(archive: Path, owner: str) -> Iterator[tuple[str, Entry]]:
    with tarfile.open(archive, "r:") as members:
        for member in members:
            path, mode = trees.safe_path(member.name), member.mode
            if member.isdir():
                yield path, Entry(kind="directory", mode=mode, owner=owner)
            elif member.issym():
                yield path, Entry(kind="link", mode=0o777, content=member.linkname, owner=owner)
            elif file := members.extractfile(member):
                yield path, Entry(kind="file", mode=mode, content=trees.stream_sha256(file), owner=owner)


def _shared(archive: Path) -> dict[str, Library]:
    """Return the shared libraries of a built package, by path."""
    found = {}
    with tarfile.open(archive, "r:") as members:
        for member in members:
            file = members.extractfile(member) if member.isfile() and _SHARED.fullmatch(member.name) else None
            if file and (row := elf.read(io.BytesIO(file.read()))):
                found[member.name] = row
    return found
