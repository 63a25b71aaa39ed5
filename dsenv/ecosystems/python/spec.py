"""What a person may write about Python: the table ``[python]``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from dsenv import addresses
from dsenv.ecosystems.python import dates
from dsenv.ecosystems.python.origins import reference
from dsenv.ecosystems.python.origins.reference import Table
from dsenv.model import Array, Model, Text, printable
from dsenv.pins import TARGETS, Target, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsenv.ecosystem import Platform
    from dsenv.ecosystem import Table as TomlTable
    from dsenv.ecosystems.python.origins.reference import Reference

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_NOT_PIPS: Final = {
    "conflicts": "pip-tools solves all groups together: use `uv`",
    "overrides": "pip-tools cannot replace what a package asks for: use `uv`",
    "exclude": "pip-tools cannot leave a package out: use `uv`",
    "indexes": "pip takes a package from whichever index has it: only `uv` can route some to one",
    "prereleases": "pip-tools takes pre-releases where a requirement names one (`>=2.0rc1`), not by package: use `uv`",
}


def _check_requirement(written: str | Table) -> str:
    """Return a requirement as text, whether or not it names its own source."""
    try:
        text = written.text() if isinstance(written, Table) else printable(written)
        reference.read(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        msg = f"expected a requirement such as `pandas>=2.2`: {reason[:1].lower()}{reason[1:]}"
        raise ValueError(msg) from error
    return text


def _check_bound(text: str) -> str:
    if Requirement(_check_requirement(text)).url:
        msg = "expected a bound such as `numpy<3`; where a package comes from is said where it is asked for"
        raise ValueError(msg)
    return text


def _check_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        msg = "expected a name of letters and digits, joined by `.`, `_` or `-`"
        raise ValueError(msg)
    return text


def _check_groups(groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    seen: dict[str, str] = {}
    for name in groups:
        other = seen.setdefault(canonicalize_name(name), name)
        if other != name:
            msg = f"`{other}` and `{name}` are one name to Python's tools: expected one group"
            raise ValueError(msg)
    return groups


def _check_pattern(text: str) -> str:
    printable(text)
    if not _NAME.fullmatch(text.replace("*", "x")) or not text.strip("*"):
        msg = "expected a package's name, or a pattern such as `acme-*`"
        raise ValueError(msg)
    return text


def _check_target(text: str) -> str:
    if text not in TARGETS:
        msg = f"expected one of {', '.join(TARGETS)}"
        raise ValueError(msg)
    return text


def _check_age(text: str) -> str:
    dates.age(text)
    return text


if TYPE_CHECKING:
    PythonRequirement = str  # once it is checked
else:
    PythonRequirement = Annotated[reference.Written, AfterValidator(_check_requirement)]
PythonBound = Annotated[str, AfterValidator(_check_bound)]
PythonName = Annotated[str, AfterValidator(_check_name)]
Groups = Annotated[dict[PythonName, Array[PythonRequirement]], AfterValidator(_check_groups)]


class Index(Model):
    """A package index beside the default one, and what comes from it and from no other."""

    name: PythonName = Field(description="What it is called: `acme` reads the user from `UV_INDEX_ACME_USERNAME`.")
    url: Annotated[str, AfterValidator(addresses.check)] = Field(
        description="Its address; `${NAME}` stands for a variable of the environment."
    )
    packages: Array[Annotated[str, AfterValidator(_check_pattern)]] = Field(
        description="Names and patterns (`acme-*`) of the packages that come from it alone; `[]` for none."
    )
    targets: Array[Annotated[str, AfterValidator(_check_target)]] = Field(
        default=(), description="The targets on which they do; on others they come from the default index."
    )
    format: Literal["simple", "flat"] = Field(
        default="simple", description="`flat` for one page of links, as pip's find-links has it."
    )


def _check_indexes(indexes: tuple[Index, ...]) -> tuple[Index, ...]:
    """Refuse two indexes that are one to uv, and a package that comes from both."""
    names: set[str] = set()
    packages: dict[tuple[str, str], str] = {}
    for index in indexes:
        name = re.sub(r"[^a-z0-9]", "_", index.name.lower())
        if name in names:
            msg = f"two indexes are called `{index.name}`"
            raise ValueError(msg)
        names.add(name)
        for pattern in index.packages:
            for target in index.targets or TARGETS:
                other = packages.setdefault((canonical_pattern(pattern), target), index.name)
                if other != index.name:
                    msg = f"`{pattern}` is to come from `{other}` and from `{index.name}` on {target}"
                    raise ValueError(msg)
    return indexes


def canonical_pattern(pattern: str) -> str:
    """Return a name or pattern in the form in which names are compared: ``acme-*``."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


_Build = Annotated[
    Annotated[Literal["never"], Tag("word")] | Annotated[Array[PythonName], Tag("names")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "names"),
]


class Spec(Model):
    """``[python]``: the interpreter's version and packages of the Python index."""

    version: Annotated[str, StringConstraints(pattern=r"^3\.[0-9]+(\.[0-9]+)?$")] = Field(
        description="`3.11`, or `3.11.2` to insist on the patch: the distribution's own Python, else a build of it."
    )
    packages: Array[PythonRequirement] = Field(
        default=(), description="Requirements as PEP 508 writes them, `pandas>=2.2`, or as tables with their source."
    )
    groups: Groups = Field(
        default={}, description="Requirements that are installed only when their group is asked for."
    )
    resolver: Literal["uv", "pip-tools"] = Field(default="uv", description="The engine that finds the pins.")
    constraints: Array[PythonBound] = Field(default=(), description="Bounds for packages that something else asks for.")
    overrides: Array[PythonRequirement] = Field(
        default=(), description="Requirements that replace what packages ask for themselves."
    )
    exclude: Array[PythonName] = Field(default=(), description="Packages to leave out, whoever asks for them.")
    prereleases: Array[PythonName] = Field(default=(), description="Packages of which a pre-release may be taken.")
    source: Text | None = Field(default=None, alias="from", description="A file whose requirements are taken over.")
    build: _Build = Field(
        default="never",
        description="Packages of an index that may be built from source; one that names its own source always may.",
    )
    conflicts: Array[Array[PythonName]] = Field(default=(), description="Sets of groups that are solved apart.")
    indexes: Annotated[Array[Index], AfterValidator(_check_indexes)] = Field(
        default=(), description="Package indexes, each with the packages that come from it alone."
    )
    min_age: Annotated[str, AfterValidator(_check_age)] = Field(
        default="", description="How long a file must have been on its index: `7d`, `36h`, `2w`."
    )


class Expanded(Spec):
    """The same with what other files of the project say."""

    directory: Path
    local: dict[str, str]  # what lies in the project's directory, a sha256 by its path


def unsupported(spec: Spec, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Return what is asked for and cannot be done yet."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    if spec.resolver == "pip-tools":
        faults.extend(_beyond_pip(spec, platform))
    return faults


def _beyond_pip(spec: Spec, platform: Platform) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Yield what pip has no way to do."""
    if len(platform.targets) > 1:
        yield ("resolver",), "pip-tools resolves for one target, that of the machine it runs on: use `uv` for several"
    if platform.after_as_of:
        yield ("resolver",), "pip-tools knows no exceptions to a date, which `after-as-of` asks for: use `uv`"
    for field, sentence in _NOT_PIPS.items():
        if getattr(spec, field):
            yield (field,), sentence


def inputs(spec: Spec, platform: Platform) -> TomlTable:
    """Return what decides the resolution, in canonical form."""
    table: TomlTable = {
        "version": spec.version,
        "resolver": spec.resolver,
        "targets": sorted(str(target) for target in platform.targets),
        "packages": _sorted(spec.packages),
        "groups": {canonicalize_name(name): _sorted(spec.groups[name]) for name in sorted(spec.groups)},
        "conflicts": conflicts(spec),
        "constraints": _sorted(spec.constraints),
        "overrides": _sorted(spec.overrides),
        "exclude": sorted(canonicalize_name(name) for name in spec.exclude),
        "prereleases": sorted(canonicalize_name(name) for name in spec.prereleases),
        "build": sorted(buildable(spec)),
        "indexes": {index.name: _index_inputs(index) for index in sorted(spec.indexes, key=lambda index: index.name)},
        "as-of": str(platform.as_of or ""),
        "after-as-of": _sorted(platform.after_as_of),
        "min-age": spec.min_age,
        "local": spec.local if isinstance(spec, Expanded) else {},
    }
    return {key: value for key, value in table.items() if value}


def requirements(spec: Spec) -> list[str]:
    """Return all that is asked for, whatever group it belongs to."""
    return [*spec.packages, *(text for group in spec.groups.values() for text in group)]


def references(spec: Spec) -> list[Reference]:
    """Return the sources that requirements name, those that replace others among them."""
    return reference.all_of([*requirements(spec), *spec.overrides])


def buildable(spec: Spec) -> set[str]:
    """Return the packages of an index that may be built from source."""
    return {str(canonicalize_name(name)) for name in (() if spec.build == "never" else spec.build)}


def conflicts(spec: Spec) -> list[list[str]]:
    """Return the sets of groups that are solved apart, by normalized names."""
    return sorted(sorted({str(canonicalize_name(name)) for name in names}) for names in spec.conflicts)


def _index_inputs(index: Index) -> TomlTable:
    table: TomlTable = {
        "url": without_credentials(index.url),
        "packages": sorted({canonical_pattern(pattern) for pattern in index.packages}),
        "targets": sorted({str(Target.parse(text)) for text in index.targets}),
        "format": index.format,
    }
    return {key: value for key, value in table.items() if value not in ([], "simple")}


def _sorted(requirements: Sequence[str]) -> list[str]:
    return sorted({reference.public(text) for text in requirements})
