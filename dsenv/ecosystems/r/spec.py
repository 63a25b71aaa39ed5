"""What a person may write about R: the table ``[r]``."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from dsenv import addresses
from dsenv.ecosystems.r.entries import RBound, RRequest, checked, kind
from dsenv.ecosystems.r.names import RName, SystemName
from dsenv.ecosystems.r.requests import RPackageRequest, parse_request
from dsenv.errors import WrongUseError
from dsenv.model import Array, Model, Text
from dsenv.network import Network
from dsenv.pins import normal_group, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dsenv.ecosystem import Platform, Table

APT: Final = ("apt",)
CRAN: Final = "CRAN"
BIOC: Final = "bioc"
_RESERVED: Final = {"apt", BIOC}


LinuxTarget = Literal["linux-amd64", "linux-arm64"]
TargetName = Literal["linux-amd64", "linux-arm64", "macos-amd64", "macos-arm64"]


def _check_template(text: str) -> str:
    if "{date}" not in text:
        msg = "expected an address with `{date}` in the place of `2026-11-20`"
        raise ValueError(msg)
    addresses.check(text.replace("{date}", "2026-11-20"))
    return text


_WORDS: Final = re.compile(r"\{(?:r|arch|date)\}")  # of an address of built packages


def _check_binary(text: str) -> str:
    addresses.check(_WORDS.sub("x", text))
    return text


BinaryAddress = Annotated[str, checked(_check_binary)]


class Repository(Model):
    """A repository in CRAN's form."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        description="What it is called; letters and digits, joined by `.`, `_` or `-`."
    )
    url: Annotated[str, AfterValidator(addresses.check)] = Field(description="Its address, above `src/contrib`.")
    as_of_url: Annotated[str, checked(_check_template)] | None = Field(
        default=None, description="The address of its state of a day, with `{date}` in it."
    )
    binary: (
        Annotated[
            Annotated[BinaryAddress, Tag("text")] | Annotated[dict[TargetName, BinaryAddress], Tag("table")],
            Discriminator(kind),
        ]
        | None
    ) = Field(
        default=None,
        description="Where it has built packages, for Linux or by target: an address above `src/contrib`, or down to "
        "`contrib/{r}`; `{r}` is R's minor version, `{arch}` such as `x86_64`, `{date}` that of `as-of`. "
        "By default sources alone are taken.",
    )

    def binary_for(self, target: str) -> str:
        """Return the address of the packages that are built for a target, as it is written; "" for none."""
        if isinstance(self.binary, str):
            return self.binary if target.startswith("linux-") else ""
        return next((address for name, address in (self.binary or {}).items() if name == target), "")


def _check_repositories(found: tuple[str | Repository, ...]) -> tuple[str | Repository, ...]:
    if "apt" in found and len(found) > 1:
        msg = '`"apt"` stands alone: the distribution\'s R packages and others break each other'
        raise ValueError(msg)
    for name in (item for item in found if isinstance(item, str)):
        if name not in {"apt", CRAN}:
            msg = f"`{name}` is not known by name: expected `CRAN`, `apt`, or a table with `name` and `url`"
            raise ValueError(msg)
    names = [item if isinstance(item, str) else item.name for item in found]
    for item in found:
        if isinstance(item, Repository) and item.name in _RESERVED:
            msg = f"`{item.name}` means something else: expected another name"
            raise ValueError(msg)
    if len(set(names)) < len(names):
        msg = "expected each name once"
        raise ValueError(msg)
    return found


RepositoryItem = Annotated[Annotated[Text, Tag("text")] | Annotated[Repository, Tag("table")], Discriminator(kind)]
GroupName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$")]


class Bioconductor(Model):
    """Where Bioconductor is, and which release of it."""

    url: Annotated[str, AfterValidator(addresses.check)] | None = Field(
        default=None, description="The address above `packages/3.16`; by default R's own `BioC_mirror`."
    )
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+$")] | None = Field(
        default=None, description="`3.16`: by default the newest release for the locked R."
    )


def _check_archive(text: str) -> str:
    addresses.check(_WORDS.sub("x", text))
    if not re.search(r"/[A-Za-z0-9][A-Za-z0-9._+-]*\.(?:tar\.gz|tgz)$", _WORDS.sub("x", text)):
        msg = "expected the address of an archive, ending in `.tar.gz`"
        raise ValueError(msg)
    return text


ArchiveAddress = Annotated[str, checked(_check_archive)]


class Spec(Model):
    """``[r]``: R's version and packages."""

    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$")] = Field(
        description="`4.2`, or `4.2.2` to insist on the patch: R itself."
    )
    archive: (
        Annotated[
            Annotated[ArchiveAddress, Tag("text")] | Annotated[dict[LinuxTarget, ArchiveAddress], Tag("table")],
            Discriminator(kind),
        ]
        | None
    ) = Field(
        default=None,
        description="The address of a build of R that runs wherever it is unpacked, for the only Linux target or by "
        "target: R itself, instead of the distribution's.",
    )
    packages: Array[RRequest] = Field(
        default=(),
        description="Names of R packages with optional bounds, `ggplot2>=3.4`; `bioc::limma`, `user/repo@ref`, tables.",
    )
    repositories: Annotated[Array[RepositoryItem], AfterValidator(_check_repositories)] = Field(
        default=(CRAN,),
        min_length=1,
        description='Where packages come from, in order: `["CRAN"]` as R has it set, tables with `name` and `url`, '
        'or `["apt"]` for those that the distribution has built.',
    )
    groups: dict[GroupName, Array[RRequest]] = Field(
        default={}, description="Packages that are installed only when their group is asked for."
    )
    constraints: Array[RBound] = Field(default=(), description="Bounds for packages that something else asks for.")
    suggests: Array[RName] = Field(default=(), description="Packages whose Suggests are wanted, too.")
    source: Literal["DESCRIPTION"] | None = Field(
        default=None, alias="from", description="`DESCRIPTION`: what it names is taken over."
    )
    as_of_url: Annotated[str, checked(_check_template)] | None = Field(
        default=None, description="The address of CRAN's state of a day, with `{date}` in it: for `as-of`."
    )
    bioconductor: Bioconductor = Field(default=Bioconductor(), description="Where `bioc::` packages come from.")
    from_source: Array[RName] = Field(
        default=(), description="Packages that are built from source although a repository has built them."
    )
    system_requirements: dict[RName, Array[SystemName]] = Field(
        default={},
        description="System packages that an R package needs, instead of what its DESCRIPTION is read to mean; "
        "those named `-dev` only to build it.",
    )

    @property
    def local(self) -> Mapping[str, str]:
        """What lies in the project's directory: by path the sha256 of what is there."""
        return {}

    def archive_for(self, target: str) -> str:
        """Return the address of R for a target, as it is written; "" for none."""
        if isinstance(self.archive, str):
            return self.archive if target.startswith("linux-") else ""
        return next((address for name, address in (self.archive or {}).items() if name == target), "")

    @property
    def from_apt(self) -> bool:
        """Whether the distribution's built packages are wanted."""
        return self.repositories == APT


class Expanded(Spec):
    """A spec with what other files of the project say."""

    directory: Path
    states: dict[str, str]

    @property
    def local(self) -> Mapping[str, str]:
        """What lies in the project's directory: by path the sha256 of what is there."""
        return self.states


def requested(spec: Spec) -> Iterator[tuple[str, RPackageRequest]]:
    """Yield what a person asked for: the group, "" for none, and each request."""
    for group, items in (("", spec.packages), *spec.groups.items()):
        for item in items:
            yield group, parse_request(item) if isinstance(item, str) else item.request()


_NOT_APTS: Final = ("archive", "constraints", "suggests", "as_of_url", "from_source", "system_requirements")


def unsupported(spec: Spec, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Return what is asked for and cannot be done."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    if spec.from_apt:
        others = [str(target) for target in platform.targets if target.os != "linux"]
        if others:
            faults.append((("repositories",), f'`["apt"]` has no R for {", ".join(others)}'))
        if spec.groups:
            faults.append(
                (("groups",), "the distribution's R packages come as one tree: no groups of them are left out")
            )
        faults.extend(
            ((Spec.model_fields[key].alias or key,), 'does not go with `repositories = ["apt"]`')
            for key in _NOT_APTS
            if getattr(spec, key)
        )
        for index, item in enumerate(spec.packages):
            request = parse_request(item) if isinstance(item, str) else item.request()
            if request.remote or request.repository:
                sentence = '`["apt"]` has only the distribution\'s packages: name one, or choose other repositories'
                faults.append((("packages", index), sentence))
        return faults
    windows = [str(target) for target in platform.targets if target.os == "windows"]
    if windows:
        faults.append((("repositories",), f"R packages are not locked for {', '.join(windows)}"))
    if not any(target.os == "linux" for target in platform.targets):
        faults.append((("version",), "R itself comes from a Linux distribution so far: expected a Linux target, too"))
    faults.extend(_misplaced(spec, platform))
    names = {item if isinstance(item, str) else item.name for item in spec.repositories}
    unknown = {request.repository for _, request in requested(spec)} - names - {"", BIOC}
    faults.extend((("repositories",), f"`{name}` is asked for, and not among them") for name in sorted(unknown))
    return faults


def _misplaced(spec: Spec, platform: Platform) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with addresses that are for some targets, or for some days."""
    linux = [str(target) for target in platform.targets if target.os == "linux"]
    if isinstance(spec.archive, str) and len(linux) > 1:
        yield ("archive",), f"expected an address for each of {', '.join(linux)}"
    elif spec.archive and (lacking := [target for target in linux if not spec.archive_for(target)]):
        yield ("archive",), f"it has no R for {', '.join(lacking)}"
    for at, item in enumerate(spec.repositories):
        if platform.as_of is None and "{date}" in " ".join(_binaries(item)):
            yield ("repositories", at, "binary"), "`{date}` goes with [project] as-of"


def network(spec: Spec | None) -> Network:
    """Return what R knows of the way to servers: who one is at the repositories that have addresses here."""
    if spec is None:
        return Network()
    return Network(
        credentials=addresses.Keys(_addresses(spec), keyring=True),
        directory=spec.directory if isinstance(spec, Expanded) else None,
    )


def _addresses(spec: Spec) -> Iterator[addresses.Address]:
    """Yield the addresses of repositories and of R itself, as far as their variables are set."""
    archives = (spec.archive,) if isinstance(spec.archive, str) else (spec.archive or {}).values()
    for address in archives:
        with contextlib.suppress(WrongUseError):
            yield addresses.filled(address, "[r] archive")
    for item in spec.repositories:
        if isinstance(item, str):
            continue
        for template in filter(None, (item.url, item.as_of_url, *_binaries(item))):
            with contextlib.suppress(WrongUseError):  # said by whoever needs it; a restore from the store needs none
                yield addresses.filled(_WORDS.sub("x", template), f"repository {item.name}")


def _binaries(item: str | Repository) -> Iterator[str]:
    """Yield the addresses of built packages that a repository has."""
    if isinstance(item, Repository) and item.binary:
        yield from (item.binary,) if isinstance(item.binary, str) else item.binary.values()


def inputs(spec: Spec, platform: Platform) -> Table:
    """Return what decides the resolution, in canonical form."""
    groups: dict[str, set[str]] = {normal_group(name): set() for name in spec.groups}
    for group, request in requested(spec):
        groups.setdefault(normal_group(group), set()).add(str(request))
    table: Table = {
        "packages": sorted(groups.pop("", ())),
        "repositories": [_repository_input(item, platform) for item in spec.repositories],
        "targets": sorted(str(target) for target in platform.targets),
        "version": spec.version,
    }
    archives = {target: address for target in table["targets"] if (address := spec.archive_for(target))}
    further: Table = {
        "archive": {target: without_credentials(address) for target, address in archives.items()},
        "groups": {name: sorted(groups[name]) for name in sorted(groups)},
        "constraints": sorted({str(parse_request(text)) for text in spec.constraints}),
        "local": {path: spec.local[path] for path in sorted(spec.local)},
        "suggests": sorted(set(spec.suggests)),
        "as-of": "" if spec.from_apt else str(platform.as_of or ""),
        "after-as-of": [] if spec.from_apt or not platform.as_of else sorted(platform.after_as_of),
        "as-of-url": spec.as_of_url if platform.as_of and spec.as_of_url else "",
        "bioconductor": " ".join(filter(None, (spec.bioconductor.version, spec.bioconductor.url))),
        "from-source": sorted(set(spec.from_source)),
        "system-requirements": {
            name: sorted(set(spec.system_requirements[name])) for name in sorted(spec.system_requirements)
        },
    }
    return {**table, **{key: value for key, value in further.items() if value}}


def _repository_input(item: str | Repository, platform: Platform) -> str:
    """Return what decides where packages come from; which address R has set for ``"CRAN"`` does not."""
    if isinstance(item, str):
        return item
    dated = (item.as_of_url,) if platform.as_of and item.as_of_url else ()
    built = [
        f"{target}={without_credentials(address)}"
        for target in sorted(str(target) for target in platform.targets)
        if (address := item.binary_for(target))
    ]
    return " ".join([item.name, *map(without_credentials, (item.url, *dated)), *built])
