"""Read tar archives member by member, whoever packed them.

Members are checked one by one before anything is written: no path leads outside, nothing but files, links and
directories exists, and no path comes twice or lies below what is no directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shutil
import tarfile
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dsenv.errors import IntegrityError
from dsenv.tree import SPECIAL_BITS, Entry, Tree, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNPACKED: Final = "tar1"  # names this way of unpacking in the store's keys
_CHUNK: Final = 1 << 18


def unpack(path: Path, destination: Path, owner: str) -> Tree:
    """Write what the one directory of an archive holds below an empty directory, and return its tree.

    A link that leads out of it is refused.

    Args:
        path: The archive, whatever it is compressed with.
        destination: An empty directory.
        owner: What to call the archive, in entries and errors.

    """
    with _opened(path, owner) as archive:
        return write_all(archive, destination, owner=owner, name=_below_first, inside=True)


def entries(path: Path, owner: str) -> Tree:
    """Return the tree that ``unpack`` would write, read and hashed from the archive itself."""
    with _opened(path, owner) as archive:
        return read_all(archive, owner=owner, name=_below_first, inside=True)


def write_all(
    archive: tarfile.TarFile, destination: Path, *, owner: str, name: Callable[[str], str], inside: bool = False
) -> Tree:
    """Write an open archive's files below an empty directory and return their tree.

    The returned modes are the archive's own; on disk no file is set-user-id, and links are in the tree alone.

    Args:
        archive: Open, at its beginning.
        destination: An empty directory.
        owner: Whose files they are, for the entries and for errors: "jq 1.6-2.1".
        name: Returns a member's path in the tree, empty to leave it out.
        inside: Whether a link that leads out of the tree is refused.

    """
    tree: Tree = {}
    made: set[str] = set()

    def directory(path: str) -> None:
        if path and path not in made:
            (destination / path).mkdir(parents=True, exist_ok=True)
            made.add(path)

    def write(path: str, entry: Entry, blocks: Iterator[bytes]) -> None:
        directory(path if entry.kind == "directory" else posixpath.dirname(path))
        if entry.kind == "file":
            with (destination / path).open("xb") as file:
                for block in blocks:
                    file.write(block)
                os.fchmod(file.fileno(), (entry.mode | 0o600) & ~SPECIAL_BITS)

    def link(path: str, original: str) -> None:
        directory(posixpath.dirname(path))
        shutil.copyfile(destination / original, destination / path)

    for path, entry in _members(archive, owner, name, write, link):
        tree[path] = _checked(path, entry) if inside else entry
    return tree


def read_all(archive: tarfile.TarFile, *, owner: str, name: Callable[[str], str], inside: bool = False) -> Tree:
    """Return the tree of an open archive; the arguments are those of ``write_all``."""

    def read(_path: str, _entry: Entry, blocks: Iterator[bytes]) -> None:
        for _ in blocks:
            pass

    found = _members(archive, owner, name, read, lambda _path, _original: None)
    return {path: _checked(path, entry) if inside else entry for path, entry in found}


def _members(
    archive: tarfile.TarFile,
    owner: str,
    name: Callable[[str], str],
    write: Callable[[str, Entry, Iterator[bytes]], None],
    link: Callable[[str, str], None],
) -> Iterator[tuple[str, Entry]]:
    """Walk the archive once; hand each member's content to ``write`` and yield its entry."""
    seen: Tree = {}
    directories: set[str] = set()  # those that are members, and those that hold one
    for member in archive:
        path = name(member.name)
        if not path or (member.issym() and member.linkname.strip("/") == path):
            continue  # base-files of trixie brings the link /lib -> usr/lib, which is what a merged /usr is
        if not _fits(path, member, seen, directories):
            raise IntegrityError(f"{owner} brings {path} twice, or below a path that is no directory")
        if member.islnk():
            original = name(member.linkname)
            if seen.get(original, Entry(kind="directory")).kind != "file":
                raise IntegrityError(f"{owner}: {path} is a link to {original}, which does not precede it")
            entry = seen[original]
            link(path, original)
        else:
            entry = _entry(archive, member, path, owner, write)
        seen[path] = entry
        yield path, entry


def _fits(path: str, member: tarfile.TarInfo, seen: Tree, directories: set[str]) -> bool:
    """Say whether a member is the first of its name and lies in directories only; note those."""
    parent = path if member.isdir() else posixpath.dirname(path)
    while parent and parent not in directories:
        if parent in seen:
            return False
        directories.add(parent)
        parent = posixpath.dirname(parent)
    return member.isdir() or (path not in seen and path not in directories)


def _entry(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: str,
    owner: str,
    write: Callable[[str, Entry, Iterator[bytes]], None],
) -> Entry:
    mtime = int(member.mtime)
    if member.issym():
        if "\0" in member.linkname or not member.linkname:
            raise IntegrityError(f"{owner}: {path} is a broken link")
        entry = Entry(kind="link", mode=0o777, content=member.linkname, mtime=mtime, owner=owner)
        write(path, entry, iter(()))
    elif member.isdir():
        entry = Entry(kind="directory", mode=member.mode, mtime=mtime, owner=owner)
        write(path, entry, iter(()))
    elif member.isfile():
        sha256 = hashlib.sha256()
        unhashed = Entry(kind="file", mode=member.mode, mtime=mtime, owner=owner)
        write(path, unhashed, _blocks(archive, member, sha256.update))
        entry = Entry(kind="file", mode=member.mode, content=sha256.hexdigest(), mtime=mtime, owner=owner)
    else:
        raise IntegrityError(f"{owner}: {path} is neither a file, a link nor a directory")
    return entry


def _blocks(archive: tarfile.TarFile, member: tarfile.TarInfo, update: Callable[[bytes], None]) -> Iterator[bytes]:
    file = archive.extractfile(member)
    while file and (block := file.read(_CHUNK)):
        update(block)
        yield block


def _checked(path: str, entry: Entry) -> Entry:
    """Return an entry that can do no harm: a link stays in the tree, and no file is set-user-id."""
    if entry.kind == "link":
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.content))
        if entry.content.startswith("/") or target.split("/")[0] == "..":
            raise IntegrityError(f"{entry.owner}: {path} is a link to {entry.content}, which leads outside")
    return replace(entry, mode=entry.mode & ~SPECIAL_BITS)


def _below_first(member: str) -> str:
    """Return a member's path below the archive's one directory: ``bin/python3`` of ``python/bin/python3``."""
    return safe_path(member).partition("/")[2]


@contextlib.contextmanager
def _opened(path: Path, owner: str) -> Iterator[tarfile.TarFile]:
    """Open an archive; raise ``IntegrityError`` when it cannot be read."""
    try:
        with tarfile.open(path, mode="r|*") as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{owner} is not a readable archive", cause=str(error)) from error
