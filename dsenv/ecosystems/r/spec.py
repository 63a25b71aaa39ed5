"""What a person may write about R: the table ``[r]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from dsenv.ecosystems.r.versions import RVersion
from dsenv.model import Array, Model, Text, printable
from dsenv.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.ecosystem import Platform, Table

# "Writing R Extensions" 1.1.1: ASCII letters, digits and dots, at least two, not ending in a dot.
_NAME: Final = r"[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9]"
_BOUND: Final = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([0-9]+(?:[.-][0-9]+)*)\s*")
_ENTRY: Final = re.compile(rf"({_NAME})\s*((?:(?:>=|<=|==|!=|>|<)[^,]*)(?:,[^,]*)*)?")
_OTHER_SOURCE: Final = re.compile(r"[\w.-]+::.*|[\w.-]+/[\w.-]+(?:@.*)?")


def _check_entry(value: Any) -> Any:
    if not isinstance(value, str):
        msg = "packages by table (git, path) are not supported yet: name a package of the repository"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns a ValueError into a finding
    return value


_WITH_R: Final = frozenset(  # R's own: no repository has them
    (
        *("base", "compiler", "datasets", "grDevices", "graphics", "grid", "methods"),
        *("parallel", "splines", "stats", "stats4", "tcltk", "tools", "utils"),
    )
)


def _check_text(text: str) -> str:
    printable(text)
    if _OTHER_SOURCE.fullmatch(text):
        msg = "packages from Bioconductor, GitHub or a path are not supported yet"
        raise ValueError(msg)
    if parse_request(text).name in _WITH_R:
        msg = "this package is a part of R itself: leave it out"
        raise ValueError(msg)
    return text


RRequest = Annotated[str, BeforeValidator(_check_entry), AfterValidator(_check_text)]


class Spec(Model):
    """``[r]``: R's version and packages."""

    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$")] = Field(
        description="`4.2`, or `4.2.2` to insist on the patch: R itself."
    )
    packages: Array[RRequest] = Field(
        default=(), description="Names of R packages with optional bounds: `ggplot2>=3.4`."
    )
    repositories: Array[Text] = Field(
        default=("CRAN",),
        description='Where packages come from: `["apt"]` for those that the distribution has built.',
    )
    groups: dict[str, Array[RRequest]] = Field(
        default={}, description="Packages that are installed only when their group is asked for."
    )


@dataclass(frozen=True, slots=True)
class RPackageRequest:
    """An R package that a person asked for, with the bounds for its version."""

    name: str
    bounds: tuple[tuple[str, RVersion], ...] = ()

    def allows(self, version: RVersion) -> bool:
        """Say whether ``version`` is within all bounds."""
        return all(version.satisfies(operator, bound) for operator, bound in self.bounds)

    def __str__(self) -> str:
        return self.name + ",".join(f"{operator}{bound}" for operator, bound in self.bounds)


def parse_request(text: str) -> RPackageRequest:
    """Read ``ggplot2>=3.4,<4``; raise ``ValueError`` with what was expected."""
    match = _ENTRY.fullmatch(text.strip())
    if match:
        bounds = [_BOUND.fullmatch(bound) for bound in match[2].split(",")] if match[2] else []
        if all(bounds):
            return RPackageRequest(match[1], tuple((bound[1], RVersion(bound[2])) for bound in bounds if bound))
    msg = "expected the name of an R package with optional bounds, such as `ggplot2>=3.4,<4`"
    raise ValueError(msg)


def expand(spec: Spec, directory: Path) -> Spec:
    """Return ``spec``: it takes nothing from other files."""
    del directory
    return spec


def unsupported(spec: Spec, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Return what is asked for and cannot be done yet."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    if spec.repositories != ("apt",):
        sentence = 'so far only the distribution\'s built R packages are supported: write `repositories = ["apt"]`'
        faults.append((("repositories",), sentence))
    if spec.groups:
        faults.append((("groups",), "groups of R packages are not supported yet"))
    others = [str(target) for target in platform.targets if target.os != "linux"]
    if others:
        faults.append((("repositories",), f'`["apt"]` has no R for {", ".join(others)}'))
    return faults


def network(spec: Spec | None) -> Network:
    """Return what R knows of the way to servers: its packages come from the distribution's archives."""
    del spec
    return Network()


def inputs(spec: Spec, platform: Platform) -> Table:
    """Return what decides the resolution, in canonical form."""
    return {
        "packages": sorted({str(parse_request(text)) for text in spec.packages}),
        "repositories": list(spec.repositories),
        "targets": sorted(str(target) for target in platform.targets),
        "version": spec.version,
    }
