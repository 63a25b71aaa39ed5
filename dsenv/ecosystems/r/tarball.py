"""Source packages as files: a tarball is read member by member, and judged, before anything of it is believed.

Its *content hash* is over its files without what repacking changes: CRAN replaces tarballs in place, and repository
managers write themselves into DESCRIPTION, without another version. ``MD5`` and ``build/`` are made by ``R CMD build``.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import posixpath
import tarfile
import zlib
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Final

from dsenv import tree as trees
from dsenv.errors import IntegrityError
from dsenv.formats import deb822
from dsenv.pins import digest
from dsenv.tree import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact
    from dsenv.store import Store

VOLATILE: Final = frozenset({"Packaged", "Date/Publication", "Repository", "Built", "Author", "Maintainer"})
_VOLATILE_PREFIX: Final = "X-CRAN-"
_READ: Final = "examined1"  # names this way of reading in the store's keys
_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a source tarball holds."""

    description: Stanza
    content: str  # the content hash
    md5: str  # of the tarball's bytes
    compiles: bool  # whether it has code to compile


def examine(artifact: Artifact, store: Store, root: str | None = None) -> Examined:
    """Read a stored tarball, once for all locks.

    Args:
        artifact: The tarball.
        store: Where it lies.
        root: The directory in it that is the package, "" for its top; ``None`` for the only one at its top.

    Raises:
        IntegrityError: It is no source package, or holds what could lead outside of it.

    """

    def build(path: Path) -> None:
        path.write_text(json.dumps(asdict(_examine(store.read_checked(artifact), artifact.filename, root))), "utf-8")

    key = digest([store.path(artifact).name, _READ, root])
    return Examined(**json.loads(store.built(key, "examined.json", build).read_text("utf-8")))


def differences(one: Path, other: Path, filename: str) -> tuple[list[str], list[str]]:
    """Return what differs between two tarballs: of what the content hash is over, and of what it leaves out.

    Both are paths below the package's directory; DESCRIPTION's fields stand for themselves.
    """
    held, found = (_read(path, filename) for path in (one, other))
    pairs = [
        ({**files, **{f"DESCRIPTION {key}": value for key, value in fields.items()}}) for files, fields in (held, found)
    ]
    names = sorted(name for name in {*pairs[0], *pairs[1]} if pairs[0].get(name) != pairs[1].get(name))
    harmless = [name for name in names if _is_made(name) or is_volatile(name.removeprefix("DESCRIPTION "))]
    return [name for name in names if name not in harmless], harmless


def is_volatile(field: str) -> bool:
    """Say whether repacking changes a field of DESCRIPTION."""
    return field in VOLATILE or field.startswith(_VOLATILE_PREFIX)


def _is_made(name: str) -> bool:
    return name == "MD5" or name.startswith("build/")


def _examine(path: Path, filename: str, root: str | None) -> Examined:
    found, description = _read(path, filename, root)
    steady = sorted((field, deb822.one_line(value)) for field, value in description.items() if not is_volatile(field))
    content = digest([steady, sorted(item for item in found.items() if not _is_made(item[0]))])
    has_code = any(name.startswith("src/") for name in found)
    compiles = description.get("NeedsCompilation", "yes" if has_code else "no").lower() == "yes"
    return Examined(description=description, content=content, md5=trees.file_md5(path), compiles=compiles)


def _read(path: Path, filename: str, root: str | None = None) -> tuple[dict[str, str], Stanza]:
    """Return the digest of each file but DESCRIPTION, by its path below the package's directory, and DESCRIPTION."""
    with reading(filename):
        found, description = _files(path, filename, root)
    if description is None:
        raise IntegrityError(f"{filename} is no R package: it holds no DESCRIPTION")
    return found, description


@contextlib.contextmanager
def reading(filename: str) -> Iterator[None]:
    """Turn what goes wrong with an archive into an ``IntegrityError``."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise IntegrityError(f"{filename} is damaged, or no tarball", cause=str(error)) from error


def _files(path: Path, filename: str, root: str | None) -> tuple[dict[str, str], Stanza | None]:
    found: dict[str, str] = {}
    description: Stanza | None = None
    prefix = f"{root}/" if root else ""
    for name, member, archive in members(path, filename):
        if root is None and "/" in name:
            prefix = prefix or f"{name.partition('/')[0]}/"
            if not name.startswith(prefix):
                raise IntegrityError(f"{filename} is no R package: beside {prefix[:-1]} it holds {name}")
        if not name.startswith(prefix) or (root is None and not prefix):
            continue
        below = name.removeprefix(prefix)
        if member.issym():
            found[below] = f"link {member.linkname}"
        elif member.islnk():
            found[below] = found.get(_safe(member.linkname, filename).removeprefix(prefix), "")
        elif member.isfile() and below == "DESCRIPTION":
            file = archive.extractfile(member)
            description = parse_description(file.read() if file else b"")
        elif member.isfile():
            found[below] = f"{'x' if member.mode & 0o100 else '-'} {_sha256(archive, member)}"
    return found, description


def parse_description(content: bytes) -> Stanza:
    """Return a DESCRIPTION file's fields, in the encoding that it says it has."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # the only other encoding that CRAN has had in use
    return deb822.one_stanza(text)


def _sha256(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return trees.stream_sha256(file) if file else trees.content_sha256(b"")


def members(path: Path, filename: str) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each member of an archive with its safe path; raise ``IntegrityError`` for one that is none."""
    seen: set[str] = set()
    with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            name = _safe(member.name, filename)
            if not name:
                continue
            _check(member, name, seen, filename)
            seen.add(name)
            yield name, member, archive
        while stream.read(_CHUNK):  # to the end, where gzip has its checksum
            pass


def _opened(path: Path) -> gzip.GzipFile | IO[bytes]:
    """Open a file, without its compression where that is gzip: tarfile's own reader overlooks a missing end."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_gzip else path.open("rb")


def _check(member: tarfile.TarInfo, name: str, seen: set[str], filename: str) -> None:
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise IntegrityError(f"{filename} holds {name}, which is neither a file, a link nor a directory")
    if name in seen and not member.isdir():
        raise IntegrityError(f"{filename} holds {name} twice")
    if member.issym():
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        if member.linkname.startswith("/") or target.split("/")[0] == "..":
            raise IntegrityError(f"{filename} holds {name}, a link to {member.linkname!r}, which leads outside of it")
    if member.islnk() and _safe(member.linkname, filename) not in seen:
        raise IntegrityError(f"{filename} holds {name}, a link to {member.linkname!r}, which does not precede it")


def _safe(name: str, filename: str) -> str:
    try:
        return safe_path(name)
    except IntegrityError as error:
        raise IntegrityError(f"{filename} holds the path {name!r}, which leads outside of it") from error
