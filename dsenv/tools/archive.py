"""Trees of sources as one archive, always in the same bytes: the sha256 of such a tar says what the tree holds.

A plain tar, sorted by path, with nothing of who made it, where and when; directories are there by what lies in them.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dsenv import tree
from dsenv.errors import DsenvError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BLOCK: Final = 512  # bytes; a tar's unit
_MODES: Final = {"file": 0o644, "program": 0o755, "link": 0o777}
_CACHES: Final = ("__pycache__", ".git", ".hg", ".svn", ".venv", ".dsenv", ".tox", ".nox", "node_modules")
_MORE_CACHES: Final = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints", ".DS_Store")
_LEFT_BEHIND: Final = ("build", "dist")  # by builds, at the top of a source
_OWN: Final = ("dsenv.toml", "dsenv.lock", "pylock.toml", "pylock.build.toml", "renv.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One path of a source."""

    path: str
    kind: Literal["file", "program", "link"]
    content: bytes | Path  # a link's is its target


def pack(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the tar of a source in pieces.

    Raises:
        IntegrityError: A path or a link leads outside of it.

    """
    for member in sorted(members, key=lambda member: member.path):
        path = tree.safe_path(member.path)
        content = member.content if isinstance(member.content, bytes) else member.content.read_bytes()
        info = tarfile.TarInfo(path)
        info.mode = _MODES[member.kind]
        if member.kind == "link":
            info.type, info.linkname, content = tarfile.SYMTYPE, _safe_target(path, content), b""
        info.size = len(content)
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield content
        yield b"\0" * (-len(content) % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


def members(directory: Path) -> Iterator[Member]:
    """Yield what belongs to the source in a directory: not what tools, version control and builds leave there."""
    for path, status in tree.walk(directory, skip=_is_left_behind):
        if stat.S_ISLNK(status.st_mode):
            target = (directory / path).readlink()
            yield Member(path=path, kind="link", content=str(target).encode("utf-8", "surrogateescape"))
        elif stat.S_ISREG(status.st_mode):
            kind: Literal["file", "program"] = "program" if status.st_mode & stat.S_IXUSR else "file"
            yield Member(path=path, kind=kind, content=directory / path)
        elif not stat.S_ISDIR(status.st_mode):
            raise DsenvError(f"{directory / path} is neither a file, a link nor a directory")


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a source as it is kept: a file as it is, a directory as its tar."""
    if path.is_dir():
        yield from pack(members(path))
    else:
        yield path.read_bytes()


def state(path: Path) -> str:
    """Return the sha256 of a source as it is kept."""
    sha256 = hashlib.sha256()
    for piece in pieces(path):
        sha256.update(piece)
    return sha256.hexdigest()


def _is_left_behind(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    if re.fullmatch(r"src/[^/]+\.(?:o|so|dll)|.+\.Rcheck|\.Rproj\.user|\.Rhistory|\.RData", path):
        return True  # by R
    if name in _CACHES or name in _MORE_CACHES or name.endswith((".pyc", ".egg-info")):
        return True
    return not directory and name in {*_LEFT_BEHIND, *_OWN}


def _safe_target(path: str, content: bytes) -> str:
    """Return a link's target; raise ``IntegrityError`` when it leads out of the source."""
    target = content.decode("utf-8", "surrogateescape")
    depth = path.count("/")
    for part in target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0 or target.startswith("/"):
            raise IntegrityError(f"the source holds a link {path} to {target}, which leads outside of it")
    return target
