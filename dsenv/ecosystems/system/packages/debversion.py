"""How Debian compares versions (deb-version(7)), and whether one is within bounds."""

from __future__ import annotations

import functools
import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_Piece = tuple[tuple[int, ...], int]

_PIECE: Final = re.compile(r"(\D*)(\d*)")
_BOUND: Final = re.compile(r"(>=|<=|>|<)(.+)")
_END: Final[_Piece] = ((0,), 0)


@functools.total_ordering
class Order:
    """What a version sorts by."""

    def __init__(self, version: str) -> None:
        epoch, _, rest = version.rpartition(":")
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        number: list[_Piece] = [((0,), int(epoch) if epoch.isdecimal() else 0)]
        self._parts = (number, _pieces(upstream), _pieces(revision))

    def _pairs(self, other: Order) -> Iterator[tuple[_Piece, _Piece]]:
        for one, two in zip(self._parts, other._parts, strict=True):
            yield from zip_longest(one, two, fillvalue=_END)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and all(one == two for one, two in self._pairs(other))

    def __lt__(self, other: Order) -> bool:
        return next((one < two for one, two in self._pairs(other) if one != two), False)

    __hash__ = None  # type: ignore[assignment]  # versions that are equal may be written in several ways


def order(version: str) -> Order:
    """Return a value by which versions sort as dpkg sorts them: ``1.0~rc1`` < ``1.0`` < ``1.0+b1`` < ``1:0.1``."""
    return Order(version)


def _pieces(text: str) -> list[_Piece]:
    """Return the pieces without and with digits in turn; an end sorts after a tilde and before everything else."""
    found: list[_Piece] = []
    for match in _PIECE.finditer(text):
        word = (*(-1 if letter == "~" else ord(letter) + (0 if letter.isalpha() else 256) for letter in match[1]), 0)
        found.append((word, int(match[2] or 0)))
    return found


def matches(version: str, wanted: str) -> bool:
    """Say whether a version is ``1.2-1``, ``1.2*`` or within ``>=1.2,<2``; every one is with no bounds at all."""
    if not wanted:
        return True
    if wanted[0] not in "<>":
        return version.startswith(wanted[:-1]) if wanted.endswith("*") else version == wanted
    return all(_within(version, bound) for bound in wanted.split(","))


def _within(version: str, bound: str) -> bool:
    match = _BOUND.fullmatch(bound)
    if match is None:
        raise ValueError(bound)
    one, other = order(version), order(match[2])
    return {">=": one >= other, "<=": one <= other, ">": one > other, "<": one < other}[match[1]]
