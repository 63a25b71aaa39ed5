"""Which versions of a package could be taken, the preferred one first, found out no further than somebody looks.

In this order: the source that a person named; the version that is locked; the one that R itself brings; what the
first repository that has the name lists; what that repository has archived, newest first. An archived version's
needs are in its tarball alone, so each that is looked at has to be downloaded.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from dsenv.download import LostError, MismatchError, Unhashed
from dsenv.ecosystems.r import description, tarball
from dsenv.ecosystems.r.requests import WITH_R
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import IntegrityError, ResolutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from dsenv.ecosystems.r.cran.repositories import Repository, Row
    from dsenv.ecosystems.r.description import Dependency
    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact
    from dsenv.progress import Progress
    from dsenv.store import Store

Origin = Literal["remote", "r", "index", "archive"]
_MOST: Final = 200  # archived versions that one lock looks into


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """A version that could be taken."""

    name: str
    version: RVersion
    origin: Origin
    repository: str = ""
    fields: Stanza = field(repr=False)  # of its DESCRIPTION, or of the index's row
    urls: tuple[str, ...] = ()
    filename: str = ""
    md5: str = ""
    artifact: Artifact | None = None  # where its file is known already
    root: str | None = None  # the directory in it that is the package; ``None`` for the only one

    @property
    def published(self) -> date | None:
        """The day on which it came out."""
        return description.published(self.fields)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Archived:
    """Looks into archived versions, each once."""

    def __init__(self, store: Store, locked: Mapping[tuple[str, str, str], Artifact], progress: Progress) -> None:
        self._store = store
        self._locked = locked  # by repository, name and version: files whose hash is known
        self._progress = progress
        self._found: dict[tuple[str, str, str], Candidate | None] = {}

    def look(self, repository: Repository, name: str, version: str) -> Candidate | None:
        """Return an archived version, ``None`` when the file is not there or is none of this package's."""
        key = (repository.name, name, version)
        if key not in self._found:
            if len(self._found) == _MOST:
                raise ResolutionError(
                    f"{_MOST} archived versions have been looked into, and no solution has been found",
                    hint="Write bounds for the packages that are to be old, in [r] constraints.",
                )
            self._progress.update(f"reading what {name} {version} needs, from the Archive")
            self._found[key] = self._read(repository, name, version)
        return self._found[key]

    def dated(self, candidate: Candidate) -> Candidate:
        """Return a candidate of an index that has no dates, with that of its file, if it can be had."""
        key = (candidate.repository, candidate.name, candidate.version.text)
        if key not in self._found:
            file = Unhashed(filename=candidate.filename, urls=candidate.urls, md5=candidate.md5)
            try:
                artifact = self._store.learn([file])[0]
                fields = tarball.examine(artifact, self._store).description
                self._found[key] = replace(candidate, fields=fields, artifact=artifact)
            except (LostError, IntegrityError):
                self._found[key] = candidate  # whoever takes it will say why it cannot be had
        return self._found[key] or candidate

    def _read(self, repository: Repository, name: str, version: str) -> Candidate | None:
        urls = repository.archive_urls(name, version)
        filename = f"{name}_{version}.tar.gz"
        artifact = self._locked.get((repository.name, name, version))
        try:
            if artifact is None:
                artifact = self._store.learn([Unhashed(filename=filename, urls=urls)])[0]
            else:
                self._store.fetch([artifact])
            examined = tarball.examine(artifact, self._store)
        except MismatchError:
            raise  # it is locked in other bytes: that is for a person to judge
        except (LostError, IntegrityError) as error:
            self._progress.warn(f"{name} {version} is left out: {error.sentence}")
            return None
        if (examined.description.get("Package"), examined.description.get("Version")) != (name, version):
            self._progress.warn(f"{name} {version} is left out: {filename} says that it is something else")
            return None
        return Candidate(
            name=name,
            version=RVersion(version),
            origin="archive",
            repository=repository.name,
            fields=examined.description,
            urls=urls,
            filename=filename,
            artifact=artifact,
        )


@dataclass(slots=True, kw_only=True)
class Finder:
    """Finds the candidates of every name."""

    r_version: RVersion
    with_r: Mapping[str, Candidate]  # r-recommended, by name
    remotes: Mapping[str, Candidate]  # sources that a person named
    repositories: Sequence[Repository]
    locked: Mapping[str, Sequence[tuple[str, str]]]  # by name: version and repository, to be preferred
    archive: Archived
    until: date | None = None  # nothing that came out later
    exceptions: frozenset[tuple[str, str]] = frozenset()  # name and version that may be newer than that
    times: Mapping[str, date] = field(default_factory=dict)  # by name: not newer than that, if it can be
    rejected: dict[str, dict[str, str]] = field(default_factory=dict)  # by name and version: why it cannot be taken

    def find(
        self, name: str, allows: Callable[[RVersion], bool], repository: str = "", exact: Sequence[str] = ()
    ) -> Iterator[Candidate]:
        """Yield the candidates of a name whose version is allowed, the preferred one first.

        Args:
            name: The package's.
            allows: Says whether a version is within all bounds.
            repository: The only one that it may come from; "" for the first that has it.
            exact: Versions that are asked for as they are: an Archive that lists nothing may have them.

        """
        if name in self.remotes:
            if self._check(self.remotes[name], allows):
                yield self.remotes[name]
            return
        seen: set[RVersion] = set()
        for candidate in self._all(name, allows, repository, exact):
            if candidate.version not in seen and self._check(candidate, allows):
                seen.add(candidate.version)
                yield candidate

    def home(self, name: str, repository: str = "") -> Repository | None:
        """Return the repository that a name comes from: the first whose index has it."""
        named = [one for one in self.repositories if repository in {"", one.name, one.name.partition("/")[0]}]
        return next((one for one in named if name in one.index), named[0] if repository and named else None)

    def newest(self, name: str, repository: str = "") -> Row | None:
        """Return the newest row of an index that this R can use."""
        home = self.home(name, repository)
        rows = home.rows(name) if home else []
        return next((row for row in rows if not self._unfit(row.fields)), None)

    def _all(
        self, name: str, allows: Callable[[RVersion], bool], repository: str, exact: Sequence[str]
    ) -> Iterator[Candidate]:
        home = self.home(name, repository)
        rows = [self._of_row(row, home) for row in home.rows(name)] if home else []
        limit = self.times.get(name)
        for version, where in self.locked.get(name, ()):
            if not where and name in self.with_r and not repository:
                yield self.with_r[name]
            elif home and allows(RVersion(version)):
                listed = next((row for row in rows if row.version.text == version), None)
                found = listed or self.archive.look(home, name, version)
                if found and (limit is None or _is_by(found, limit)):
                    yield found
        if name in self.with_r and not repository:
            yield self.with_r[name]
        yield from (row for row in rows if limit is None or _is_by(row, limit))
        if home:
            yield from self._archived(home, name, allows, limit, exact)
        yield from rows

    def _of_row(self, row: Row, home: Repository) -> Candidate:
        candidate = Candidate(
            name=row.fields["Package"],
            version=row.version,
            origin="index",
            repository=row.repository,
            fields=row.fields,
            urls=row.urls,
            filename=row.filename,
            md5=row.md5,
        )
        if self.until and not home.place.dated and candidate.published is None and not self._unfit(row.fields):
            return self.archive.dated(candidate)
        return candidate

    def _archived(
        self,
        home: Repository,
        name: str,
        allows: Callable[[RVersion], bool],
        limit: date | None,
        exact: Sequence[str],
    ) -> Iterator[Candidate]:
        """Yield archived versions, newest first; under a limit those by then first, and then the oldest first."""
        days = home.archived(name) or dict.fromkeys(exact)
        versions = sorted((RVersion(text), text) for text in days if allows(RVersion(text)))
        limit = limit or (None if home.place.dated else self.until)
        if limit is None:
            yield from self._looked(home, name, [text for _, text in reversed(versions)])
            return
        day = limit

        def is_later(text: str) -> bool:
            listed = days[text]
            if listed is None:
                found = self.archive.look(home, name, text)
                listed = found.published if found else None
            return listed is not None and listed > day

        texts = [text for _, text in versions]
        if all(days[text] for text in texts):
            by_then = [text for text in texts if not is_later(text)]
        else:  # versions come out in order, with few exceptions: half of the rest is looked at, and so on
            by_then = texts[: bisect.bisect_left(texts, x=True, key=is_later)]
        yield from self._looked(home, name, list(reversed(by_then)))
        later = [text for text in texts if text not in by_then]
        excepted = [text for text in later if (name, text) in self.exceptions]
        yield from self._looked(home, name, later if self.until is None else excepted)

    def _looked(self, home: Repository, name: str, versions: Iterable[str]) -> Iterator[Candidate]:
        for version in versions:
            found = self.archive.look(home, name, version)
            if found:
                yield found

    def _check(self, candidate: Candidate, allows: Callable[[RVersion], bool]) -> bool:
        """Say whether a candidate can be taken, and keep the reason why not."""
        if not allows(candidate.version):
            return False
        reason = self._unfit(candidate.fields) or self._too_late(candidate)
        if reason:
            self.rejected.setdefault(candidate.name, {}).setdefault(candidate.version.text, reason)
        return not reason

    def _unfit(self, fields: Stanza) -> str:
        """Return what a package wants of R or of the machine that is not so."""
        if fields.get("OS_type", "unix").lower() != "unix":
            return f"is for {fields['OS_type']} only"
        for dependency in description.dependencies(fields):
            if dependency.name == "R" and not dependency.allows(self.r_version):
                return f"needs {dependency}"
            if dependency.name in WITH_R and not dependency.allows(self.r_version):
                return f"needs {dependency}, which comes with R {self.r_version}"
        return ""

    def _too_late(self, candidate: Candidate) -> str:
        if self.until is None or candidate.origin in {"r", "remote"}:
            return ""
        if any(one.name == candidate.repository and one.place.dated for one in self.repositories):
            return ""
        if (candidate.name, candidate.version.text) in self.exceptions:
            return ""
        if candidate.published is None:
            return "has no date"
        return f"came out on {candidate.published}" if candidate.published > self.until else ""


def _is_by(candidate: Candidate, limit: date) -> bool:
    return candidate.published is not None and candidate.published <= limit


def needs_of(candidate: Candidate, fields: tuple[str, ...] = description.HARD) -> list[Dependency]:
    """Return the packages that a candidate needs, R and its own packages left out."""
    return [
        dependency
        for dependency in description.dependencies(candidate.fields, fields)
        if dependency.name not in WITH_R and dependency.name != "R"
    ]
