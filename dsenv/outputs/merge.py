"""Trees laid over each other: packages become one root, whose links stay in it."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from dsenv.errors import DsenvError
from dsenv.tree import SPECIAL_BITS, merged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsenv.tree import Content, Tree

_LINKS: Final = 40  # as many as the kernel follows


def merge(trees: Iterable[tuple[Tree, Path]]) -> tuple[Tree, dict[str, Content]]:
    """Lay trees over each other, as packages share one root.

    Args:
        trees: Each tree with the directory that holds its files.

    Returns:
        The whole tree, and the content of each of its files.

    Raises:
        DsenvError: Two trees want different things at one path, or one of them a file below what is no directory.

    """
    whole: Tree = {}
    places: dict[str, Content] = {}
    for tree, directory in trees:
        for path, entry in tree.items():
            other = whole.get(path)
            if other and (other.kind, other.content) != (entry.kind, entry.content):
                raise _conflict(f"{other.owner} and {entry.owner} both bring /{path}, with different content")
            if other is None:
                whole[path] = entry
                places[path] = directory / path
    for path, entry in whole.items():
        parent = posixpath.dirname(path)
        while parent and parent not in whole:
            parent = posixpath.dirname(parent)
        if parent and whole[parent].kind != "directory":
            other = whole[parent]
            raise _conflict(f"{entry.owner} brings /{path}, and {other.owner} /{parent}, which is no directory")
    return whole, places


def _conflict(sentence: str) -> DsenvError:
    return DsenvError(sentence, hint="Only a full root file system can hold both: use `dsenv docker`.")


def relocate(tree: Tree) -> Tree:
    """Return ``tree`` as it may lie anywhere, owned by anyone.

    A link to a path of the tree becomes relative when it is absolute or relies on a merged /usr; one that leads to the
    system below stays. Set-user-id bits are dropped: outside of a root file system they would be a hole.
    """
    moved: Tree = {}
    for path, entry in tree.items():
        content = entry.content
        if entry.kind == "link":
            target = _leads_to(path, content)
            relies = content.startswith("/") or target != _joined(path, content)
            if relies and _through_links(tree, target) in tree:
                content = posixpath.relpath(f"/{target}", f"/{posixpath.dirname(path)}")
        moved[path] = replace(entry, mode=entry.mode & ~SPECIAL_BITS, content=content)
    return moved


def dereference(tree: Tree, places: dict[str, Content], below: str) -> None:
    """Replace each link below a directory that leads out of it by what it leads to.

    Args:
        tree: Changed in place.
        places: The content of its files; changed in place.
        below: The directory, with everything directly in it counting as a directory of its own.

    """
    original = dict(tree)
    depth = below.count("/") + 2

    def copy(path: str, source: str, around: frozenset[str]) -> None:
        target = _target(original, source)
        if target is None or target in around:
            return  # it leads nowhere, here as on a whole system, or to a directory that would come to hold itself
        tree[path] = original[target]
        if target in places:
            places[path] = places[target]
        for inner in children.get(target, ()):
            copy(f"{path}/{posixpath.basename(inner)}", inner, around | {target})

    children: dict[str, list[str]] = {}
    for path in original:
        children.setdefault(posixpath.dirname(path), []).append(path)
    for path, entry in original.items():
        if entry.kind == "link" and path.startswith(f"{below}/"):
            target = _target(original, path)
            own = "/".join(path.split("/")[:depth])
            if target is not None and target != own and not target.startswith(f"{own}/"):
                copy(path, target, frozenset(map(str, PurePosixPath(path).parents)))


def _target(tree: Tree, path: str) -> str | None:
    """Return the path that a link leads to in the end, or ``None`` when that is not in the tree."""
    for _ in range(_LINKS):
        entry = tree.get(path)
        if entry is None or entry.kind != "link":
            return path if entry else None
        path = _through_links(tree, _leads_to(path, entry.content))
    return None


def _joined(path: str, content: str) -> str:
    """Return the path that a link says, as it stands."""
    return posixpath.normpath(posixpath.join("/" + posixpath.dirname(path), content)).lstrip("/")


def _leads_to(path: str, content: str) -> str:
    """Return the path that a link means: that under a merged /usr."""
    return merged(_joined(path, content))


def _through_links(tree: Tree, path: str) -> str:
    """Return ``path`` with links among its parent directories followed."""
    for _ in range(_LINKS):
        parts = path.split("/")
        parents = ("/".join(parts[:length]) for length in range(1, len(parts)))
        link = next((parent for parent in parents if parent in tree and tree[parent].kind == "link"), None)
        if link is None:
            break
        path = _leads_to(link, tree[link].content) + path.removeprefix(link)
    return path
