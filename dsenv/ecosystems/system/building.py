"""Which steps make the root that sources are built in: every locked package, unpacked, and no script run.

What maintainer scripts would have made and building needs comes from ``building.toml``, and from the scripts
themselves as far as they can be read: the shared names such as ``cc`` and ``awk``.
"""

from __future__ import annotations

import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystems.system.packages import alternatives
from dsenv.pins import digest
from dsenv.steps import Derive, Link, PrependPath, Recipe, SearchPath, SetEnv, Step, Unpack, Write
from dsenv.tools import deb
from dsenv.tree import WORKERS, merged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dsenv.ecosystems.system.pins import Package, Pins, Root
    from dsenv.pins import Artifact, Selection
    from dsenv.steps import Place
    from dsenv.store import Store

_MADE: Final = 1  # counts the ways in which a root was made so far
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
_PATH: Final = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin")
# Where what runs in place looks for what it cannot find at its own path.
_SEARCH: Final = (
    ("LD_LIBRARY_PATH", r"usr/lib/(?!R/(?:site-)?library/|python)(?:.+/)?lib[^/]+\.so(?:\.[^/]+)?"),
    ("CPATH", r"usr/include/(?:[^/]+-linux-gnu[^/]*/)?[^/]+\.h"),
    ("LIBRARY_PATH", r"usr/lib/[^/]+-linux-gnu[^/]*/lib[^/]+\.(?:so|a)"),
    ("PKG_CONFIG_LIBDIR", r"usr/(?:lib(?:/[^/]+)?|share)/pkgconfig/[^/]+\.pc"),
    ("PERL5LIB", r"usr/(?:share/perl5|share/perl/[^/]+|lib/[^/]+/perl5?/[^/]+)/[^/]+"),
)


def seen(pins: Pins, selection: Selection, names: Collection[str]) -> Pins:
    """Return the pins with the base, what a person asked for building, ``names``, and what all of them depend on."""
    root = pins.root(selection.target)
    if root is None:
        return pins
    rows = {row.name: row for row in root.packages}
    pending = [row.name for row in root.packages if row.base or (_is_for_building(row) and "requested" in row.why)]
    pending.extend(name for name in names if name in rows)
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending.extend(rows[name].dependencies)
    kept = tuple(row for row in root.packages if row.name in reached)
    narrowed = root.model_copy(update={"packages": kept})
    return pins.model_copy(update={"roots": {**pins.roots, str(selection.target): narrowed}})


def _is_for_building(row: Package) -> bool:
    return row.build or row.name.endswith("-dev")  # who has it among [system] packages need not name it twice


def workshop(pins: Pins, selection: Selection) -> object:
    """Return what the key of a workshop covers: all rows, the selected alternatives, and how a root is made."""
    root = pins.root(selection.target)
    if root is None:
        return None
    rows = [[package.name, package.version, package.sha256] for package in root.packages]
    return [_MADE, digest(_table()), str(selection.target), rows, sorted(root.alternatives.items())]


def recipe(pins: Pins, root: Root, place: Place, store: Store) -> Recipe:
    """Return the steps for a whole root below ``place.root``; its rows' artifacts are in the store."""
    names = {package.name for package in root.packages}
    files: list[Step] = [
        Unpack(artifact=pins.artifact(package), owner=f"{package.name} {package.version}") for package in root.packages
    ]
    files.extend(Link(path=name, target=f"usr/{name}") for name in _MERGED)
    files.extend(
        Link(path=merged(link.removeprefix("/")), target=merged(path.removeprefix("/")))
        for link, path in sorted(_alternatives(pins, root, store).items())
    )
    files.extend(Derive(source=row["source"], path=row["path"]) for row in _table()["copy"] if row["package"] in names)
    files.extend(
        Write(path=f"{place.root}/{row['path']}", text=row["text"].removeprefix("\n")) for row in _table()["file"]
    )
    return Recipe(
        name="system",
        title=f"{root.distribution} {root.codename}, {len(root.packages)} packages",
        steps=(*files, *_in_place(place)),
    )


def _in_place(place: Place) -> Iterable[Step]:
    """Return the variables for programs that run from the tree itself, where no namespace makes it their root."""
    yield PrependPath(name="PATH", directories=tuple(f"{place.root}/{path}" for path in _PATH))
    yield SetEnv(name="PKG_CONFIG_SYSROOT_DIR", value=place.root)
    for name, pattern in _SEARCH:
        yield SearchPath(name=name, pattern=pattern)


def _alternatives(pins: Pins, root: Root, store: Store) -> dict[str, str]:
    """Return the file that each shared name leads to: as locked, else as the packages' scripts would choose."""
    artifacts = map(pins.artifact, root.packages)
    with ThreadPoolExecutor(WORKERS) as pool:
        choices = [choice for found in pool.map(lambda item: _registered(item, store), artifacts) for choice in found]
    there = {choice.path for choice in choices}
    locked = {link: path for link, path in root.alternatives.items() if path in there}  # of what is seen here
    return alternatives.whole(choices, locked)


@cache  # roots share packages
def _registered(artifact: Artifact, store: Store) -> list[alternatives.Alternative]:
    return alternatives.parse(deb.script(store.read_checked(artifact), "postinst"))


def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("building.toml").read_text("utf-8"))
