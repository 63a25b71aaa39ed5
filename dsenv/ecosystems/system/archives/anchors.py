"""What anchors rows: the signed Release files and the Packages files that list them, kept as artifacts.

Archives overwrite both, and without them nobody could check the chain of signatures again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dsenv.ecosystems.system import pins as system_pins
from dsenv.ecosystems.system.archives import snapshots
from dsenv.errors import DownloadError
from dsenv.pins import Artifact, Target, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsenv.ecosystems.system.archives.kept import Kept
    from dsenv.ecosystems.system.offer import Survey
    from dsenv.ecosystems.system.solver import apt
    from dsenv.progress import Progress
    from dsenv.store import Store


def keep(
    offer: Survey,
    target: Target,
    rows: Sequence[system_pins.Package],
    kept: Iterable[Kept],
    store: Store,
    progress: Progress,
) -> list[system_pins.Archive]:
    """Keep what anchors a target's rows; those that no archive lists any more are anchored as they were."""
    origins = {row.origin for row in rows}
    found: list[system_pins.Archive] = []
    artifacts: list[Artifact] = []
    for index in offer.root.indexes_read:
        if offer.origin_of(index) not in origins:
            continue
        content = offer.root.inrelease(index)
        inrelease = content.decode(errors="replace")
        path, sha256, size = _listed(inrelease, index)
        artifacts.append(packages_file([index.directory], path, sha256, size))
        date = re.search(r"^Date: (.*)$", inrelease, re.MULTILINE)
        repository = next((row for row in offer.repositories if row.name == offer.origin_of(index)), None)
        found.append(
            system_pins.Archive(
                uri=without_credentials(index.uri),
                suite=offer.origin_of(index),
                date=date[1].strip() if date else "",
                inrelease=store.keep(content),
                fallbacks=tuple(map(without_credentials, _fallbacks(offer, index, inrelease))),
                fingerprints=tuple(repository.fingerprints) if repository else (),
                indexes=(system_pins.IndexFile(target=str(target), path=path, sha256=sha256),),
            )
        )
    store.fetch(artifacts, progress)
    return [*found, *(one.archive for one in kept if one.archive)]


def packages_file(homes: Sequence[str], path: str, sha256: str, size: int | None = None) -> Artifact:
    """Return a Packages file of a suite, to be had by its hash or by its name.

    Args:
        homes: The addresses of the directories in which its Release file lies.
        path: The file's below them: ``main/binary-amd64/Packages.xz``.
        sha256: As the Release file lists it.
        size: In bytes, if that is known.

    """
    above, slash, filename = path.rpartition("/")
    names = (f"{above}{slash}by-hash/SHA256/{sha256}", path)
    urls = tuple(f"{home}/{name}" for home in homes for name in names)
    return Artifact(filename=filename, sha256=sha256, size=size, urls=urls)


def merge(archives: Iterable[system_pins.Archive]) -> tuple[system_pins.Archive, ...]:
    """Join the rows of one state of an archive that several targets have read."""
    merged: dict[tuple[str, str, str], system_pins.Archive] = {}
    for archive in archives:
        key = (archive.uri, archive.suite, archive.inrelease)
        old = merged.get(key)
        indexes = {*(old.indexes if old else ()), *archive.indexes}
        ordered = tuple(sorted(indexes, key=lambda index: (index.path, index.target)))
        merged[key] = archive.model_copy(update={"indexes": ordered})
    return tuple(merged.values())


def _fallbacks(offer: Survey, index: apt.Index, inrelease: str) -> list[str]:
    """Return where else files of an index can be had: as it stood then, or the live archive of a dated one."""
    live = [source.live for source in offer.ground.sources if source.uri == index.uri and source.live]
    template, instant = offer.templates.get(index, ""), snapshots.after(inrelease)
    return live[:1] or ([snapshots.address(template, index.uri, instant)] if template and instant else [])


def _listed(inrelease: str, index: apt.Index) -> tuple[str, str, int]:
    """Return the compressed Packages file of an index as its Release file lists it: path, sha256, size."""
    for ending in (".xz", ".gz", ""):
        match = re.search(
            rf"^ ([0-9a-f]{{64}}) +([0-9]+) {re.escape(index.metakey + ending)}$", inrelease, re.MULTILINE
        )
        if match:
            return index.metakey + ending, match[1], int(match[2])
    raise DownloadError(
        f"the Release file of {without_credentials(index.uri)} {index.suite} does not list {index.metakey} by sha256"
    )
