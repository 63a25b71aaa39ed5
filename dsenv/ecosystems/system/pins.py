"""What is locked of the system: for each target the whole package set of the root, base included.

A set relative to a base that drifts ends in held broken packages, so every row is here; those of the base are
marked. In ``dsenv.lock``:

    [system.inputs]                 what was asked for; base, locale and time zone are part of the pins
    [system.linux-amd64]            the distribution release and what its packages left to choose
    [[system.linux-amd64.packages]] one row a package
    [[provenance.system.archives]]  where the rows came from, with the signed indexes that anchor them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from dsenv.ecosystem import LockFiles, Table
from dsenv.ecosystems.system.spec import parse_base
from dsenv.errors import LockFormatError
from dsenv.formats.toml_write import Inline, spread
from dsenv.model import Array, Model, Sha256Text, Size, Text, describe
from dsenv.pins import Artifact, Provided, Selection, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsenv.pins import Need
    from dsenv.steps import Place

OWN_REASONS: Final = ("base", "dependency", "recommended by ")  # why a row is there that nobody asked for
PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]*[a-z0-9+]$")]
PackageVersion = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+~:-]*$")]


def _no_dots(path: str) -> str:
    if {".", ".."} & set(path.split("/")):
        msg = "it leads outside of where it belongs"
        raise ValueError(msg)
    return path


def _check_base(text: str) -> str:
    parse_base(text)
    return text


PoolPath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9+_~%.-][A-Za-z0-9+_~%:./-]*\.deb$"), AfterValidator(_no_dots)
]
RootPath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9+_.:~-]+)+$"), AfterValidator(_no_dots)]


class Package(Model):
    """One locked package."""

    name: PackageName
    version: PackageVersion  # "1:1.2.13.dfsg-1"
    architecture: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]  # "amd64", "all"
    source: PackageName  # CVEs are filed on source packages
    source_version: PackageVersion
    sha256: Sha256Text
    size: Size
    filename: PoolPath  # "pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb", below an archive's address
    origin: Text  # the suite that lists it: "bookworm-security"
    base: bool = False
    build: bool = False  # only building takes it: it comes into no environment
    why: Array[Text]  # ("requested",), ("r:curl",), ("dependency",)
    dependencies: Array[PackageName] = ()  # names of other rows

    @model_validator(mode="before")
    @classmethod
    def _source(cls, row: Any) -> Any:
        """Fill in the source package where the lock leaves it out: it is called and numbered as the package."""
        if isinstance(row, dict) and "name" in row and "version" in row and "source_version" not in row:
            return {"source": row["name"], "source-version": row["version"], **row}
        return row


class Layer(Model):
    """The root file system made of all rows, once it was made: bit-identical wherever it is made again."""

    sha256: Sha256Text
    made_with: Text  # "mmdebstrap 1.3.5"


class Root(Model):
    """The system of one target."""

    distribution: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")]
    codename: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")]
    packages: Array[Package]  # sorted by name
    alternatives: dict[RootPath, RootPath] = Field(default={})  # a shared name's path -> the selected file
    layer: Layer | None = None

    @property
    def installed(self) -> tuple[Package, ...]:
        """The rows that come into an environment: all but those that only building takes."""
        return tuple(package for package in self.packages if not package.build)


class IndexFile(Model):
    """A Packages file that anchors rows, and the signed file that vouches for it; both are kept in the store."""

    target: Text
    path: Text  # "main/binary-amd64/Packages.xz", below dists/<suite>/
    sha256: Sha256Text


class Archive(Model):
    """A suite of an apt archive, as it was read."""

    uri: Text  # without credentials
    suite: Text  # its codename; a third party's name
    date: Text  # of its Release file
    inrelease: Sha256Text
    fallbacks: Array[Text] = ()  # addresses of a snapshot of it, or of the live archive that it is a snapshot of
    fingerprints: Array[Text] = ()  # of a third party's keys
    indexes: Array[IndexFile]


class Provenance(Model):
    """What the rows were resolved with."""

    apt: Text = ""
    archives: Array[Archive] = ()
    statuses: dict[Text, Sha256Text] = Field(default={})  # of a base image's packages, by target; kept in the store


class Pins(Model):
    """The system part of a lock."""

    base: Annotated[str, AfterValidator(_check_base)]
    locale: Text
    timezone: Text
    roots: dict[str, Root]  # by target
    provenance: Provenance = Provenance()

    def root(self, target: Target) -> Root | None:
        """Return a target's system, or ``None`` for one without system packages."""
        return self.roots.get(str(target))

    def artifact(self, package: Package) -> Artifact:
        """Return a row's .deb with every address that is known for it; a third party has its own, and no other's."""
        archives = sorted(self.provenance.archives, key=lambda archive: archive.suite != package.origin)
        strangers = {archive.suite for archive in archives if archive.fingerprints}
        if package.origin in strangers:
            archives = [archive for archive in archives if archive.suite == package.origin]
        else:
            archives = [archive for archive in archives if archive.suite not in strangers]
        addresses = [archive.uri for archive in archives]
        addresses.extend(address for archive in archives for address in archive.fallbacks)
        urls = tuple(dict.fromkeys(f"{address}/{package.filename}" for address in addresses))
        return Artifact(filename=deb_name(package), sha256=package.sha256, size=package.size, urls=urls)


def deb_name(package: Package) -> str:
    """Return the file name of a row's .deb, with the epoch as apt writes it."""
    return f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"


def read(lock: LockFiles) -> tuple[Pins, Table]:
    """Return the pins of a lock and the inputs that they answer; raise ``LockFormatError``."""
    table = dict(lock.table)
    inputs = table.pop("inputs", {})
    common = {key: inputs[key] for key in ("base", "locale", "timezone") if key in inputs}
    try:
        return Pins.model_validate({**common, "roots": table, "provenance": lock.provenance}), inputs
    except ValidationError as error:
        raise LockFormatError("the system part of dsenv.lock is damaged", cause=describe(error)) from error


def check(pins: Pins, provided: Mapping[Target, Mapping[str, Provided]]) -> None:
    """Do nothing: these pins are the locked system packages themselves."""
    del pins, provided


def write(pins: Pins, inputs: Table) -> LockFiles:
    """Return the pins as lock files."""
    table: Table = {"inputs": spread(inputs)}
    for target in sorted(pins.roots):
        root = pins.roots[target]
        table[target] = {
            "distribution": root.distribution,
            "codename": root.codename,
            "alternatives": dict(sorted(root.alternatives.items())),
            "layer": Inline(root.layer.model_dump(by_alias=True)) if root.layer else {},
            "packages": [_row(package) for package in root.packages],
        }
        for name in ("alternatives", "layer"):
            if not table[target][name]:
                del table[target][name]
    return LockFiles(
        table=table, provenance=pins.provenance.model_dump(by_alias=True, mode="json", exclude_defaults=True)
    )


def versions(pins: Pins) -> Mapping[str, str]:
    """Return the version of each package; where targets differ, all of them."""
    found: dict[str, dict[str, None]] = {}
    for root in pins.roots.values():
        for package in root.packages:
            found.setdefault(package.name, {})[package.version] = None
    return {name: " / ".join(versions) for name, versions in sorted(found.items())}


def source_packages(pins: Pins) -> Mapping[str, str]:
    """Return the source package of each package."""
    return {package.name: package.source for root in pins.roots.values() for package in root.packages}


def answers(pins: Pins, needs: Sequence[Need]) -> bool:
    """Say whether the rows were solved for exactly these needs, on every target."""
    asked = {(need.name, need.why) for need in needs if not need.build}
    building = {(need.name, need.why) for need in needs if need.build}
    return all(_answers(root, asked, building) for root in pins.roots.values())


def _need(name: str, why: str) -> tuple[str, str]:
    """Return the need behind a row's reason: ``requested as awk`` is that of a virtual package."""
    reason, _, virtual = why.partition(" as ")
    return virtual or name, reason


def _answers(root: Root, asked: set[tuple[str, str]], building: set[tuple[str, str]]) -> bool:
    found: dict[bool, set[tuple[str, str]]] = {False: set(), True: set()}
    for row in root.packages:
        found[row.build].update(_need(row.name, why) for why in row.why if not why.startswith(OWN_REASONS))
    there = {row.name for row in root.installed}
    return found[False] == asked and found[True] == {pair for pair in building if pair[0] not in there}


def owns(filename: str, text: str) -> bool:
    """Say whether an export is dsenv's; there are none."""
    del filename, text
    return False


def canonical(pins: Pins) -> object:
    """Return what the lock digest covers: all but the provenance, and the layer, which follows from the rows."""
    table = pins.model_dump(mode="json", exclude={"provenance": True, "roots": {"__all__": {"layer"}}})
    for root in table["roots"].values():
        for row in root["packages"]:
            if not row["build"]:
                del row["build"]  # so that a lock without such rows has the digest that it always had
    return table


def provided(pins: Pins) -> Mapping[Target, Mapping[str, Provided]]:
    """Return the locked packages as the other ecosystems may see them."""
    return {
        Target.parse(target): {
            package.name: Provided(
                name=package.name,
                version=package.version,
                artifact=pins.artifact(package),
                dependencies=package.dependencies,
            )
            for package in root.installed
        }
        for target, root in pins.roots.items()
    }


def artifacts(pins: Pins, selection: Selection, place: Place) -> tuple[Artifact, ...]:
    """Return the .debs that a place needs: all in a root of its own, those beyond the base in a project."""
    root = pins.root(selection.target)
    if root is None or place.kind == "host":
        return ()
    rows = root.packages if place.kind == "workshop" else root.installed
    return tuple(pins.artifact(package) for package in rows if place.kind != "project" or not package.base)


def identity(pins: Pins, selection: Selection) -> object:
    """Return what the environment id covers."""
    root = pins.root(selection.target)
    rows = [[package.name, package.version, package.sha256] for package in root.installed] if root else []
    return {
        "base": pins.base,
        "locale": pins.locale,
        "timezone": pins.timezone,
        "packages": rows,
        "alternatives": root.alternatives if root else {},
    }


def _row(package: Package) -> dict[str, Any]:
    row = package.model_dump(by_alias=True, mode="json", exclude_defaults=True)
    if package.source == package.name:
        del row["source"]
    if package.source_version == package.version:
        del row["source-version"]
    return row
