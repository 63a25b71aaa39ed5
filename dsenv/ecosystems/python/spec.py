"""What a person may write about Python: the table ``[python]``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import AfterValidator, Field, StringConstraints

from dsenv.model import Array, Model, Text, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsenv.ecosystem import Platform, Table

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")  # PEP 508
_FUTURE: Final = {
    "build": "building from source is not supported yet: only wheels are locked",
    "indexes": "indexes of their own are not supported yet: set the default one in uv's configuration",
}

_NOT_PIPS: Final = {
    "conflicts": "pip-tools solves all groups together: use `uv`",
    "overrides": "pip-tools cannot replace what a package asks for: use `uv`",
    "exclude": "pip-tools cannot leave a package out: use `uv`",
    "prereleases": "pip-tools takes pre-releases where a requirement names one (`>=2.0rc1`), not by package: use `uv`",
}


def _check_requirement(text: str) -> str:
    printable(text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        msg = f"expected a requirement such as `pandas>=2.2`: {reason[:1].lower()}{reason[1:]}"
        raise ValueError(msg) from error
    if requirement.url:
        msg = "requirements by address are not supported yet: name a package of the index"
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


PythonRequirement = Annotated[str, AfterValidator(_check_requirement)]
PythonName = Annotated[str, AfterValidator(_check_name)]
Groups = Annotated[dict[PythonName, Array[PythonRequirement]], AfterValidator(_check_groups)]


class Index(Model):
    """A package index beside the default one."""

    name: Text
    url: Text
    packages: Array[Text] = ()


class Spec(Model):
    """``[python]``: the interpreter's version and packages of the Python index."""

    version: Annotated[str, StringConstraints(pattern=r"^3\.[0-9]+(\.[0-9]+)?$")] = Field(
        description="`3.11`, or `3.11.2` to insist on the patch: the interpreter."
    )
    packages: Array[PythonRequirement] = Field(
        default=(), description="Requirements as PEP 508 writes them: `pandas>=2.2`."
    )
    groups: Groups = Field(
        default={}, description="Requirements that are installed only when their group is asked for."
    )
    resolver: Literal["uv", "pip-tools"] = Field(default="uv", description="The engine that finds the pins.")
    constraints: Array[PythonRequirement] = Field(
        default=(), description="Bounds for packages that something else asks for."
    )
    overrides: Array[PythonRequirement] = Field(
        default=(), description="Requirements that replace what packages ask for themselves."
    )
    exclude: Array[PythonName] = Field(default=(), description="Packages to leave out, whoever asks for them.")
    prereleases: Array[PythonName] = Field(default=(), description="Packages of which a pre-release may be taken.")
    source: Text | None = Field(default=None, alias="from", description="A file whose requirements are taken over.")
    build: Literal["never"] | Array[PythonName] = Field(
        default="never", description="Packages that may be built from source."
    )
    conflicts: Array[Array[PythonName]] = Field(default=(), description="Sets of groups that are solved apart.")
    indexes: Array[Index] = Field(
        default=(), description="Package indexes, each with the packages that come from it alone."
    )


def unsupported(spec: Spec, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Return what is asked for and cannot be done yet."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for field, sentence in _FUTURE.items():
        if getattr(spec, field) != Spec.model_fields[field].default:
            faults.append(((Spec.model_fields[field].alias or field,), sentence))
    if spec.resolver == "pip-tools":
        faults.extend(_beyond_pip(spec, platform))
    return faults


def _beyond_pip(spec: Spec, platform: Platform) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Yield what pip has no way to do."""
    if len(platform.targets) > 1:
        yield ("resolver",), "pip-tools resolves for one target, that of the machine it runs on: use `uv` for several"
    for field, sentence in _NOT_PIPS.items():
        if getattr(spec, field):
            yield (field,), sentence


def inputs(spec: Spec, platform: Platform) -> Table:
    """Return what decides the resolution, in canonical form."""
    table: Table = {
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
    }
    return {key: value for key, value in table.items() if value}


def conflicts(spec: Spec) -> list[list[str]]:
    """Return the sets of groups that are solved apart, by normalized names."""
    return sorted(sorted({str(canonicalize_name(name)) for name in names}) for names in spec.conflicts)


def _sorted(requirements: Sequence[str]) -> list[str]:
    return sorted({str(Requirement(text)) for text in requirements})
