"""What a person may write about system packages: the table ``[system]``, and the base that ``[platform]`` names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from dsenv.ecosystems.system.archives.repositories import Repository
from dsenv.model import Array, Model, Text
from dsenv.pins import Need, without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.ecosystem import Platform, Table

# Debian policy 5.6.1 and 5.6.12. A trailing hyphen would make apt remove the package, so names end otherwise.
_NAME: Final = r"[a-z0-9][a-z0-9+.-]*[a-z0-9+]"
_VERSION: Final = r"[0-9A-Za-z.+~:-]+\*?"
_BOUND: Final = r"(?:>=|<=|>|<)[0-9A-Za-z.+~:-]+"
_REQUEST: Final = re.compile(rf"(?P<name>{_NAME})(?:=(?P<version>{_VERSION})|(?P<bounds>{_BOUND}(?:,{_BOUND})*))?")
# The grammar of image references (distribution/reference): [HOST[:PORT]/]NAME[/NAME…][:TAG][@DIGEST].
_PART: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?:{_PART}:[0-9]+/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)


def _check_request(text: str) -> str:
    if not _REQUEST.fullmatch(text):
        msg = (
            "expected the name of a Debian package, such as `pandoc`, with an optional version: "
            "`=2.17.1-1`, `=2.17.*`, `>=2.17,<3`"
        )
        raise ValueError(msg)
    return text


def _check_bounds(requests: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse two versions of one package, of which apt would take the last without a word."""
    bounds: dict[str, str] = {}
    for need in map(parse_request, requests):
        if need.version and bounds.setdefault(need.name, need.version) != need.version:
            asked = f"{bounds[need.name]} and {need.version}"
            msg = f"{need.name} is asked for in two versions, {asked}: write bounds as one, `{need.name}>=1,<2`"
            raise ValueError(msg)
    return requests


DebRequest = Annotated[str, AfterValidator(_check_request)]


def _check_names(repositories: tuple[Repository, ...]) -> tuple[Repository, ...]:
    names = [row.name for row in repositories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"two archives are called {', '.join(twice)}"
        raise ValueError(msg)
    return repositories


def _check_snapshots(text: str) -> str:
    if not re.fullmatch(r"(?:https?://|file:/)[A-Za-z0-9._~:@/%+-]*", text) or "@SNAPSHOTID@" not in text:
        msg = "expected an address with @SNAPSHOTID@ for the date in it, and @PATH@ for the archive's path if need be"
        raise ValueError(msg)
    return text


class Spec(Model):
    """``[system]``: packages of the base's distribution."""

    packages: Annotated[Array[DebRequest], AfterValidator(_check_bounds)] = Field(
        default=(),
        description="Names of packages, each with an optional `=version`, `=version.*` or `>=version,<version`.",
    )
    recommends: Array[Annotated[str, StringConstraints(pattern=rf"^{_NAME}$")]] = Field(
        default=(), description="Packages of which also what they recommend is wanted."
    )
    snapshots: Annotated[Text, AfterValidator(_check_snapshots)] | None = Field(
        default=None,
        description="Where the archives are as they were on a date; @PATH@ and @SNAPSHOTID@ as in apt's own settings.",
    )
    repositories: Annotated[Array[Repository], AfterValidator(_check_names)] = Field(
        default=(), description="Third-party apt archives, each with its key."
    )
    build: Annotated[Array[DebRequest], AfterValidator(_check_bounds)] = Field(
        default=(),
        description="What only building from source takes, such as headers; written as `packages` are. "
        "It comes into no environment.",
    )


def parse_request(text: str) -> Need:
    """Return what ``graphviz=2.42.*`` asks for."""
    match = _REQUEST.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return Need(match["name"], match["version"] or match["bounds"] or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What an environment stands on: a distribution's essential packages, or an image that has them."""

    distribution: str  # "debian"; "" when only the image can tell
    codename: str  # "bookworm"
    image: str  # "debian:bookworm-slim"; "" for a bootstrap


def parse_base(text: str) -> Base:
    """Read ``bootstrap:debian:bookworm`` or an image's name; raise ``ValueError`` with what was expected."""
    if text.startswith("bootstrap:"):
        match = re.fullmatch(r"bootstrap:([a-z]+):([a-z]+)", text)
        if not match:
            msg = "expected `bootstrap:DISTRIBUTION:CODENAME`, such as `bootstrap:debian:bookworm`"
            raise ValueError(msg)
        return Base(distribution=match[1], codename=match[2], image="")
    if not _IMAGE.fullmatch(text):
        msg = "expected `bootstrap:debian:bookworm` or the name of an image, such as `debian:bookworm-slim`"
        raise ValueError(msg)
    return Base(distribution="", codename="", image=text)


def expand(spec: Spec, directory: Path) -> Spec:
    """Return ``spec`` with the keys of its archives, which are files of their own."""
    repositories = tuple(row.with_key(directory) for row in spec.repositories)
    return spec.model_copy(update={"repositories": repositories})


def unsupported(spec: Spec, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Return what is asked for and cannot be done yet."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    names = {parse_request(text).name for text in spec.packages}
    for number, name in enumerate(spec.recommends):
        if name not in names:
            faults.append((("recommends", number), f"{name} is not among [system] packages"))
    if (spec.packages or spec.build) and not any(target.os == "linux" for target in platform.targets):
        key = "packages" if spec.packages else "build"
        faults.append(((key,), "no target of this project has apt packages"))
    return faults


def inputs(spec: Spec, platform: Platform) -> Table:
    """Return what decides the resolution, beside the other ecosystems' needs."""
    building = {"build": sorted(spec.build)} if spec.build else {}
    chosen: Table = {
        "as-of": str(platform.as_of or ""),
        "recommends": sorted(spec.recommends),
        "repositories": [row.inputs() for row in spec.repositories],
        "snapshots": without_credentials(spec.snapshots or "") if platform.as_of else "",
    }
    return {
        **building,
        "base": platform.base,
        "locale": platform.locale,
        "packages": sorted(spec.packages),
        "targets": sorted(str(target) for target in platform.targets if target.os == "linux"),
        "timezone": platform.timezone,
    } | {key: value for key, value in chosen.items() if value}
