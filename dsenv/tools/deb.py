"""Read Debian packages (deb(5)) with the distribution's own ``dpkg-deb``.

Under a merged /usr, ``lib/x`` and ``usr/lib/x`` are one path.
"""

from __future__ import annotations

import contextlib
import tarfile
from typing import TYPE_CHECKING, Final

from dsenv.errors import IntegrityError
from dsenv.formats import deb822
from dsenv.tools import process, tar
from dsenv.tree import Tree, merged, safe_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNPACKED: Final = "deb1"  # names this way of unpacking in the store's keys


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
def _tar(path: Path, part: str = "--fsys-tarfile") -> Iterator[tarfile.TarFile]:
    with process.pipe([_dpkg_deb(), part, str(path)]) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|", format=tarfile.GNU_FORMAT) as archive:
                yield archive
        except tarfile.TarError as error:
            raise IntegrityError(f"{path} is not a readable Debian package", cause=str(error)) from error


def _dpkg_deb() -> str:
    return process.require("dpkg-deb", hint="Debian packages can be unpacked on Debian and its derivatives only.")
