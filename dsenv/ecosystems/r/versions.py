"""R's package versions: integers between dots and hyphens, compared one by one.

R 4.x compares ``1.2`` and ``1.2.0`` as equal in dependencies (missing components count as 0), reads ``-`` as ``.``
and ignores leading zeros; the spelling is kept for file names.
"""

from __future__ import annotations

import functools
import operator
import re
from typing import Final

_OPERATORS: Final = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def is_version_of(debian: str, version: str) -> bool:
    """Say whether Debian's version of R is R ``version``: ``4.2.2.20221110-2`` is 4.2.2, and 4.2 as well."""
    return bool(re.match(rf"(?:[0-9]+:)?{re.escape(version)}(?:[.+~-]|$)", debian))


def minor(version: str) -> str:
    """Return R's minor version, within which built packages fit: ``4.2``."""
    return ".".join(re.split(r"[.-]", f"{version}.0")[:2])


@functools.total_ordering
class RVersion:
    """A version as R reads it: ``RVersion("0.8-84") == RVersion("0.8.84")``."""

    __slots__ = ("_key", "text")

    def __init__(self, text: str) -> None:
        if not re.fullmatch(r"[0-9]+(?:[.-][0-9]+)*", text):
            msg = f"{text!r} is not a version as R writes them"
            raise ValueError(msg)
        self.text = text
        numbers = [int(part) for part in re.split(r"[.-]", text)]
        while len(numbers) > 1 and numbers[-1] == 0:
            numbers.pop()
        self._key = tuple(numbers)

    def satisfies(self, comparison: str, bound: RVersion) -> bool:
        """Say whether ``self`` stands to ``bound`` as ``comparison`` (``>=``, ``==``, …) wants."""
        return bool(_OPERATORS[comparison](self, bound))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RVersion) and self._key == other._key

    def __lt__(self, other: RVersion) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"RVersion({self.text!r})"
