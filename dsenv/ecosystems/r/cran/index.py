"""A repository's index, the file PACKAGES: a row for each package on offer, found by name, read when asked for.

CRAN's has 25,000 rows and 7 MB. Only where each row stands is found out at once, in a few hundredths of a second; that
is less than reading any cache of parsed rows would take. A name may have several rows, for several versions of R.
"""

from __future__ import annotations

import difflib
import gzip
import re
import zlib
from typing import TYPE_CHECKING, Final

from dsenv.download import Unhashed
from dsenv.errors import DownloadError
from dsenv.formats import deb822
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact
    from dsenv.store import Store

_NAME: Final = re.compile(r"\nPackage:[ \t]*(\S+)")
_BLANK: Final = re.compile(r"\n[ \t\r]*\n")


class Index:
    """The rows of a PACKAGES file.

    Args:
        text: The file's.

    """

    def __init__(self, text: str) -> None:
        self._text = f"\n{text}"
        self._places: dict[str, list[int]] = {}
        for match in _NAME.finditer(self._text):
            self._places.setdefault(match[1], []).append(match.start())

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def rows(self, name: str) -> Sequence[Stanza]:
        """Return all rows of a name, in the file's order."""
        return [deb822.one_stanza(self._stanza(place)) for place in self._places.get(name, ())]

    def near(self, name: str) -> list[str]:
        """Return names that look like ``name``: those that differ by case alone first."""
        lower = name.lower()
        same = sorted(other for other in self._places if other.lower() == lower)
        return same or difflib.get_close_matches(name, self._places, n=3, cutoff=0.75)

    def _stanza(self, place: int) -> str:
        """Return the stanza around the line that begins after ``place``; stray white space makes no line less empty."""
        start = place
        while start > 0:
            before = self._text.rfind("\n", 0, start)
            if not self._text[before + 1 : start].strip():
                break
            start = before
        end = _BLANK.search(self._text, place + 1)
        return self._text[start + 1 : end.start() if end else None]


def md5(row: Stanza) -> str:
    """Return the hash that a row has of its file, "" for none."""
    value = row.get("MD5sum", "")
    return value if re.fullmatch(r"[0-9a-f]{32}", value) else ""


def fetch(directory: str, store: Store, agent: str = "") -> tuple[Index, Artifact]:
    """Return the index of a directory of packages as it is now, and its file.

    Args:
        directory: Its address: ``https://…/src/contrib``.
        store: The file comes into it.
        agent: The User-Agent to ask as; "" for our own.

    Raises:
        LostError: There is none.
        DownloadError: It cannot be had or read.

    """
    stem = f"{directory}/PACKAGES"
    wanted = Unhashed(filename="PACKAGES.gz", urls=(f"{stem}.gz", stem), fresh=True, agent=agent)
    artifact = store.learn([wanted])[0]
    return read(store.path(artifact), without_credentials(stem)), artifact


def read(path: Path, url: str) -> Index:
    """Return the index that a file holds, compressed or not; raise ``DownloadError`` for anything else."""
    content = path.read_bytes()
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DownloadError(f"{url} is a damaged index", cause=str(error)) from error
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    index = Index(text)
    if text.strip() and not len(index):
        raise DownloadError(f"{url} is no index of R packages", cause=text.strip().splitlines()[0][:80])
    return index
