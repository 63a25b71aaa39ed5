"""What repositories have built: for each package that is locked, the built one that fits, or why there is none.

An index of built packages tells neither their hash nor for which R they are, so each is downloaded and read. It counts
if R's minor version and the kind of machine are its own, and if the packages whose headers it was compiled with are
locked in the versions that the same index lists: repositories build those that depend on them anew. Where an address
answers with a source in spite of all, the locked source it is.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dsenv.artifacts import DOWNLOADS
from dsenv.download import LostError, Unhashed
from dsenv.ecosystems.r import binary, description, tarball
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r.built import BinaryArtifact
from dsenv.ecosystems.r.cran import index as indexes
from dsenv.ecosystems.r.cran.repositories import place_below
from dsenv.ecosystems.r.requests import WITH_R
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import DownloadError
from dsenv.pins import Target, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.r.cran.index import Index
    from dsenv.ecosystems.r.cran.repositories import Repository
    from dsenv.ecosystems.r.spec import Spec
    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact
    from dsenv.store import Store

_WHOLE: Final = re.compile(r"/contrib(?:/[0-9]+\.[0-9]+)?$")
_CUSTOM: Final = re.compile(r"/bin/([a-z]+)/([A-Za-z0-9_-]+)/contrib/[0-9.]+$")  # R >= 4.6, contrib.url()
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(?:tar\.gz|tgz)")
_SHOWN: Final = 8


@dataclass(slots=True, kw_only=True)
class Shelf:
    """The built packages that a repository has for one target."""

    repository: str
    target: Target
    directory: str  # the address of the directory that holds the index
    agent: str
    index: Index
    file: Artifact  # the index's

    @property
    def is_flat(self) -> bool:
        """Whether this is a directory of built packages alone, for one R; else sources may lie there, too."""
        return not self.directory.endswith("/src/contrib")

    def files(self, name: str, version: str, r: RVersion) -> Unhashed | None:
        """Return where a version is, ``None`` if it cannot be here."""
        row = next((row for row in self._rows(name, r) if row.get("Version") == version), None)
        if row is None:
            if self.is_flat or self.target.os != "linux":
                return None
            archived = f"{self.directory}/Archive/{name}/{name}_{version}.tar.gz"
            return self._file(f"{name}_{version}.tar.gz", [archived])
        if (built := description.built(row)) and binary.misfit(built, r, self.target):
            return None
        ending = ".tgz" if self.target.os == "macos" else ".tar.gz"
        names = [row.get("File", "") or f"{name}_{version}{ending}"]
        if (custom := _CUSTOM.search(self.directory)) and "File" not in row and self.target.os == "linux":
            names.append(f"{name}_{version}_R_{custom[1]}-{custom[2]}{ending}")
        below = place_below(row)
        if not all(map(_FILE.fullmatch, names)) or below is None:
            return None
        md5 = indexes.md5(row) if self.is_flat else ""  # else it may be the source's
        return self._file(names[0], [f"{self.directory}/{below}{file}" for file in names], md5)

    def lists(self, name: str, version: str, r: RVersion) -> bool:
        """Say whether the index has a version, and not only the Archive."""
        return any(row["Version"] == version for row in self._rows(name, r))

    def listed(self, name: str, r: RVersion) -> str:
        """Return the version that packages here were compiled with, "" where that cannot be told."""
        versions = [row["Version"] for row in self._rows(name, r)]
        return versions[0] if len({RVersion(version) for version in versions}) == 1 else ""

    def _rows(self, name: str, r: RVersion) -> list[Stanza]:
        """Return the rows of a name that this R could use."""
        return [
            row
            for row in self.index.rows(name)
            if re.fullmatch(r"[0-9]+(?:[.-][0-9]+)*", row.get("Version", ""))
            and all(item.allows(r) for item in description.dependencies(row) if item.name == "R")
        ]

    def _file(self, filename: str, urls: Sequence[str], md5: str = "") -> Unhashed:
        return Unhashed(filename=filename, urls=tuple(urls), md5=md5, fresh=True, agent=self.agent)

    def __str__(self) -> str:
        return f"{self.repository} for {self.target}"


@dataclass(slots=True, kw_only=True)
class Found:
    """What repositories have built of a lock's packages."""

    packages: dict[str, r_pins.Package]
    shelves: list[Shelf] = field(default_factory=list)

    def provenance(self) -> tuple[r_pins.Repository, ...]:
        """Return the indexes that were asked."""
        return tuple(
            r_pins.Repository(
                name=f"{shelf.repository} {shelf.target}",
                url=without_credentials(shelf.directory),
                index=shelf.file.sha256,
            )
            for shelf in self.shelves
        )


def directory(address: str) -> str:
    """Return the address of the directory that has the index: one above ``src/contrib`` is named as R names it."""
    return address if _WHOLE.search(address) else f"{address}/src/contrib"


def with_binaries(
    packages: Mapping[str, r_pins.Package], where: Iterable[Repository], request: Request, r_version: str
) -> Found:
    """Return the packages of a lock with the built ones that fit, and tell of those that repositories do not have.

    What is locked so far stays, if it fits.

    Raises:
        DownloadError: There is no index of built packages where one is said to be.
        IntegrityError: An archive holds another package than its name says, or is damaged.

    """
    spec: Spec = request.spec
    found = Found(packages={**packages})
    for repository in where:
        names = [
            name
            for name, row in packages.items()
            if row.source
            and (row.source.kind, row.source.repository) == ("repository", repository.name)
            and name not in spec.from_source
        ]
        for target, address in repository.place.binary.items():
            agent = binary.agent(target, r_version)
            shelf = _shelf(repository.name, Target.parse(target), directory(address), agent, request.store)
            found.shelves.append(shelf)
            held = {name: artifact for name in names if (artifact := _held(packages, name, target, request, r_version))}
            rest = [packages[name] for name in names if name not in held]
            held |= _Search(shelf, packages, request, RVersion(r_version)).found(rest)
            for name, artifact in held.items():
                row = found.packages[name]
                found.packages[name] = row.model_copy(update={"artifacts": {**row.artifacts, target: artifact}})
    return found


def _shelf(repository: str, target: Target, place: str, agent: str, store: Store) -> Shelf:
    try:
        index, artifact = indexes.fetch(place, store, agent)
    except LostError as error:
        raise DownloadError(
            f"repository {repository} has no index of built packages for {target} ({without_credentials(place)})",
            cause=error.cause,
            hint="Correct its `binary`: the address above `src/contrib`, or down to `contrib/{r}`.",
        ) from error
    return Shelf(repository=repository, target=target, directory=place, agent=agent, index=index, file=artifact)


def _held(
    packages: Mapping[str, r_pins.Package], name: str, target: str, request: Request, r_version: str
) -> BinaryArtifact | None:
    """Return the built package that is locked, if it fits what is locked now."""
    now = packages[name]
    for pins in request.previous:
        for row in pins.packages:
            artifact = row.artifacts.get(target)
            if (
                isinstance(artifact, BinaryArtifact)
                and (row.name, row.version) == (name, now.version)
                and row.source
                and now.source
                and row.source.repository == now.source.repository
                and not request.upgrade.releases(name)
                and not artifact.misfit(r_version, {name: row.version for name, row in packages.items()})
            ):
                return artifact
    return None


def _version(packages: Mapping[str, r_pins.Package], name: str) -> str:
    return packages[name].version if name in packages else ""


class _Search:
    """Looks for the built ones of some packages on a shelf."""

    def __init__(
        self, shelf: Shelf, packages: Mapping[str, r_pins.Package], request: Request, r_version: RVersion
    ) -> None:
        self._shelf = shelf
        self._packages = packages
        self._request = request
        self._r = r_version
        self._brought: set[str] = set()  # libraries that built packages have of their own
        self._refused: dict[str, str] = {}  # why there is none, by name

    def found(self, rows: Sequence[r_pins.Package]) -> dict[str, BinaryArtifact]:
        """Return the built packages that fit, and tell of the others."""
        self._request.progress.update(f"looking for what {self._shelf.repository} has built")
        places = [self._shelf.files(row.name, row.version, self._r) for row in rows]
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            learned = list(pool.map(self._learned, places))
        there = {
            row.name: (artifact, binary.examine(artifact, self._request.store))
            for row, artifact in zip(rows, learned, strict=True)
            if artifact
        }
        self._brought = {soname for _, package in there.values() for soname in package.brought}
        found = {}
        for row in rows:
            if row.name not in there:
                self._refused[row.name] = "is not there"
            elif pin := self._judged(row, *there[row.name]):
                found[row.name] = pin
        self._tell()
        return found

    def _learned(self, file: Unhashed | None) -> Artifact | None:
        """Download what is there of a place."""
        try:
            return self._request.store.learn([file], self._request.progress)[0] if file else None
        except LostError:
            return None

    def _judged(self, row: r_pins.Package, artifact: Artifact, package: binary.Package) -> BinaryArtifact | None:
        """Return a pin for what was downloaded, or note why it is of no use."""
        stanza = package.description
        description.check_title(stanza, artifact.filename, f"{row.name} {row.version}")
        built = description.built(stanza) if package.built else None
        linking_to = self._compiled_with(stanza)
        needs = self._needs(row, package)
        lost = sorted(soname for soname, name in needs.items() if name is None)
        if built is None:
            self._refused[row.name] = "is a source there, too"
        elif reason := binary.misfit(built, self._r, self._shelf.target):
            self._refused[row.name] = f"was {reason}"
        elif package.brought and not built.platform:
            self._refused[row.name] = "does not say for which machine it was built"
        elif stanza.get("RemoteSha", "") != self._commit(row, stanza):
            self._refused[row.name] = "was built of another commit"
        elif reason := binary.too_new(package.glibc, self._request.offers.get(self._shelf.target)):
            self._refused[row.name] = reason
        elif lost:
            self._refused[row.name] = f"loads {', '.join(lost)}, which the distribution has not"
        elif torn := self._torn(row, linking_to):
            self._refused[row.name] = torn
        else:
            return BinaryArtifact(
                filename=artifact.filename,
                sha256=artifact.sha256,
                size=artifact.size or 1,
                r=built.r.text,
                linking_to={name: self._packages[name].version for name in sorted(linking_to)},
                needs=tuple(sorted({name for name in needs.values() if name})),
                urls=tuple(without_credentials(url) for url in artifact.urls),
            )
        return None

    def _compiled_with(self, stanza: Stanza) -> list[str]:
        return [item.name for item in description.dependencies(stanza, ("LinkingTo",)) if item.name not in WITH_R]

    def _commit(self, row: r_pins.Package, stanza: Stanza) -> str:
        """Return the commit that the locked source is of; where one of the two says none, the built one's."""
        source = row.source
        said = tarball.examine(source.artifact(), self._request.store).description if source else {}
        return said.get("RemoteSha", "") or stanza.get("RemoteSha", "")

    def _torn(self, row: r_pins.Package, names: Iterable[str]) -> str:
        """Return which package it was compiled with in another version than the one that is locked."""
        is_listed = self._shelf.lists(row.name, row.version, self._r)  # else it was compiled at some other time
        for name in names:
            theirs = self._shelf.listed(name, self._r) if is_listed else ""
            ours = _version(self._packages, name)
            if not theirs:
                return f"was compiled with a version of {name} that nobody tells"
            if theirs != ours:
                return f"was compiled with {name} {theirs}, and {ours or 'none'} is locked"
        return ""

    def _needs(self, row: r_pins.Package, package: binary.Package) -> dict[str, str | None]:
        """Return by soname the system package that has each library which a built package loads.

        "" is one that R packages bring, or that a package which the row needs anyway is called by; ``None`` is none.
        """
        offer = self._request.offers.get(self._shelf.target)
        if offer is None:
            return {}
        found: dict[str, str | None] = {}
        for soname in package.needed:
            stem = soname.partition(".so")[0].lower().replace("_", "-")
            is_there = soname in self._brought or any(name.startswith(stem) for name in row.needs)
            found[soname] = offer.providing(soname) or ("" if is_there else None)
        return found

    def _tell(self) -> None:
        if not self._refused:
            return
        reasons: dict[str, list[str]] = {}
        for name, reason in sorted(self._refused.items()):
            reasons.setdefault(reason, []).append(name)
        lines = []
        for reason, names in reasons.items():
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"{', '.join(names[:_SHOWN])}{more}: {reason}")
        self._request.progress.warn(f"not built by {self._shelf}, so from source: {'; '.join(lines)}")
