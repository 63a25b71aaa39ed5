"""The steps for a project: a tree of the packages beyond the base, run from where it lies, and what it lacks.

No maintainer script runs. Shared names are linked as the scripts say; search paths, and lists that programs make of
their own files, are in ``search.toml``.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

from dsenv.ecosystems.system.distributions import MULTIARCH
from dsenv.ecosystems.system.packages import alternatives, scripts
from dsenv.steps import Link, PrependPath, Recipe, Run, SearchPath, SetEnv, Step, TruePaths, Unpack, Write
from dsenv.tools import deb
from dsenv.tree import WORKERS, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dsenv.ecosystems.system.pins import Package, Pins, Root
    from dsenv.pins import Target
    from dsenv.steps import Place
    from dsenv.store import Store
    from dsenv.tree import Tree

_PLACES: Final = re.compile(r"\{(root|url|cache)\}")  # of search.toml


def recipe(pins: Pins, root: Root, target: Target, place: Place, store: Store) -> Recipe:
    """Return the steps for a project's tree."""
    packages = [package for package in root.installed if not package.base]

    def read(package: Package) -> tuple[str, Tree]:
        artifact = pins.artifact(package)
        script = deb.script(store.read_checked(artifact), "postinst")
        return script, store.unpacked(artifact, deb.unpack, deb.UNPACKED)[0]

    with ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip((package.name for package in packages), pool.map(read, packages), strict=True))
    steps: list[Step] = [
        Unpack(artifact=pins.artifact(package), owner=f"{package.name} {package.version}") for package in packages
    ]
    links = _links(root, found) | _inward(found, made(found, target))
    steps.extend(Link(path=path, target=target) for path, target in sorted(links.items()))
    steps.append(
        PrependPath(
            name="PATH",
            directories=(
                f"{place.prefix}/bin",
                f"{place.root}/usr/bin",
                f"{place.root}/usr/sbin",
                f"{place.root}/usr/games",
            ),
        )
    )
    steps.extend(_search(root, place))
    steps.append(Write(path=f"{place.root}/var/lib/dpkg/status", text=_status(packages)))
    notes = [note for name, (script, tree) in found.items() for note in _notes(name, script, tree, links)]
    title = f"{root.distribution} {root.codename}, {len(packages)} packages"
    return Recipe(name="system", title=title, steps=tuple(steps), notes=tuple(notes))


def made(names: Iterable[str], target: Target) -> dict[str, str]:
    """Return what the environment's own programs make below the root, and why, given its packages.

    A path that ends in ``/`` stands for all files below it.
    """
    present = {*names}
    triplet = MULTIARCH[target.architecture]
    return {
        path.format(triplet=triplet): f"{row['package']}: {row['reason']}"
        for row in search_table()["made"]
        if row["package"] in present
        for path in row["files"]
    }


def _links(root: Root, found: dict[str, tuple[str, Tree]]) -> dict[str, str]:
    """Return what to link, by paths below the root: shared names, locked or as the scripts choose, and settings."""
    choices = [choice for script, _ in found.values() for choice in alternatives.parse(script, vague=True)]
    there = {merged(path) for _, tree in found.values() for path in tree}
    wanted = {
        merged(link.removeprefix("/")): merged(path.removeprefix("/"))
        for link, path in alternatives.whole(choices, root.alternatives).items()
    }
    locked = {merged(link.removeprefix("/")) for link in root.alternatives}
    links = {
        link: path
        for link, path in wanted.items()
        if link in locked or (link not in there and (path in there or path in wanted))
    }
    copies = {path: source for script, _ in found.values() for path, source in scripts.settings(script).items()}
    for path, source in copies.items():
        place, origin = merged(path.lstrip("/")), merged(source.lstrip("/"))
        if place not in there and origin in there:
            links[place] = origin
    return links


def _inward(found: dict[str, tuple[str, Tree]], made: Iterable[str]) -> dict[str, str]:
    """Return the packages' links to what is made only later; others that lead out of the tree are the machine's."""
    places = tuple(f"/{path}" for path in made)
    return {
        merged(path): merged(entry.content.lstrip("/"))
        for _, tree in found.values()
        for path, entry in tree.items()
        if entry.kind == "link" and entry.content.startswith(places)
    }


def _notes(name: str, script: str, tree: Tree, links: dict[str, str]) -> Iterable[str]:
    unmade = [link for link in alternatives.links(script) if merged(link.removeprefix("/")) not in links]
    # A package may register a name for which another one brings the file.
    unread = sorted(link for link in unmade if "$" in link)
    if unread:
        yield f"{name}: its maintainer script registers {', '.join(unread)}: use the image"
    yield from scripts.lacking(name, script, tree)


def _search(root: Root, place: Place) -> Iterable[Step]:
    """Return the steps that let programs find their files in the tree (``search.toml``)."""
    names = {package.name for package in root.installed}
    beyond = {package.name for package in root.installed if not package.base}
    for kind, make in _STEPS.items():
        present = beyond if make is _made else names  # what is made is made by a program of the tree
        for row in search_table()[kind]:
            if "package" not in row or row["package"] in present:
                yield from make(row, place)


def _path(row: dict[str, Any], _place: Place) -> Iterable[Step]:
    yield SearchPath(name=row["variable"], pattern=row["pattern"])


def _variable(row: dict[str, Any], place: Place) -> Iterable[Step]:
    for name, value in row["values"].items():
        yield SetEnv(name=name, value=_filled(value, place))


def _program(row: dict[str, Any], place: Place) -> Iterable[Step]:
    for name in row["names"]:
        text = f"#!/bin/sh\n# {name}: {row['reason']}\n{row['text'].strip()}\n"
        yield Write(path=f"{place.prefix}/bin/{name}", text=_filled(text, place, shlex.quote), mode=0o755)


def _file(row: dict[str, Any], place: Place) -> Iterable[Step]:
    path = f"{place.prefix}/{row['path']}"
    yield Write(path=path, text=_filled(row["text"].strip("\n"), place, escape) + "\n")
    yield SetEnv(name=row["variable"], value=path)


def _made(row: dict[str, Any], place: Place) -> Iterable[Step]:
    yield Run(argv=tuple(_filled(word, place) for word in row["argv"]))


def _enter(row: dict[str, Any], _place: Place) -> Iterable[Step]:
    yield TruePaths(programs=tuple(row["programs"]), reason=row["reason"])


def _filled(text: str, place: Place, quote: Callable[[str], str] = str) -> str:
    values = {"root": place.root, "url": PurePosixPath(place.root).as_uri(), "cache": place.cache}
    return _PLACES.sub(lambda match: quote(values[match[1]]), text)


_STEPS: Final = {
    "path": _path,
    "variable": _variable,
    "program": _program,
    "file": _file,
    "made": _made,
    "enter": _enter,
}


def _status(packages: Sequence[Package]) -> str:
    """Return dpkg's status file for what lies in a project's tree."""
    return "\n".join(
        f"Package: {row.name}\nStatus: install ok installed\nMaintainer: {row.source}\n"
        f"Architecture: {row.architecture}\nSource: {row.source} ({row.source_version})\nVersion: {row.version}\n"
        f"Description: locked by dsenv, unpacked into an environment\n"
        for row in packages
    )


@cache
def search_table() -> dict[str, Any]:
    """Return what programs of a tree need to find their files."""
    return tomllib.loads(resources.files(__package__).joinpath("search.toml").read_text("utf-8"))
