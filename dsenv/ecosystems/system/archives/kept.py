"""Locked versions that no archive lists any more: their stanzas, and who still has their files.

apt takes them from a source of our own, so that pins stay although the archive has moved on. What is said of them
comes from the signed indexes that the store keeps; where those are gone from the .deb, and at last from the lock.
"""

from __future__ import annotations

import gzip
import lzma
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system.archives import snapshots
from dsenv.formats import deb822
from dsenv.pins import Artifact, without_credentials
from dsenv.tools import deb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from dsenv.ecosystems.system.pins import Archive, IndexFile, Package, Pins
    from dsenv.pins import Target
    from dsenv.progress import Progress
    from dsenv.store import Store

_FIELDS: Final = ("Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A locked row that no archive lists any more."""

    row: Package
    artifact: Artifact
    stanza: str
    archive: Archive | None  # with the index that lists it; None when no kept file does


def find(
    previous: Sequence[Pins],
    target: Target,
    lost: Iterable[tuple[str, str]],
    store: Store,
    until: datetime | None = None,
) -> list[Kept]:
    """Return the rows of ``lost``, names and versions, with their stanzas.

    Args:
        previous: What is locked; both sides after a merge.
        target: For which machine.
        lost: Which of the rows.
        store: Has the indexes that listed them.
        until: What was signed later does not count.

    """
    wanted = {*lost}
    found: dict[tuple[str, str], Kept] = {}
    for pins in previous:
        root = pins.root(target)
        rows = [row for row in root.packages if (row.name, row.version) in wanted] if root else []
        listed = _listed(pins, target, rows, store)
        for row in rows:
            archive, stanza = listed.get(row.sha256, (None, ""))
            signed = snapshots.signed_on(archive.date) if archive else None
            if until and (signed is None or signed > until):
                continue
            artifact = pins.artifact(row)
            text = stanza or _own_words(row, artifact, store)
            found.setdefault((row.name, row.version), Kept(row=row, artifact=artifact, stanza=text, archive=archive))
    return list(found.values())


def still_there(rows: Sequence[Kept], store: Store, progress: Progress) -> list[Kept]:
    """Return the rows whose files can still be had, and say of each where."""
    served = store.servers([one.artifact for one in rows])
    places: dict[str, list[str]] = {}
    alone, found = [], []
    for one, url in zip(rows, served, strict=True):
        label = f"{one.row.name} {one.row.version}"
        if url:
            places.setdefault(without_credentials(url).removesuffix(f"/{one.row.filename}"), []).append(label)
        elif not store.missing([one.artifact]):
            alone.append(label)
        else:
            continue
        found.append(one)
    for place, labels in places.items():
        progress.say(f"the archive no longer lists {', '.join(labels)}: kept, {place} still has the files")
    if alone:
        progress.warn(
            f"the archive no longer has {', '.join(alone)}: kept, since this store has the files; nobody else may have "
            "them (dsenv lock --upgrade-package system:NAME lets one go)"
        )
    return found


def packages(content: bytes, path: str) -> str:
    """Return the text of a Packages file, packed as its name says."""
    if path.endswith(".xz"):
        content = lzma.decompress(content)
    elif path.endswith(".gz"):
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace")


def indexes(pins: Pins, target: Target, origins: Iterable[str]) -> Iterator[tuple[Archive, IndexFile]]:
    """Yield the indexes of a target that may list rows of these origins, the newest archive first."""
    names = {*origins}
    for archive in pins.provenance.archives:
        if archive.suite in names:
            for index in archive.indexes:
                if index.target == str(target):
                    yield archive, index


def _listed(pins: Pins, target: Target, rows: Sequence[Package], store: Store) -> Mapping[str, tuple[Archive, str]]:
    """Return the archive and the stanza of each row that a kept index lists, by sha256."""
    found: dict[str, tuple[Archive, str]] = {}
    if not rows:
        return found
    wanted = re.compile(rf"^SHA256: ({'|'.join(sorted({row.sha256 for row in rows}))})$", re.MULTILINE)
    for archive, index in indexes(pins, target, {row.origin for row in rows}):
        path = store.path(Artifact(filename="Packages", sha256=index.sha256))
        if not path.exists():
            continue
        text = packages(path.read_bytes(), index.path)
        for match in wanted.finditer(text):
            start = text.rfind("\n\n", 0, match.start())
            end = text.find("\n\n", match.end())
            stanza = text[start + 2 if start >= 0 else 0 : end if end >= 0 else len(text)].strip("\n")
            found.setdefault(match[1], (_with_one(archive, index), stanza))
    return found


def _with_one(archive: Archive, index: IndexFile) -> Archive:
    """Return an archive with one of its indexes only."""
    return archive.model_copy(update={"indexes": (index,)})


def _own_words(row: Package, artifact: Artifact, store: Store) -> str:
    """Return a row's stanza from its .deb, or from what the lock says of it."""
    place = f"Filename: {row.filename}\nSize: {row.size}\nSHA256: {row.sha256}"
    if not store.missing([artifact]):
        control = deb822.one_stanza(deb.control_text(store.read_checked(artifact)))
        lines = [f"{name}: {deb822.one_line(value)}" for name, value in control.items() if name not in _FIELDS]
        return "\n".join([*lines, place])
    depends = f"Depends: {', '.join(row.dependencies)}\n" if row.dependencies else ""
    return (
        f"Package: {row.name}\nVersion: {row.version}\nArchitecture: {row.architecture}\n"
        f"Source: {row.source} ({row.source_version})\n{depends}{place}"
    )
