"""The source tarballs of what was chosen: downloaded, hashed, and held against what was asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dsenv.download import LostError, Unhashed
from dsenv.ecosystems.r import description, tarball
from dsenv.ecosystems.r.repacks import repacked
from dsenv.errors import IntegrityError, ResolutionError
from dsenv.tree import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.r import pins as r_pins
    from dsenv.ecosystems.r.cran.candidates import Candidate
    from dsenv.ecosystems.r.tarball import Examined
    from dsenv.pins import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Tarball:
    """A source tarball in the store."""

    artifact: Artifact
    examined: Examined


def fetched(chosen: Iterable[Candidate], request: Request) -> Mapping[str, Tarball]:
    """Return the tarball of each candidate that has one, by name.

    An index has no sha256, so a file is downloaded to learn it; the md5 that the index does have is checked.

    Raises:
        ResolutionError: A repository lists a file that it does not have.
        IntegrityError: A file is not what its index says, or is no source of this package.

    """
    wanted = _as_locked([candidate for candidate in chosen if candidate.origin != "r"], request)
    unknown = [candidate for candidate in wanted if candidate.artifact is None]
    files = [Unhashed(filename=candidate.filename, urls=candidate.urls, md5=candidate.md5) for candidate in unknown]
    try:
        learned = dict(
            zip((candidate.name for candidate in unknown), request.store.learn(files, request.progress), strict=True)
        )
    except LostError as error:
        raise _half_mirrored(error, unknown) from error
    artifacts = {candidate.name: candidate.artifact or learned[candidate.name] for candidate in wanted}
    with ThreadPoolExecutor(WORKERS) as pool:
        read = pool.map(lambda candidate: _examined(candidate, artifacts[candidate.name], request), wanted)
        return {
            candidate.name: Tarball(artifact=artifacts[candidate.name], examined=examined)
            for candidate, examined in zip(wanted, read, strict=True)
        }


def _as_locked(chosen: Sequence[Candidate], request: Request) -> list[Candidate]:
    """Return candidates, the locked ones with their files, if those are what the repository still serves.

    Raises:
        IntegrityError: The repository has another file under the same version.

    """
    held: dict[str, tuple[r_pins.Pins, Artifact]] = {}
    for candidate in chosen:
        for pins in request.previous:
            row = next((row for row in pins.packages if row.name == candidate.name), None)
            if row is None or row.source is None or request.upgrade.releases(row.name):
                continue
            if (row.source.repository, row.version) == (candidate.repository, candidate.version.text):
                urls = tuple(dict.fromkeys((*candidate.urls, *row.source.urls)))
                held.setdefault(candidate.name, (pins, replace(row.source.artifact(), urls=urls)))
    request.store.fetch([artifact for _, artifact in held.values()], request.progress)

    def checked(candidate: Candidate) -> Candidate:
        if candidate.name not in held:
            return candidate
        pins, artifact = held[candidate.name]
        if candidate.md5 and not _is_listed(artifact, candidate, request):
            found = repacked(pins, candidate.name, request.store)
            if found:
                raise found.error
        return replace(candidate, artifact=artifact)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(checked, chosen))


def _is_listed(artifact: Artifact, candidate: Candidate, request: Request) -> bool:
    """Say whether one of the accepted files is the one that the index lists, downloading it when it has to be seen."""
    if tarball.examine(artifact, request.store).md5 == candidate.md5:
        return True
    listed = Unhashed(filename=candidate.filename, urls=candidate.urls, md5=candidate.md5)
    try:
        return request.store.learn([listed])[0].sha256 in artifact.hashes
    except (LostError, IntegrityError):
        return True  # the index is ahead of its files, or behind: what is locked can be had all the same


def _examined(candidate: Candidate, artifact: Artifact, request: Request) -> Examined:
    examined = tarball.examine(artifact, request.store, candidate.root)
    stanza = examined.description
    description.check_title(stanza, artifact.filename, str(candidate))
    if "Built" in stanza:
        raise IntegrityError(
            f"{artifact.filename} is a built package, not a source",
            hint="Use the repository's address for sources; the one for built packages is its `binary`.",
        )
    return examined


def _half_mirrored(error: LostError, chosen: Iterable[Candidate]) -> ResolutionError:
    by_file = {candidate.filename: candidate for candidate in chosen}
    lost = [by_file[file.filename] for file in error.files]
    listed = ", ".join(f"{candidate} ({candidate.repository})" for candidate in lost)
    return ResolutionError(
        f"the index lists what the repository does not have: {listed}",
        cause=error.cause,
        hint="It is mirrored by halves, or in the middle of an update: try again later, or name another repository.",
    )
