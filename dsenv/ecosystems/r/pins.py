"""What is locked of R: its version, and each package with one artifact a target.

[r]             R's version and the system package that it is
[[r.packages]]  one row a package; its artifact for a target may be one of the system part's .debs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import StringConstraints, ValidationError

from dsenv.ecosystem import LockFiles, Table
from dsenv.ecosystems.r import renv
from dsenv.ecosystems.r.versions import is_version_of
from dsenv.errors import LockFormatError
from dsenv.formats.toml_write import Inline, spread
from dsenv.model import Array, Model, Sha256Text, Text, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.pins import Artifact, Provided, Selection, Target
    from dsenv.steps import Place

RName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9]$")]
RVersionText = Annotated[str, StringConstraints(pattern=r"^[0-9]+([.-][0-9]+)*$")]


class DebArtifact(Model):
    """A package that the distribution has built: a row of the system part."""

    kind: Literal["deb"] = "deb"
    package: Text  # "r-cran-dplyr"
    sha256: Sha256Text


class Package(Model):
    """One locked R package."""

    name: RName
    version: RVersionText  # as its DESCRIPTION spells it: "0.8-84"
    why: Array[Text]
    requires: Array[RName | Literal["R"]] = ()  # R's own packages included
    renv_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    artifacts: dict[str, DebArtifact]  # by target


class Pins(Model):
    """The R part of a lock."""

    version: RVersionText  # R's own: "4.2.2"
    package: Text  # the system package that R is: "r-base-core"
    packages: Array[Package]  # sorted by name


def read(lock: LockFiles) -> tuple[Pins, Table]:
    """Return the pins of a lock and the inputs that they answer; raise ``LockFormatError``."""
    table = dict(lock.table)
    inputs = table.pop("inputs", {})
    try:
        return Pins.model_validate(table), inputs
    except ValidationError as error:
        raise LockFormatError("the R part of dsenv.lock is damaged", cause=describe(error)) from error


def check(pins: Pins, provided: Mapping[Target, Mapping[str, Provided]]) -> None:
    """Hold R and each of its packages against the system packages that they are; raise ``LockFormatError``."""
    for target, rows in provided.items():
        version = rows[pins.package].version if pins.package in rows else "none"
        if not is_version_of(version, pins.version):
            raise LockFormatError(
                f"dsenv.lock has R {pins.version} for {target}, and {pins.package} {version} among its system packages"
            )
    held = {(str(target), row.name): row.artifact.sha256 for target, rows in provided.items() for row in rows.values()}
    for package in pins.packages:
        for name, artifact in package.artifacts.items():
            if held.get((name, artifact.package)) != artifact.sha256:
                raise LockFormatError(
                    f"dsenv.lock has R package {package.name} for {name} with another sha256 than its system package "
                    f"{artifact.package}"
                )


def write(pins: Pins, inputs: Table) -> LockFiles:
    """Return the pins as lock files, with the export for renv."""
    records = [
        renv.Record(name=row.name, version=row.version, requires=row.requires, hash=row.renv_hash)
        for row in pins.packages
    ]
    table: Table = {
        "version": pins.version,
        "package": pins.package,
        "inputs": spread(inputs),
        "packages": [_row(package) for package in pins.packages],
    }
    return LockFiles(table=table, exports={renv.FILE: renv.export(pins.version, records)})


def versions(pins: Pins) -> Mapping[str, str]:
    """Return the version of each package."""
    return {package.name: package.version for package in pins.packages}


def owns(filename: str, text: str) -> bool:
    """Say whether an export is dsenv's and unchanged."""
    return filename == renv.FILE and renv.is_ours(text)


def canonical(pins: Pins) -> object:
    """Return what the lock digest covers."""
    return pins.model_dump(mode="json")


def artifacts(pins: Pins, selection: Selection, place: Place) -> tuple[Artifact, ...]:
    """Return the files that a place needs beyond the system part's: none, when R comes from the distribution."""
    del pins, selection, place
    return ()


def identity(pins: Pins, selection: Selection) -> object:
    """Return what the environment id covers."""
    target = str(selection.target)
    return {
        "version": pins.version,
        "packages": [
            [package.name, package.version, package.artifacts[target].sha256]
            for package in pins.packages
            if target in package.artifacts
        ],
    }


def _row(package: Package) -> dict[str, Any]:
    row = package.model_dump(by_alias=True, mode="json", exclude={"artifacts"})
    row["artifacts"] = {target: Inline(package.artifacts[target].model_dump()) for target in sorted(package.artifacts)}
    return row
