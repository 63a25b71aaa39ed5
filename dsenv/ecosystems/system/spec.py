"""What a person may write about system packages: the table ``[system]``, and the base that ``[platform]`` names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from dsenv.model import Array, Model, Text
from dsenv.pins import Need

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.ecosystem import Platform, Table

# Debian policy 5.6.1 and 5.6.12. A trailing hyphen would make apt remove the package, so names end otherwise.
_NAME: Final = r"[a-z0-9][a-z0-9+.-]*[a-z0-9+]"
_VERSION: Final = r"[0-9A-Za-z.+~:-]+\*?"
_REQUEST: Final = re.compile(rf"(?P<name>{_NAME})(?:=(?P<version>{_VERSION}))?")
# The grammar of image references (distribution/reference): [HOST[:PORT]/]NAME[/NAME…][:TAG][@DIGEST].
_PART: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?:{_PART}:[0-9]+/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)


def _check_request(text: str) -> str:
    if not _REQUEST.fullmatch(text):
        msg = "expected the name of a Debian package, such as `pandoc`, with an optional `=version`, such as `=2.17.*`"
        raise ValueError(msg)
    return text


def _check_bounds(requests: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse two versions of one package, of which apt would take the last without a word."""
    bounds: dict[str, str] = {}
    for need in map(parse_request, requests):
        if need.version and bounds.setdefault(need.name, need.version) != need.version:
            msg = f"{need.name} is asked for in two versions, {bounds[need.name]} and {need.version}"
            raise ValueError(msg)
    return requests


DebRequest = Annotated[str, AfterValidator(_check_request)]


class Repository(Model):
    """An apt archive beside the distribution's own."""

    name: Text
    uri: Text
    suite: Text
    key: Text


class Spec(Model):
    """``[system]``: packages of the base's distribution."""

    packages: Annotated[Array[DebRequest], AfterValidator(_check_bounds)] = Field(
        default=(), description="Names of packages, each with an optional `=version` or `=version.*`."
    )
    build: Annotated[Array[DebRequest], AfterValidator(_check_bounds)] = Field(
        default=(),
        description="What only building from source takes, such as headers; written as `packages` are. "
        "It comes into no environment.",
    )
    repositories: Array[Repository] = Field(default=(), description="Third-party apt archives, each with its key.")


def parse_request(text: str) -> Need:
    """Return what ``graphviz=2.42.*`` asks for."""
    match = _REQUEST.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return Need(match["name"], match["version"] or "")


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
    """Return ``spec``: it takes nothing from other files."""
    del directory
    return spec


def unsupported(spec: Spec, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """Return what is asked for and cannot be done yet."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    if spec.repositories:
        faults.append((("repositories",), "third-party apt archives are not supported yet"))
    if (spec.packages or spec.build) and not any(target.os == "linux" for target in platform.targets):
        key = "packages" if spec.packages else "build"
        faults.append(((key,), "no target of this project has apt packages"))
    return faults


def inputs(spec: Spec, platform: Platform) -> Table:
    """Return what decides the resolution, beside the other ecosystems' needs."""
    building = {"build": sorted(spec.build)} if spec.build else {}
    return {
        **building,
        "base": platform.base,
        "locale": platform.locale,
        "packages": sorted(spec.packages),
        "targets": sorted(str(target) for target in platform.targets if target.os == "linux"),
        "timezone": platform.timezone,
    }
