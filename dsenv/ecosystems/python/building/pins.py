"""What is locked of a package that is built: what PEP 751 has no field for.

[[python.sources]]      in dsenv.lock, a row for each
pylock.build.toml       what building them takes, in a group for each
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote

from packaging.utils import parse_wheel_filename
from pydantic import AfterValidator, StringConstraints

from dsenv.ecosystems.python.origins import reference
from dsenv.errors import LockFormatError
from dsenv.model import Array, Model, Sha256Text, Text
from dsenv.pins import Artifact, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.pylock import Package

_SHORT: Final = 12  # hexadecimal digits of a commit that name its files


def _check_wheel(text: str) -> str:
    parse_wheel_filename(text)
    return text


def _check_target(text: str) -> str:
    return str(Target.parse(text)) if text else text


def _check_inner(text: str) -> str:
    return reference.inside(text) if text else text


_Inner = Annotated[Text, AfterValidator(_check_inner)]
_Backend = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?$")]


class BuiltWheel(Model):
    """A wheel that has come of a build."""

    target: Annotated[str, AfterValidator(_check_target)] = ""  # where; "" for one that is the same everywhere
    name: Annotated[Text, AfterValidator(_check_wheel)]
    sha256: Sha256Text

    @property
    def is_pure(self) -> bool:
        """Whether no compiler had a part in it."""
        return not self.target


class Source(Model):
    """A package that is built, and how."""

    name: Text  # normalized
    version: Text
    source: Text  # which entry of pylock.toml: a commit, a path, or the sha256 of an archive
    tree: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""  # of a commit or a directory
    subdirectory: _Inner = ""
    backend: _Backend  # "hatchling.build"
    backend_path: Array[_Inner] = ()
    group: Text  # of pylock.build.toml
    requires: Array[Text] = ()  # what is in that group, as it was asked for
    languages: Array[Text] = ()  # what needs compilers: "c", "fortran"
    wheels: Array[BuiltWheel] = ()

    def wheel(self, target: Target) -> BuiltWheel | None:
        """Return the wheel that has come of it for a target, where that is known."""
        return next((wheel for wheel in self.wheels if wheel.target in {"", str(target)}), None)


def check(packages: Iterable[Package]) -> None:
    """Refuse a path that leads out of the project; raise ``LockFormatError``."""
    for package in packages:
        own = [place.path for place in (package.directory, package.archive) if place and place.path is not None]
        try:
            for path in own:
                reference.inside(path)
        except ValueError as error:
            raise LockFormatError(
                f"pylock.toml names a path of {package.name} that leads out of the project", cause=", ".join(own)
            ) from error


def key(package: Package) -> str:
    """Return what tells the source of a package from all others; "" for one that has none but wheels."""
    if package.vcs:
        return package.vcs.commit_id + (f"#{package.vcs.subdirectory}" if package.vcs.subdirectory else "")
    if package.directory:
        return package.directory.path
    file = package.archive or package.sdist
    return file.hashes.get("sha256", "") if file else ""


def artifact(package: Package, tree: str) -> Artifact:
    """Return the file of a package's source, given the hash of its tree; an editable one's lies in the project only.

    Raises:
        LockFormatError: It names none.

    """
    from dsenv.tools import git  # noqa: PLC0415 - most locks name no repository

    try:
        if package.vcs:
            name = f"{package.name}-{package.vcs.commit_id[:_SHORT]}.tar"
            url = git.address(package.vcs.url or "", package.vcs.commit_id)
            return Artifact(filename=name, sha256=tree, urls=(url,))
        if package.directory:
            return Artifact(filename=f"{package.name}.tar", sha256=tree, urls=(package.directory.path,))
        if package.sdist:
            return _file(package.sdist.filename, package.sdist.hashes, package.sdist.size, package.sdist.url)
        if package.archive:
            place = package.archive.url or package.archive.path or ""
            return _file(unquote(place.rpartition("/")[2]), package.archive.hashes, package.archive.size, place)
    except ValueError as error:
        raise LockFormatError(f"pylock.toml names a source of {package.name} that cannot be one") from error
    raise LockFormatError(f"pylock.toml has no source of {package.name}")


def _file(filename: str, hashes: Mapping[str, str], size: int | None, url: str | None) -> Artifact:
    return Artifact(filename=filename, sha256=hashes.get("sha256", ""), size=size, urls=(url,) if url else ())


def direct_wheel(package: Package) -> Artifact | None:
    """Return the wheel that a package names by its address or its path, if it does; raise as ``artifact`` does."""
    place = (package.archive.url or package.archive.path or "") if package.archive else ""
    if package.archive is None or not place.endswith(".whl"):
        return None
    try:
        return _file(unquote(place.rpartition("/")[2]), package.archive.hashes, package.archive.size, place)
    except ValueError as error:
        raise LockFormatError(f"pylock.toml names a wheel of {package.name} that cannot be one") from error
