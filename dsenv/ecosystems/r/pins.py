"""What is locked of R: its version, and each package with one artifact a target.

[r]             R's version and the system package that it is
[[r.packages]]  one row a package; its artifact for a target is one of the system part's .debs, or its source
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from dsenv.ecosystem import LockFiles, Table
from dsenv.ecosystems.r import built, renv
from dsenv.ecosystems.r.built import Archive, BinaryArtifact, OwnArtifact
from dsenv.ecosystems.r.names import RName, RVersionText, SystemName
from dsenv.ecosystems.r.requests import check_path
from dsenv.ecosystems.r.versions import is_version_of
from dsenv.errors import LockFormatError
from dsenv.formats.toml_write import Inline, Lines, spread
from dsenv.model import Array, Model, Sha256Text, Size, Text, describe
from dsenv.pins import Artifact, Need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import UnionType

    from dsenv.ecosystem import Offer
    from dsenv.pins import Provided, Selection, Target
    from dsenv.steps import Place

COMPILERS: Final = "r-base-dev"
"""The system package with all that R itself is compiled with."""

_MAKE: Final = "make"  # the program by which an image makes its packages, also those without compiled code

R: Final = "R"
"""What a person upgrades an archive of R by: ``r:R``."""

_RELEASE: Final = re.compile(r"/packages/([0-9]+\.[0-9]+)/bioc/?$")

Md5Text = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class DebArtifact(Model):
    """A package that the distribution has built: a row of the system part."""

    kind: Literal["deb"] = "deb"
    package: Text  # "r-cran-dplyr"
    sha256: Sha256Text


class SourceArtifact(Model):
    """A package that is built from its source."""

    kind: Literal["source"] = "source"


class Remote(Model):
    """Where a source lies that comes from no repository."""

    url: Text = ""  # of a git repository or a tarball
    ref: Text = ""  # what was asked for: "main", "v1.2", "HEAD"
    commit: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?$")] = ""
    subdirectory: Text = ""
    path: Text = ""  # below the project's directory
    forge: Text = ""  # "github": renv has fields of its own for it


class Source(Model):
    """A package's source tarball, the same for all targets."""

    kind: Literal["repository", "git", "url", "path"]
    repository: Text = ""  # its name: "CRAN"
    filename: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # "dplyr_1.1.4.tar.gz"
    sha256: Annotated[Array[Sha256Text], Field(min_length=1)]  # any of them will do: their content is the same
    size: Size  # bytes, of the first
    content: Sha256Text  # of its files, without what repacking changes: see tarball.py
    remote: Remote = Remote()
    urls: Array[Text] = ()  # in the order in which they are tried; no part of any digest

    @model_validator(mode="after")
    def _check(self) -> Source:
        """Refuse an address that is only a path, unless it is the one below the project's directory that is locked."""
        if self.kind == "path":
            if self.urls != (check_path(self.remote.path),):
                msg = "the source's address is not its path"
                raise ValueError(msg)
        elif not all(re.match(r"(?:git\+)?[a-z]+://", url) for url in self.urls):
            msg = "a source's address is a path"
            raise ValueError(msg)
        return self

    @property
    def root(self) -> str | None:
        """The directory of the tarball that is the package, "" for its top; ``None`` for the only one at its top."""
        return self.remote.subdirectory if self.filename.endswith(".tar") else None

    def artifact(self) -> Artifact:
        """Return the file to download."""
        size = self.size if len(self.sha256) == 1 else None
        first, *others = self.sha256
        return Artifact(filename=self.filename, sha256=first, size=size, urls=self.urls, accepted=tuple(others))


AnyArtifact = DebArtifact | OwnArtifact | SourceArtifact | BinaryArtifact


class Package(Model):
    """One locked R package."""

    name: RName
    version: RVersionText  # as its DESCRIPTION spells it: "0.8-84"
    why: Array[Text]
    groups: Array[Text] = ()  # those that it is installed with; none for always
    requires: Array[RName | Literal["R"]] = ()  # Depends, Imports and LinkingTo, R's own packages included
    linking_to: Array[RName] = ()  # of those, whose headers it is compiled with
    compiles: bool = False
    system_requirements: Text = ""  # what its DESCRIPTION says
    needs: Array[SystemName] = ()  # system packages that it runs with, read from that or said in the spec
    build_needs: Array[SystemName] = ()  # those that only building it takes
    renv_hash: Md5Text | Literal[""] = ""  # "" where R's own installation would be needed to tell
    source: Source | None = None
    artifacts: dict[str, Annotated[AnyArtifact, Field(discriminator="kind")]]


class Repository(Model):
    """A repository as it was when it was read."""

    name: Text
    url: Text
    index: Sha256Text  # of its PACKAGES file, which lies in the store


class Provenance(Model):
    """What the pins were resolved with."""

    repositories: Array[Repository] = ()
    binaries: Array[Repository] = ()  # those of built packages that were asked, by the names of their repositories


class Pins(Model):
    """The R part of a lock."""

    version: RVersionText  # R's own: "4.2.2"
    package: Text = ""  # the system package that R is: "r-base-core"; "" where it comes from an archive
    archives: dict[str, Archive] = Field(default={})  # by target
    groups: Array[Text] = ()  # that there are, by normalized names
    packages: Array[Package]  # sorted by name
    provenance: Provenance = Provenance()

    def selected(self, selection: Selection) -> list[Package]:
        """Return the packages that a selection takes."""
        target, groups = str(selection.target), set(selection.groups)
        return [
            package
            for package in self.packages
            if target in package.artifacts and (not package.groups or groups & set(package.groups))
        ]


def read(lock: LockFiles) -> tuple[Pins, Table]:
    """Return the pins of a lock and the inputs that they answer; raise ``LockFormatError``."""
    table = dict(lock.table)
    inputs = table.pop("inputs", {})
    try:
        pins = Pins.model_validate({**table, "provenance": lock.provenance})
    except ValidationError as error:
        raise LockFormatError("the R part of dsenv.lock is damaged", cause=describe(error)) from error
    homeless = [row.name for row in pins.packages if row.source is None and not _is_distributed(row)]
    if homeless:
        raise LockFormatError(
            "the R part of dsenv.lock is damaged",
            cause=f"{', '.join(homeless)}: to be built from a source that is missing",
        )
    return pins, inputs


def check(pins: Pins, provided: Mapping[Target, Mapping[str, Provided]]) -> None:
    """Hold R and each of its packages against the system packages that they are; raise ``LockFormatError``."""
    for target, rows in provided.items():
        if str(target) in pins.archives:
            continue
        version = rows[pins.package].version if pins.package in rows else "none"
        if not is_version_of(version, pins.version):
            raise LockFormatError(
                f"dsenv.lock has R {pins.version} for {target}, and {pins.package} {version} among its system packages"
            )
    held = {(str(target), row.name): row.artifact.sha256 for target, rows in provided.items() for row in rows.values()}
    for package in pins.packages:
        for name, artifact in package.artifacts.items():
            if isinstance(artifact, DebArtifact) and held.get((name, artifact.package)) != artifact.sha256:
                raise LockFormatError(
                    f"dsenv.lock has R package {package.name} for {name} with another sha256 than its system package "
                    f"{artifact.package}"
                )


def write(pins: Pins, inputs: Table) -> LockFiles:
    """Return the pins as lock files, with the export for renv."""
    table: Table = {
        "version": pins.version,
        **({"package": pins.package} if pins.package else {}),
        "inputs": spread(inputs),
        "packages": [_row(package) for package in pins.packages],
    }
    if pins.archives:
        table["archives"] = {
            target: pins.archives[target].model_dump(mode="json", exclude_defaults=True)
            for target in sorted(pins.archives)
        }
    if pins.groups:
        table["groups"] = list(pins.groups)
    provenance: Table = {}
    for key, rows in (("repositories", pins.provenance.repositories), ("binaries", pins.provenance.binaries)):
        if rows:
            provenance[key] = [row.model_dump(mode="json") for row in rows]
    return LockFiles(table=table, provenance=provenance, exports={renv.FILE: _export(pins)})


def revealed(pins: Pins, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
    """Return the system packages that only the resolution revealed: what packages are built and run with."""
    del offers
    found = {Need(name, why=f"r:{row.name}") for row in pins.packages for name in row.needs}
    for row in pins.packages:
        others = (artifact for artifact in row.artifacts.values() if isinstance(artifact, BinaryArtifact))
        found |= {Need(name, why=f"r:{row.name}") for artifact in others for name in artifact.needs}
    sources = [row for row in pins.packages if _has(row, SourceArtifact)]
    # What has headers that a source is compiled with may itself be built already.
    building = {row.name for row in sources} | {name for row in sources for name in row.linking_to}
    for row in pins.packages:
        if row.name in building:
            found |= {Need(name, why=f"r:{row.name}", build=True) for name in row.build_needs}
    found |= {Need(name, why="r") for archive in pins.archives.values() for name in archive.needs}
    if any(_has(row, SourceArtifact | BinaryArtifact) for row in pins.packages):
        found.add(Need(_MAKE, why="r", build=True))
    if any(row.compiles for row in sources):
        found |= {Need(name, why="r", build=True) for name in compilers(pins)}
    return tuple(sorted(found))


def compilers(pins: Pins) -> tuple[str, ...]:
    """Return the system packages with all that packages with code are compiled with."""
    return built.COMPILERS if pins.archives else (COMPILERS,)


def versions(pins: Pins) -> Mapping[str, str]:
    """Return the version of each package."""
    own = {R: pins.version} if pins.archives else {}
    return {**own, **{package.name: package.version for package in pins.packages}}


def groups(pins: Pins) -> Sequence[str]:
    """Return the groups of packages."""
    return pins.groups


def owns(filename: str, text: str) -> bool:
    """Say whether an export is dsenv's and unchanged."""
    return filename == renv.FILE and renv.is_ours(text)


def canonical(pins: Pins) -> object:
    """Return what the lock digest covers: everything but addresses."""
    return pins.model_dump(
        mode="json",
        exclude={
            "provenance": True,
            "archives": {"__all__": {"url"}},
            "packages": {"__all__": {"source": {"urls"}, "artifacts": {"__all__": {"urls"}}}},
        },
        exclude_defaults=True,
    )


def artifacts(pins: Pins, selection: Selection, place: Place) -> tuple[Artifact, ...]:
    """Return the files that a place needs beyond the system part's; sources are needed where they are built."""
    archive = pins.archives.get(str(selection.target)) if place.kind != "host" else None
    return (archive.artifact(),) if archive else ()


def identity(pins: Pins, selection: Selection) -> object:
    """Return what the environment id covers; of a source its content, which a repack does not change."""
    target = str(selection.target)
    return {
        "version": pins.version,
        **({"archive": pins.archives[target].sha256} if target in pins.archives else {}),
        "packages": [[row.name, row.version, _hash(row, target)] for row in pins.selected(selection)],
    }


def _hash(package: Package, target: str) -> str:
    artifact = package.artifacts[target]
    if isinstance(artifact, DebArtifact | BinaryArtifact):
        return artifact.sha256
    return package.source.content if package.source else ""


def _has(package: Package, kind: type[AnyArtifact] | UnionType) -> bool:
    """Say whether a package is locked as such an artifact for a target."""
    return any(isinstance(artifact, kind) for artifact in package.artifacts.values())


def _is_distributed(package: Package) -> bool:
    return all(isinstance(artifact, DebArtifact | OwnArtifact) for artifact in package.artifacts.values())


def _export(pins: Pins) -> str:
    """Return the export for renv: what comes from sources, else what the distribution has built."""
    rows = [row for row in pins.packages if row.source] or list(pins.packages)
    where = {row.name: row.url for row in pins.provenance.repositories if not row.name.startswith("bioc")}
    release = next((match[1] for row in pins.provenance.repositories if (match := _RELEASE.search(row.url))), "")
    return renv.export(pins.version, map(_record, rows), where, release)


def _record(package: Package) -> renv.Record:
    source = package.source
    record = renv.Record(name=package.name, version=package.version, requires=package.requires, hash=package.renv_hash)
    if source is None:
        return record
    if source.kind == "repository":
        is_bioc = source.repository.partition("/")[0] == "bioc"
        word = "Bioconductor" if is_bioc else "Repository"
        return replace(record, source=word, repository="" if is_bioc else source.repository)
    word, remote = renv.remote(source.kind, source.remote.model_dump())
    return replace(record, source=word, repository="", remote=remote)


def _row(package: Package) -> dict[str, Any]:
    row = package.model_dump(by_alias=True, mode="json", exclude={"artifacts", "source"}, exclude_defaults=True)
    row["artifacts"] = {target: _artifact(package.artifacts[target]) for target in sorted(package.artifacts)}
    if package.source:
        source = package.source.model_dump(by_alias=True, mode="json", exclude_defaults=True)
        if remote := source.pop("remote", None):
            source["remote"] = Inline(remote)
        source["sha256"] = Lines(source["sha256"])
        source["urls"] = Lines(source.pop("urls", ()))
        row["source"] = source
    return row


def _artifact(artifact: AnyArtifact) -> Mapping[str, Any]:
    if not isinstance(artifact, BinaryArtifact):
        return Inline(artifact.model_dump())
    table = artifact.model_dump(by_alias=True, mode="json", exclude_defaults=True)
    if linking_to := table.pop("linking-to", None):
        table["linking-to"] = Inline({name: linking_to[name] for name in sorted(linking_to)})
    return {"kind": artifact.kind, **table, "urls": Lines(artifact.urls)}
