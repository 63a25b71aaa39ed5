"""Stanzas of ``Field: value`` lines: Debian's control files and indexes, and R's DESCRIPTION files.

The two formats share their grammar (deb822(5); R's ``read.dcf``): fields, continuation lines that start with white
space, and empty lines between stanzas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Stanza = dict[str, str]


def stanzas(text: str) -> Iterator[Stanza]:
    """Yield each stanza of ``text``; a continued value keeps its lines, joined by newlines, stripped of indentation."""
    stanza: Stanza = {}
    last = ""
    for raw in text.split("\n"):  # str.splitlines() would end lines at form feeds and U+2028 as well
        line = raw.rstrip(" \t\r")
        if not line:
            if stanza:
                yield stanza
            stanza, last = {}, ""
        elif line[0] in " \t":
            if last:
                stanza[last] += "\n" + line.strip()
        elif line[0] != "#":
            last, separator, value = line.partition(":")
            if separator:
                stanza[last] = value.strip()
            else:
                last = ""
    if stanza:
        yield stanza


def one_stanza(text: str) -> Stanza:
    """Return the first stanza of ``text``, or an empty one."""
    return next(stanzas(text), {})


def one_line(value: str) -> str:
    """Return a continued value on one line."""
    return " ".join(value.split())
