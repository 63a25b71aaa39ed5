"""Read shared libraries (ELF, System V gABI chapter 5): their names, what they need, where they look for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = b"\x7fELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What a shared library says to the dynamic linker."""

    soname: str = ""  # "libgomp.so.1"; an extension module has none
    needed: tuple[str, ...] = ()  # sonames
    search: tuple[str, ...] = ()  # RPATH and RUNPATH, an entry each: "$ORIGIN/../numpy.libs"


def read(stream: IO[bytes]) -> Library | None:
    """Return what a file says, or ``None`` for one that is no shared library or none that can be read.

    Args:
        stream: The file; it must be seekable.

    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - heavy, and few commands need it
    from elftools.elf.dynamic import DynamicSegment  # noqa: PLC0415
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    if stream.read(len(MAGIC)) != MAGIC:
        return None
    try:
        # By segments, as the linker does: patchelf moves the table, and a stripped file may have no sections.
        segments = [part for part in ELFFile(stream).iter_segments() if isinstance(part, DynamicSegment)]
        tags = [tag for segment in segments for tag in segment.iter_tags()]
        return _library(tags)
    except (ELFError, ArithmeticError, AssertionError, AttributeError, LookupError, OSError, ValueError):
        return None  # its numbers lead nowhere


def glibc(stream: IO[bytes]) -> tuple[int, ...]:
    """Return the C library that a file takes at least, ``(2, 34)``; nothing where its sections do not tell."""
    from elftools.common.exceptions import ELFError  # noqa: PLC0415 - as above
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    from elftools.elf.gnuversions import GNUVerNeedSection  # noqa: PLC0415

    stream.seek(0)
    try:
        sections = [part for part in ELFFile(stream).iter_sections() if isinstance(part, GNUVerNeedSection)]
        names = [str(row.name) for section in sections for _, rows in section.iter_versions() for row in rows]
    except (ELFError, ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError):
        return ()
    found = [match[1] for name in names if (match := re.fullmatch(r"GLIBC_([0-9]{1,3}(?:\.[0-9]{1,3})*)", name))]
    return max((tuple(map(int, text.split("."))) for text in found), default=())


def _library(tags: Iterable[object]) -> Library:
    values: dict[str, list[str]] = {"soname": [], "needed": [], "rpath": [], "runpath": []}
    for tag in tags:
        for name, found in values.items():
            text = getattr(tag, name, None)  # pyelftools gives a tag with a text an attribute of the tag's name
            if isinstance(text, str):
                found.append(text)
    paths = [path for text in values["rpath"] + values["runpath"] for path in text.split(":") if path]
    return Library(
        soname="".join(values["soname"][:1]), needed=tuple(values["needed"]), search=tuple(dict.fromkeys(paths))
    )
