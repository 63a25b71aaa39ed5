"""A tree of files as a value: every path with its kind, mode and content hash.

Trees are what dsenv unpacks, copies into an environment and compares in a proof. Paths are
relative, with ``/``, without ``.`` or ``..``. Bookworm and later have a merged /usr, so ``lib/x`` and ``usr/lib/x`` are
one path of a root.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import fcntl
import hashlib
import os
import posixpath
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, TypeVar

from dsenv.errors import DsenvError, IntegrityError, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")
Kind = Literal["file", "link", "directory"]
Content = Path | bytes
"""What a file of a tree holds: the bytes of another file, or these."""

SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID
_MERGED: Final = ("bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin")
_FICLONE: Final = 0x40049409  # linux/fs.h: share the blocks of another file
_CHUNK: Final = 1 << 20  # bytes
_SMALL: Final = 1 << 16  # bytes, the most of a file that is read before its size matters
_PIECE: Final = 20  # files that are read or written as one piece of work
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
WORKERS: Final = min(8, (os.cpu_count() or 1) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of a tree."""

    kind: Kind
    mode: int = 0o644  # permission bits, set-user-id and the like included; -1 for any
    content: str = ""  # a file's sha256; a link's target; "" for a directory
    mtime: int = 0  # seconds since 1970; never compared
    owner: str = ""  # what brought it: "libc6 2.36-9+deb12u14"; never compared


Tree = dict[str, Entry]
Known = dict[tuple[int, int, int, int], str]
"""Hashes of files, by device, inode, size and time."""


class DamagedTreeError(IntegrityError):
    """A file of an unpacked archive is not what was unpacked there."""

    def __init__(self, path: Path, entry: Entry) -> None:
        super().__init__(f"{path}, of {entry.owner}, is not what was unpacked there")
        self.path = path


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A path where a tree is not what it should be."""

    path: str
    what: Literal["missing", "unexpected", "changed", "mode"]
    owner: str = ""


def safe_path(path: str) -> str:
    """Return a member path of an archive as a tree's path; raise ``IntegrityError`` when it leads outside."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise IntegrityError(f"the archive holds the path {path!r}, which leads outside of it")
    return "/".join(parts)


def merged(path: str) -> str:
    """Return a path below / as it is under a merged /usr: ``lib/x`` is ``usr/lib/x``."""
    return f"usr/{path}" if path.partition("/")[0] in _MERGED else path


def scan(root: Path, *, skip: Callable[[str], bool] = lambda _: False, known: Known | None = None) -> Tree:
    """Read the tree below ``root``, hashing every file; devices and sockets raise ``DsenvError``.

    Args:
        root: A directory.
        skip: Whether to leave out a path (and what is below it).
        known: Files that were hashed a moment ago need not be again; added to.

    """
    found = sorted(walk(root, skip=skip), key=lambda item: item[0])
    return dict(zip((path for path, _ in found), entries(root, found, known), strict=True))


def entries(root: Path, found: Sequence[tuple[str, os.stat_result]], known: Known | None = None) -> Iterator[Entry]:
    """Yield the entry of each path of a ``walk``, hashing files several at once; ``known`` as in ``scan``."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        made = pool.map(
            lambda piece: [entry_of(f"{root}/{path}", status, known) for path, status in piece], _pieces(found)
        )
        for piece in made:
            yield from piece


def _pieces(items: Sequence[T]) -> list[Sequence[T]]:
    """Return work on many files in pieces: handing over each file by itself would take longer than the work."""
    return [items[at : at + _PIECE] for at in range(0, len(items), _PIECE)]


def walk(root: Path, *, skip: Callable[[str], bool] = lambda _: False) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every path below ``root`` with its ``lstat``; links are not followed."""
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(f"{root}/{directory}") as found:
            for entry in found:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if skip(path):
                    continue
                status = entry.stat(follow_symlinks=False)
                yield path, status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(path)


def entry_of(path: str, status: os.stat_result, known: Known | None = None) -> Entry:
    """Return the entry of one existing path, given its ``lstat``."""
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISREG(status.st_mode):
        sha256 = file_sha256(path) if known is None else _hash(path, status, known)
        return Entry(kind="file", mode=mode, content=sha256, mtime=int(status.st_mtime))
    if stat.S_ISLNK(status.st_mode):
        return Entry(kind="link", mode=0o777, content=str(Path(path).readlink()))
    if stat.S_ISDIR(status.st_mode):
        return Entry(kind="directory", mode=mode)
    raise DsenvError(f"{path} is neither a file, a link nor a directory")


def _hash(path: str, status: os.stat_result, known: Known) -> str:
    stamp = _stamp(status)
    if stamp not in known:
        known[stamp] = file_sha256(path)
    return known[stamp]


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def file_sha256(path: Path | str) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    sha256 = hashlib.sha256()
    with _opened(path, os.O_RDONLY) as reader:
        for chunk in _chunks(reader):
            sha256.update(chunk)
    return sha256.hexdigest()


def file_md5(path: Path) -> str:
    """Return the md5 of a file as hexadecimal digits: to be compared with what an index says, and no proof."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def stream_sha256(stream: IO[bytes]) -> str:
    """Return the sha256 of what is left in a stream as hexadecimal digits."""
    sha256 = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        sha256.update(chunk)
    return sha256.hexdigest()


def content_sha256(content: bytes) -> str:
    """Return the sha256 of bytes as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def compare(expected: Tree, actual: Tree) -> list[Difference]:
    """Return where ``actual`` is not ``expected``, sorted; directories count only where they are missing."""
    found = [
        Difference(path, "unexpected")
        for path, entry in actual.items()
        if path not in expected and entry.kind != "directory"
    ]
    for path, entry in expected.items():
        other = actual.get(path)
        if other is None:
            found.append(Difference(path, "missing", entry.owner))
        elif (other.kind, other.content) != (entry.kind, entry.content):
            found.append(Difference(path, "changed", entry.owner))
        elif entry.kind == "file" and entry.mode not in {-1, other.mode}:
            found.append(Difference(path, "mode", entry.owner))
    return sorted(found)


def materialise(
    tree: Tree,
    places: Mapping[str, Content],
    destination: Path,
    *,
    known: Known | None = None,
    share: bool = False,
) -> None:
    """Write ``tree`` below ``destination``, checking each file's hash on its way.

    Args:
        tree: What to write.
        places: The content of each file.
        destination: An existing directory that holds none of these paths.
        known: Hashes of files; those of the written ones are added.
        share: Whether files may be the very ones that hold the content (hard links), as nobody writes to the tree;
            those in ``known`` are not read again then.

    Raises:
        DamagedTreeError: A file's content is not the tree's.

    """
    destination.mkdir(parents=True, exist_ok=True)
    directories = {path for path, entry in tree.items() if entry.kind == "directory"}
    above = {posixpath.dirname(path) for path in tree} - {""}
    while above:
        directories |= above
        above = {posixpath.dirname(path) for path in above} - directories - {""}
    for path in sorted(directories):
        (destination / path).mkdir(mode=0o755, exist_ok=True)
    known = {} if known is None else known
    files = [(path, entry) for path, entry in tree.items() if entry.kind == "file"]

    def lay(piece: Sequence[tuple[str, Entry]]) -> None:
        for path, entry in piece:
            content, target = places[path], f"{destination}/{path}"
            if not (share and isinstance(content, Path) and _link(content, target, entry, known)):
                _write(content, target, entry, known)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(lay, _pieces(files)):
            pass
    for path, entry in tree.items():
        if entry.kind == "link":
            (destination / path).symlink_to(entry.content)


def replace_file(path: Path, content: bytes, *, mode: int | None = None, durable: bool = False) -> None:
    """Write a file aside and put it in place in one step: whoever reads it has the old one or the new one.

    Args:
        path: Where; a file that is there is replaced.
        content: All of it.
        mode: Its permission bits, if they are not to be what the umask leaves.
        durable: Whether it has reached the disk before it is put in place.

    """
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with writing(path):
        try:
            with aside.open("xb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if mode is not None:
                aside.chmod(mode)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def copy_file(source: Path, destination: Path) -> str:
    """Copy one file, by shared blocks where the file system can, and return the sha256 of its content."""
    with _opened(source, os.O_RDONLY) as reader, _opened(destination, _NEW) as writer:
        return _copy(reader, writer)


def _write(source: Content, destination: str, entry: Entry, known: Known) -> None:
    """Write a file of a tree."""
    with _opened(destination, _NEW) as writer:
        if isinstance(source, bytes):
            _write_all(writer, source)
        else:
            try:
                with _opened(source, os.O_RDONLY) as reader:
                    sha256 = _copy(reader, writer)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise DamagedTreeError(source, entry) from error
            if sha256 != entry.content:
                raise DamagedTreeError(source, entry)
        os.fchmod(writer, entry.mode)
        os.utime(writer, (entry.mtime, entry.mtime))
        known[_stamp(os.fstat(writer))] = entry.content


def _link(source: Path, destination: str, entry: Entry, known: Known) -> bool:
    """Let a file of a tree be its content's own, if that is what the tree says; say whether it is."""
    if not source.is_file() or _hash(str(source), source.lstat(), known) != entry.content:
        return False
    try:
        os.link(source, destination)
    except OSError as error:
        if error.errno in {errno.EMLINK, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV}:
            return False
        raise
    Path(destination).chmod(entry.mode)
    os.utime(destination, (entry.mtime, entry.mtime))
    known[_stamp(os.lstat(destination))] = entry.content
    return True


@contextlib.contextmanager
def _opened(path: Path | str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy(reader: int, writer: int) -> str:
    shared = _clone(reader, writer)
    sha256 = hashlib.sha256()
    for chunk in _chunks(reader):
        sha256.update(chunk)
        if not shared:
            _write_all(writer, chunk)
    return sha256.hexdigest()


def _chunks(reader: int) -> Iterator[bytes]:
    """Yield what is left of a file, with as few calls as can be: there are thousands."""
    size = _SMALL
    while chunk := os.read(reader, size):
        yield chunk
        size = _CHUNK if len(chunk) == size else _SMALL


def _write_all(writer: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:  # a disk that is nearly full takes a part
        rest = rest[os.write(writer, rest) :]


_no_clone: list[int] = []  # not empty once the file system said that it cannot


def _clone(reader: int, writer: int) -> bool:
    if _no_clone:
        return False
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EPERM}:
            _no_clone.append(1)
            return False
        raise
    return True


def remove(path: Path) -> None:
    """Delete a tree, its owner's read-only directories included; no link is followed, ``path`` itself neither.

    A path that does not exist is no fault.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(FileNotFoundError):
        found = [path]
        for directory in found:  # which grows meanwhile
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                directory.chmod(0o700)
            with os.scandir(directory) as entries:
                for entry in entries:
                    inner = Path(entry.path)
                    found.append(inner) if entry.is_dir(follow_symlinks=False) else inner.unlink()
        for directory in reversed(found):
            directory.rmdir()
