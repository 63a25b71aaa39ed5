"""What apt's programs print, as values."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from dsenv.errors import ToolError
from dsenv.pins import CREDENTIALS

Place = tuple[str, str]
"""An archive's address, and the suite with a component: ``bookworm/main``."""

_URI: Final = re.compile(r"'[^']*' (?P<file>[^\s_]+_[^\s_]+_[^\s_]+) \d+ SHA256:[0-9a-f]{64}")
_VERSION: Final = re.compile(r"^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$", re.MULTILINE)


def uris(text: str) -> dict[str, str]:
    """Return what ``apt-get --print-uris`` says: each package's version.

    Both stand in the name that apt would save the file under, ``zlib1g_1%3a1.2.13_amd64.deb``; the address has no
    epoch.
    """
    found = {}
    for line in text.splitlines():
        if line.startswith("'"):
            match = _URI.fullmatch(line.strip())
            if match is None:
                raise ToolError("apt named a file without its sha256", cause=CREDENTIALS.sub("", line))
            name, version, _ = match["file"].split("_")
            found[name] = unquote(version)
    return found


def versions(text: str) -> list[tuple[str, str]]:
    """Return the names and versions in a text of stanzas, as ``apt-cache dumpavail`` and Packages files are."""
    return [*_VERSION.findall(text)]


def providers(text: str) -> list[str]:
    """Return who provides a package, as ``apt-cache showpkg`` says at its end: ``postfix 3.7.11-0+deb12u1 (= )``."""
    return sorted({line.split()[0] for line in text.partition("\nReverse Provides: \n")[2].splitlines()})


def places(text: str, fed: str = "") -> dict[tuple[str, str], set[Place]]:
    """Return what the version tables of ``apt-cache policy`` say: the places of each name and version.

    A version that stands nowhere but at the address ``fed`` is listed, without a place.
    """
    found: dict[tuple[str, str], set[Place]] = {}
    name = version = ""
    for line in text.splitlines():
        words = line.split()
        if line and not line.startswith(" ") and line.endswith(":"):
            name = line[:-1]
        elif re.match(r" {5}\S| \*{3} ", line):
            version = words[1] if words[0] == "***" else words[0]
        elif line.startswith(" " * 8) and words[-1] == "Packages":
            there = found.setdefault((name, version), set())
            if not fed or not words[1].startswith(fed):
                there.add((words[1].rstrip("/"), words[2]))
    return found
