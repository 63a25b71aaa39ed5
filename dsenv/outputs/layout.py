"""What a list of recipes puts down by itself, as values: the tree of files, the texts, the variables.

Making an environment writes this; proving one compares with it.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsenv import tree as trees
from dsenv.errors import DsenvError
from dsenv.steps import Derive, Link, PrependPath, SearchPath, SetEnv, Unpack, Write
from dsenv.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dsenv.pins import Artifact
    from dsenv.steps import Place, Recipe, Step
    from dsenv.tree import Tree

Variables = dict[str, str | list[str] | None]
"""A variable's value, its directories if it is a path, or ``None`` if it is to be unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Files below a place's root, and texts below its prefix."""

    root: Tree
    places: Mapping[str, Path]  # where the content of a file of the root lies, for those that are unpacked
    derived: Mapping[str, bytes]  # the content of the others
    texts: Mapping[str, tuple[bytes, int]]  # by absolute path: content and mode


def lay_out(recipes: Sequence[Recipe], unpacked: Callable[[Artifact], tuple[Tree, Path]]) -> Layout:
    """Return what the steps of ``recipes`` put down.

    Args:
        recipes: In the order of installation.
        unpacked: Returns the tree of an artifact and where its files lie.

    """
    steps = [step for recipe in recipes for step in recipe.steps]
    artifacts = [step.artifact for step in steps if isinstance(step, Unpack)]
    with ThreadPoolExecutor(trees.WORKERS) as pool:
        tree, places = trees.merge(pool.map(unpacked, artifacts))
    derived: dict[str, bytes] = {}
    for step in steps:
        if isinstance(step, Derive):
            content = _derive(step, tree, places, derived)
            derived[step.path] = content
            tree[step.path] = Entry(
                kind="file", mode=tree[step.source].mode, content=hashlib.sha256(content).hexdigest(),
                owner=f"derived from {step.source} of {tree[step.source].owner}",
            )
        elif isinstance(step, Link):
            target = posixpath.relpath(step.target, posixpath.dirname(step.path))
            tree[step.path] = Entry(kind="link", mode=0o777, content=target, owner="the locked alternatives")
    texts = {step.path: (step.text.encode(), step.mode) for step in steps if isinstance(step, Write)}
    return Layout(root=trees.relocate(tree), places=places, derived=derived, texts=texts)


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


def _derive(step: Derive, tree: Tree, places: Mapping[str, Path], derived: Mapping[str, bytes]) -> bytes:
    if step.source not in tree or tree[step.source].kind != "file":
        raise DsenvError(f"the locked packages do not bring /{step.source}, which the environment needs")
    if step.source in derived:
        content = derived[step.source]
    else:
        content = (places[step.source] / step.source).read_bytes()
        if hashlib.sha256(content).hexdigest() != tree[step.source].content:
            raise DsenvError(f"{places[step.source] / step.source} in the store is damaged")
    text = content.decode()
    for old, new in step.replacements:
        if old not in text:
            raise DsenvError(f"/{step.source} of {tree[step.source].owner} does not say {old.strip()!r}")
        text = text.replace(old, new)
    return text.encode()
