"""Read Debian packages (deb(5)) with the distribution's own ``dpkg-deb``.

Members are checked one by one before anything is written: no path leads outside, nothing but files, links and
directories exists. Bookworm and later have a merged /usr, so ``lib/x`` and ``usr/lib/x`` are one path here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Final

from dsenv.errors import IntegrityError
from dsenv.formats import deb822
from dsenv.tools import process
from dsenv.tree import SPECIAL_BITS, Entry, Tree, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNPACKED: Final = "deb1"  # names this way of unpacking in the store's keys
_MERGED: Final = ("bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin")
_CHUNK: Final = 1 << 18


def control(path: Path) -> deb822.Stanza:
    """Return the control fields of a package."""
    return deb822.one_stanza(process.run([_dpkg_deb(), "--field", str(path)]).stdout)


def control_text(path: Path) -> str:
    """Return the control stanza of a package as it stands, ending with a newline."""
    return process.run([_dpkg_deb(), "--field", str(path)]).stdout.rstrip("\n") + "\n"


def script(path: Path, name: str) -> str:
    """Return a maintainer script, such as ``postinst``, or nothing when the package has none."""
    completed = process.run([_dpkg_deb(), "--info", str(path), name], codes=None)
    return completed.stdout if completed.code == 0 else ""


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
        directory(name if entry.kind == "directory" else os.path.dirname(name))  # noqa: PTH120 - text, not a file
        if entry.kind == "file":
            with (destination / name).open("xb") as file:
                for block in blocks:
                    file.write(block)
                os.fchmod(file.fileno(), (entry.mode | 0o600) & ~SPECIAL_BITS)

    def link(name: str, original: str) -> None:
        directory(os.path.dirname(name))  # noqa: PTH120
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
    with _tar(path) as archive:
        for member in archive:
            name = _name(member.name)
            if not name:
                continue
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
    path = safe_path(member.removeprefix("./"))
    return f"usr/{path}" if path.partition("/")[0] in _MERGED else path


@contextlib.contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    with process.pipe([_dpkg_deb(), "--fsys-tarfile", str(path)]) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|", format=tarfile.GNU_FORMAT) as archive:
                yield archive
        except tarfile.TarError as error:
            raise IntegrityError(f"{path} is not a readable Debian package", cause=str(error)) from error


def _dpkg_deb() -> str:
    return process.require("dpkg-deb", hint="Debian packages can be unpacked on Debian and its derivatives only.")
