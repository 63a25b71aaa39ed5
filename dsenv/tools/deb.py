"""Read Debian packages (deb(5)): their files with the distribution's own ``dpkg-deb``, where there is one.

What they say of themselves is small: it is read here, without a program for each package.

Under a merged /usr, ``lib/x`` and ``usr/lib/x`` are one path.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tarfile
from io import BytesIO
from typing import IO, TYPE_CHECKING, Final

from dsenv.errors import IntegrityError, ToolError
from dsenv.formats import deb822
from dsenv.tools import process, tar
from dsenv.tree import Tree, merged, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MAGIC: Final = b"!<arch>\n"
_HEAD: Final = 60  # bytes before each member (ar(5)): 16 of name, 12 of time, from the 48th on 10 of size
_ZSTD: Final = (3, 14)  # the first Python that reads it
UNPACKED: Final = "deb1"  # names this way of unpacking in the store's keys


def control(path: Path) -> deb822.Stanza:
    """Return the control fields of a package."""
    return deb822.one_stanza(control_text(path))


def control_text(path: Path) -> str:
    """Return the control stanza of a package as it stands, ending with a newline."""
    return script(path, "control").rstrip("\n") + "\n"


def script(path: Path, name: str) -> str:
    """Return a maintainer script, such as ``postinst``, or nothing when the package has none."""
    with _tar(path, "control") as archive:
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
        head = file.read(len(_MAGIC) + _HEAD)
    try:
        return int(head[24:36])
    except ValueError as error:
        raise IntegrityError(f"{path} is not a Debian package") from error


def unpack(path: Path, destination: Path) -> Tree:
    """Write a package's files below an empty directory and return their tree.

    The returned modes are the package's own; on disk no file is set-user-id.
    """
    owner = _owner(path)
    with _tar(path) as archive:
        return tar.write_all(archive, destination, owner=owner, name=_name)


def entries(path: Path) -> Tree:
    """Return the tree of a package, read and hashed from the archive itself."""
    owner = _owner(path)
    with _tar(path) as archive:
        return tar.read_all(archive, owner=owner, name=_name)


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


def _owner(path: Path) -> str:
    """Return what a package says that it is: ``jq 1.6-2.1``."""
    package = control(path)
    return f"{package.get('Package', path.name)} {package.get('Version', '')}".strip()


def _name(member: str) -> str:
    """Return a member's path under a merged /usr: ``./lib/x`` is ``usr/lib/x``."""
    return merged(safe_path(member.removeprefix("./")))


@contextlib.contextmanager
def _tar(path: Path, part: str = "data") -> Iterator[tarfile.TarFile]:
    """Yield the archive of a package's files, or of its ``control`` part."""
    with _stream(path, part) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|*", format=tarfile.GNU_FORMAT) as archive:
                yield archive
        except tarfile.TarError as error:
            raise IntegrityError(f"{path} is not a readable Debian package", cause=str(error)) from error


def _stream(path: Path, part: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    program = process.find("dpkg-deb")
    if part == "control" or not program:
        name, content = _member(path, part)
        if not name.endswith(".zst") or sys.version_info >= _ZSTD:
            return BytesIO(content)
        if not program:
            hint = "Install dpkg, or run dsenv on Python 3.14, to read it."
            raise ToolError(f"{path.name} is packed with zstd", hint=hint)
    return process.pipe([program, "--fsys-tarfile" if part == "data" else "--ctrl-tarfile", str(path)])


def _member(path: Path, part: str) -> tuple[str, bytes]:
    """Return a part of a package as it is packed: the name and content of a member of an ar archive."""
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        while len(head := file.read(_HEAD)) == _HEAD:
            name, size = (
                head[:16].decode("ascii", "replace").strip(" /"),
                head[48:58].decode("ascii", "replace").strip(),
            )
            if not size.isdecimal():
                break
            if name.startswith(f"{part}.tar"):
                return name, file.read(int(size))
            file.seek(int(size) + int(size) % 2, os.SEEK_CUR)
    raise IntegrityError(f"{path} is not a readable Debian package", cause=f"it has no {part}.tar")
