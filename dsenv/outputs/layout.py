"""What a list of recipes puts down by itself, as values: the tree of files, the texts, the variables.

Making an environment writes this; proving one compares with it.
"""

from __future__ import annotations

import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsenv import tree as trees
from dsenv.errors import DsenvError, IntegrityError
from dsenv.outputs import merge
from dsenv.pins import Artifact
from dsenv.steps import Dereference, Derive, Link, PrependPath, SearchPath, SetEnv, Unpack, Write
from dsenv.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dsenv.steps import Input, Place, Recipe, Step
    from dsenv.store import Store
    from dsenv.tree import Content, Tree

Variables = dict[str, str | list[str] | None]
"""A variable's value, its directories if it is a path, or ``None`` if it is to be unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Files below a place's root and in directories of their own, and texts elsewhere below its prefix."""

    root: Tree
    places: Mapping[str, Content]  # what each file of the root holds
    beside: Mapping[str, tuple[Tree, Path]]  # by absolute path: an archive's tree, and where its files lie
    texts: Mapping[str, tuple[bytes, int]]  # by absolute path: content and mode


def lay_out(recipes: Sequence[Recipe], place: Place, unpacked: Callable[[Artifact], tuple[Tree, Path]]) -> Layout:
    """Return what the steps of ``recipes`` put down.

    Args:
        recipes: In the order of installation.
        place: The one that they were made for.
        unpacked: Returns the tree of an artifact and where its files lie.

    """
    steps = [step for recipe in recipes for step in recipe.steps]
    archives = [step for step in steps if isinstance(step, Unpack)]
    texts = {step.path: (step.text.encode(), step.mode) for step in steps if isinstance(step, Write)}
    # A text among the packages' files is one of them, so that none is written through a link that a package brings.
    root = f"{place.root}/"
    inner = {path.removeprefix(root): texts.pop(path) for path in [*texts] if place.root and path.startswith(root)}
    own = {path: text_entry(content, mode) for path, (content, mode) in inner.items()}
    with ThreadPoolExecutor(trees.WORKERS) as pool:
        found = list(zip(archives, pool.map(lambda archive: unpacked(archive.artifact), archives), strict=True))
    for archive, (brought, _) in found:
        _check_owner(archive, brought)
    beside = {archive.directory: laid for archive, laid in found if archive.directory}
    among = [laid for archive, laid in found if not archive.directory]
    tree, places = merge.merge([*among, (own, Path(place.root))])
    places.update({path: content for path, (content, _) in inner.items()})
    for step in steps:
        if isinstance(step, Derive):
            places[step.path], tree[step.path] = _derive(step, tree, places)
        elif isinstance(step, Link):
            path = trees.safe_path(step.path)  # maintainer scripts say it
            target = posixpath.relpath(step.target, posixpath.dirname(path))
            tree[path] = Entry(kind="link", mode=0o777, content=target, owner="dsenv")
    for step in steps:
        if isinstance(step, Dereference):
            merge.dereference(tree, places, step.below)
    return Layout(root=merge.relocate(tree), places=places, beside=beside, texts=texts)


def _check_owner(package: Unpack, brought: Tree) -> None:
    says = next((entry.owner for entry in brought.values()), package.owner)
    if package.owner not in {"", says}:
        raise IntegrityError(
            f"{package.artifact.filename} is {says}, and the lock says that it is {package.owner}",
            hint="The lock was edited by hand: get it from version control, or run `dsenv lock --upgrade`.",
        )


def text_entry(content: bytes, mode: int) -> Entry:
    """Return the entry of a text that a step writes."""
    return Entry(kind="file", mode=mode, content=trees.content_sha256(content), owner="dsenv")


def checked(item: Input, store: Store) -> Content:
    """Return what a recipe's input holds, checked again.

    Raises:
        IntegrityError: It is not what was locked, or made.

    """
    if isinstance(item.source, str):
        return item.source.encode()
    if isinstance(item.source, Artifact):
        return store.read_checked(item.source)
    if item.sha256 and trees.file_sha256(item.source) != item.sha256:
        raise IntegrityError(
            f"{item.name} in the store is damaged ({item.source})",
            hint="Delete it, then run the command again: it is made anew from the locked artifacts.",
        )
    return item.source


def variables(steps: Sequence[Step], place: Place, root: Tree) -> Variables:
    """Return what ``steps`` set, given the tree that lies below the place's root."""
    found: Variables = {}
    for step in steps:
        if isinstance(step, SetEnv):
            found[step.name] = step.value
        elif isinstance(step, PrependPath):
            found[step.name] = [*step.directories, *_directories(found.get(step.name))]
        elif isinstance(step, SearchPath):
            pattern = re.compile(step.pattern)
            matches = {posixpath.dirname(path) for path in root if pattern.fullmatch(path)}
            directories = [f"{place.root}/{path}" for path in sorted(matches)]
            if directories:
                found[step.name] = [*_directories(found.get(step.name)), *directories]
    return found


def existing(values: Variables) -> Variables:
    """Return ``values`` without directories that do not exist."""
    return {
        name: [directory for directory in value if Path(directory).is_dir()] if isinstance(value, list) else value
        for name, value in values.items()
    }


def applied(values: Variables, to: Mapping[str, str]) -> dict[str, str]:
    """Return the process environment ``to`` with variables set: PATH goes on with its own, other paths do not."""
    result = dict(to)
    for name, value in values.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, str):
            result[name] = value
        else:
            own = [to[name]] if name == "PATH" and to.get(name) else []
            result[name] = ":".join([*value, *own])
    return result


def _directories(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else []


def _derive(step: Derive, tree: Tree, places: Mapping[str, Content]) -> tuple[bytes, Entry]:
    origin = tree.get(step.source)
    if origin is None or origin.kind != "file":
        raise DsenvError(f"the locked packages do not bring /{step.source}, which the environment needs")
    content = places[step.source]
    if isinstance(content, Path):
        path = content
        content = path.read_bytes() if path.is_file() else b""
        if trees.content_sha256(content) != origin.content:
            raise trees.DamagedTreeError(path, origin)
    text = content.decode()
    for old, new in step.replacements:
        if old not in text:
            raise DsenvError(f"/{step.source} of {origin.owner} does not say {old.strip()!r}")
        text = text.replace(old, new)
    derived = text.encode()
    owner = f"derived from {step.source} of {origin.owner}"
    return derived, Entry(kind="file", mode=origin.mode, content=trees.content_sha256(derived), owner=owner)
