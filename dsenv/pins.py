"""The values that every ecosystem shares: what is locked, for whom, and who asked for it.

Nothing here knows an ecosystem, reads a file or starts a process.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A kind of machine that an environment is locked for, written ``linux-amd64``."""

    os: str  # "linux", "macos", "windows"
    architecture: str  # "amd64", "arm64"; for Linux these are Debian's own words

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``linux-amd64``; raise ``ValueError`` for anything that is not in ``TARGETS``."""
        if text not in TARGETS:
            msg = f"{text!r} is not a target"
            raise ValueError(msg)
        return cls(*text.split("-"))

    def __str__(self) -> str:
        return f"{self.os}-{self.architecture}"


TARGETS: Final = ("linux-amd64", "linux-arm64", "macos-amd64", "macos-arm64", "windows-amd64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file to download: the hash decides, any of the addresses may serve it."""

    filename: str  # "dplyr_1.1.4.tar.gz"; a plain name, never a path
    sha256: str  # 64 lower-case hexadecimal digits
    size: int | None = None  # bytes
    urls: tuple[str, ...] = ()  # in the order in which they are tried
    hint: str = ""  # what else to do where none of them serves it
    accepted: tuple[str, ...] = ()  # further hashes: other bytes that are as good
    agent: str = ""  # the User-Agent to ask as, where the answer depends on it

    def __post_init__(self) -> None:
        for sha256 in self.hashes:
            if not SHA256.fullmatch(sha256):
                msg = f"{self.filename}: {sha256!r} is not a sha256"
                raise ValueError(msg)
        if self.size is not None and self.size < 1:
            msg = f"{self.filename}: {self.size} is not a size"
            raise ValueError(msg)
        if "/" in self.filename or self.filename in {"", ".", ".."} or "\0" in self.filename:
            msg = f"{self.filename!r} is not a file name"
            raise ValueError(msg)

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes of which one has to be the file's."""
        return (self.sha256, *self.accepted)


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """A system package that something asked for."""

    name: str  # "libcurl4"
    version: str = ""  # "" for any, else exact or with a trailing ``*``
    why: str = "requested"  # "requested", "python", "r:curl", "py:lightgbm"
    build: bool = False  # whether only building takes it: it comes into the workshop, and into no environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """A system package that the lock holds, as the other ecosystems may see it."""

    name: str
    version: str
    artifact: Artifact
    dependencies: tuple[str, ...]  # names of other provided packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Who vouches for a locked package: a signed file that leads to its bytes."""

    target: str
    name: str
    version: str
    state: str  # "good"; "expired": signed by a key that was valid then; "unvouched"
    file: str  # its artifact in the store: "sound", "damaged", "absent"
    by: str = ""  # "bookworm of Sat, 16 May 2026 09:53:46 UTC"
    key: str = ""  # the fingerprint of the one that has signed
    reason: str = ""  # unless good


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of a lock an environment takes."""

    target: Target
    groups: tuple[str, ...] = ()  # beyond the packages that belong to no group


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Which groups somebody asks for, by any of their spellings, before a lock says which there are."""

    named: tuple[str, ...] = ()
    everything: bool = False
    without: tuple[str, ...] = ()  # wins over the other two

    def __bool__(self) -> bool:
        return bool(self.named or self.everything or self.without)

    def of(self, known: Collection[str]) -> tuple[str, ...]:
        """Return those among the groups of a lock, sorted, and any that is named and unknown.

        Args:
            known: Normalized, as PEP 735 compares them.

        """
        wanted = {normal_group(name) for name in self.named} | {*(known if self.everything else ())}
        return tuple(sorted(wanted - {normal_group(name) for name in self.without}))


NO_GROUPS: Final = Groups()


def normal_group(name: str) -> str:
    """Return a group's name in the form in which names are compared (PEP 735)."""
    return re.sub(r"[-_.]+", "-", name).lower()


CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#\s]*@")  # to the last @: passwords hold some


def without_credentials(url: str) -> str:
    """Return an address as it may be shown or written: without user, password or token."""
    return CREDENTIALS.sub("", url).partition("?")[0]


def digest(value: Any) -> str:
    """Return the sha256 of a JSON value in its one canonical form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
