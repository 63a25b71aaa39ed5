"""Read Debian packages (deb(5)) with the distribution's own ``dpkg-deb``.

Members are checked one by one before anything is written: no path leads outside, nothing but files, links and
directories exists, and no path comes twice (under a merged /usr, ``lib/x`` and ``usr/lib/x`` are one).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shutil
import tarfile
from typing import TYPE_CHECKING, Final

from dsenv.errors import IntegrityError
from dsenv.formats import deb822
from dsenv.tools import process
from dsenv.tree import SPECIAL_BITS, Entry, Tree, merged, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNPACKED: Final = "deb1"  # names this way of unpacking in the store's keys
_CHUNK: Final = 1 << 18


def control(path: Path) -> deb822.Stanza:
    """Return the control fields of a package."""
    return deb822.one_stanza(process.run([_dpkg_deb(), "--field", str(path)]).stdout)


def control_text(path: Path) -> str:
    """Return the control stanza of a package as it stands, ending with a newline."""
    return process.run([_dpkg_deb(), "--field", str(path)]).stdout.rstrip("\n") + "\n"


def script(path: Path, name: str) -> str:
    """Return a maintainer script, such as ``postinst``, or nothing when the package has none."""
    with _tar(path, "--ctrl-tarfile") as archive:
        for member in archive:
            file = archive.extractfile(member) if safe_path(member.name) == name else None
            if file:
                return file.read().decode("utf-8", "replace")
    return ""


def built_at(path: Path) -> int:
    """Return when a package was built, in seconds since 1970.

    It is the time stamp of the archive's first member, which ``dpkg-deb`` takes from SOURCE_DATE_EPOCH; no file in
    the package is newer.
    """
    with path.open("rb") as file:
        head = file.read(8 + 60)  # the magic line, then the first ar header: 16 bytes of name, 12 of time
    try:
        return int(head[24:36])
    except ValueError as error:
        raise IntegrityError(f"{path} is not a Debian package") from error


def unpack(path: Path, destination: Path) -> Tree:
    """Write a package's files below an empty directory and return their tree.

    The returned modes are the package's own; on disk no file is set-user-id.
    """
    tree: Tree = {}
    made: set[str] = set()

    def directory(name: str) -> None:
        if name and name not in made:
            (destination / name).mkdir(parents=True, exist_ok=True)
            made.add(name)

    def write(name: str, entry: Entry, blocks: Iterator[bytes]) -> None:
        directory(name if entry.kind == "directory" else posixpath.dirname(name))
        if entry.kind == "file":
            with (destination / name).open("xb") as file:
                for block in blocks:
                    file.write(block)
                os.fchmod(file.fileno(), (entry.mode | 0o600) & ~SPECIAL_BITS)

    def link(name: str, original: str) -> None:
        directory(posixpath.dirname(name))
        shutil.copyfile(destination / original, destination / name)

    for name, entry in _members(path, write, link):
        tree[name] = entry
    return tree


def entries(path: Path) -> Tree:
    """Return the tree of a package, read and hashed from the archive itself."""

    def read(_name: str, _entry: Entry, blocks: Iterator[bytes]) -> None:
        for _ in blocks:
            pass

    return dict(_members(path, read, lambda _name, _original: None))


def read_files(path: Path, wanted: Callable[[str], bool], *, most: int) -> dict[str, bytes]:
    """Return the content of the first ``most`` files that are ``wanted``, by path."""
    found: dict[str, bytes] = {}
    with _tar(path) as archive:
        for member in archive:
            name = _name(member.name)
            if member.isfile() and wanted(name):
                file = archive.extractfile(member)
                found[name] = file.read() if file else b""
                if len(found) == most:
                    break
    return found


def _members(
    path: Path, write: Callable[[str, Entry, Iterator[bytes]], None], link: Callable[[str, str], None]
) -> Iterator[tuple[str, Entry]]:
    """Walk the archive once; hand each member's content to ``write`` and yield its entry."""
    package = control(path)
    owner = f"{package.get('Package', path.name)} {package.get('Version', '')}".strip()
    seen: Tree = {}
    directories: set[str] = set()  # those that are members, and those that hold one
    with _tar(path) as archive:
        for member in archive:
            name = _name(member.name)
            if not name or (member.issym() and member.linkname.strip("/") == name):
                continue  # base-files of trixie brings the link /lib -> usr/lib, which is what a merged /usr is
            if not _fits(name, member, seen, directories):
                raise IntegrityError(f"{owner} brings {name} twice, or below a path that is no directory")
            if member.islnk():
                original = _name(member.linkname)
                if seen.get(original, Entry(kind="directory")).kind != "file":
                    raise IntegrityError(f"{owner}: {name} is a link to {original}, which does not precede it")
                entry = seen[original]
                link(name, original)
            else:
                entry = _entry(archive, member, name, owner, write)
            seen[name] = entry
            yield name, entry


def _fits(name: str, member: tarfile.TarInfo, seen: Tree, directories: set[str]) -> bool:
    """Say whether a member is the first of its name and lies in directories only; note those."""
    path = name if member.isdir() else posixpath.dirname(name)
    while path and path not in directories:
        if path in seen:
            return False
        directories.add(path)
        path = posixpath.dirname(path)
    return member.isdir() or (name not in seen and name not in directories)


def _entry(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    name: str,
    owner: str,
    write: Callable[[str, Entry, Iterator[bytes]], None],
) -> Entry:
    mtime = int(member.mtime)
    if member.issym():
        if "\0" in member.linkname or not member.linkname:
            raise IntegrityError(f"{owner}: {name} is a broken link")
        entry = Entry(kind="link", mode=0o777, content=member.linkname, mtime=mtime, owner=owner)
        write(name, entry, iter(()))
    elif member.isdir():
        entry = Entry(kind="directory", mode=member.mode, mtime=mtime, owner=owner)
        write(name, entry, iter(()))
    elif member.isfile():
        sha256 = hashlib.sha256()
        unhashed = Entry(kind="file", mode=member.mode, mtime=mtime, owner=owner)
        write(name, unhashed, _blocks(archive, member, sha256.update))
        entry = Entry(kind="file", mode=member.mode, content=sha256.hexdigest(), mtime=mtime, owner=owner)
    else:
        raise IntegrityError(f"{owner}: {name} is neither a file, a link nor a directory")
    return entry


def _blocks(archive: tarfile.TarFile, member: tarfile.TarInfo, update: Callable[[bytes], None]) -> Iterator[bytes]:
    file = archive.extractfile(member)
    while file and (block := file.read(_CHUNK)):
        update(block)
        yield block


def _name(member: str) -> str:
    """Return a member's path under a merged /usr: ``./lib/x`` is ``usr/lib/x``."""
    return merged(safe_path(member.removeprefix("./")))


@contextlib.contextmanager
def _tar(path: Path, part: str = "--fsys-tarfile") -> Iterator[tarfile.TarFile]:
    with process.pipe([_dpkg_deb(), part, str(path)]) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|", format=tarfile.GNU_FORMAT) as archive:
                yield archive
        except tarfile.TarError as error:
            raise IntegrityError(f"{path} is not a readable Debian package", cause=str(error)) from error


def _dpkg_deb() -> str:
    return process.require("dpkg-deb", hint="Debian packages can be unpacked on Debian and its derivatives only.")
