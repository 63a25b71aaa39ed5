"""Files that version control has left in two halves, between markers (git-merge(1), "How conflicts are presented")."""

from __future__ import annotations

from typing import Final

_OURS: Final = "<<<<<<< "
_BASE: Final = "||||||| "
_MIDDLE: Final = "======="
_THEIRS: Final = ">>>>>>> "


def is_torn(text: str) -> bool:
    """Say whether a text holds conflict markers."""
    return any(line.startswith((_OURS, _THEIRS)) for line in text.split("\n"))


def sides(text: str) -> tuple[str, str]:
    """Return both sides of a text with conflict markers; without any, the two are equal."""
    ours: list[str] = []
    theirs: list[str] = []
    into: tuple[list[str], ...] = (ours, theirs)
    for line in text.split("\n"):
        if line.startswith(_OURS):
            into = (ours,)
        elif line.startswith(_BASE) and into == (ours,):
            into = ()  # what both began with
        elif line == _MIDDLE and len(into) < len((ours, theirs)):
            into = (theirs,)
        elif line.startswith(_THEIRS):
            into = (ours, theirs)
        else:
            for side in into:
                side.append(line)
    return "\n".join(ours), "\n".join(theirs)
