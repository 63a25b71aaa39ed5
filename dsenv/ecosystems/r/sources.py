"""What other files of the project say: ``from = "DESCRIPTION"``, and the sources that lie in its directory.

Both become a part of the spec before anything is resolved, so a change of them makes the lock stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystems.r import description, tarball
from dsenv.ecosystems.r.requests import WITH_R, parse_request
from dsenv.ecosystems.r.spec import Expanded, Spec, requested
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import WrongUseError
from dsenv.tools import archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dsenv.formats.deb822 import Stanza

_NEEDS: Final = "Config/Needs/"  # "Config/Needs/website: pkgdown": what a group of people needs


def expand(spec: Spec, directory: Path) -> Spec:
    """Return ``spec`` with what the project's other files say.

    Raises:
        WrongUseError: One is missing, or says what cannot be taken over.

    """
    found = _described(spec, directory) if spec.source else spec
    paths = {wanted.remote.path for _, wanted in requested(found) if wanted.remote and wanted.remote.kind == "path"}
    states = {path: _state(directory, path) for path in sorted(paths)}
    return Expanded.model_construct(**{**found.__dict__, "directory": directory, "states": states})


def _described(spec: Spec, directory: Path) -> Spec:
    """Return ``spec`` with what the DESCRIPTION of the project asks for; Suggests and Config/Needs are groups."""
    path = directory / "DESCRIPTION"
    try:
        stanza = tarball.parse_description(path.read_bytes())
    except FileNotFoundError as error:
        raise WrongUseError(f"there is no {path}", hint="Correct [r] from in dsenv.toml.") from error
    for dependency in description.dependencies(stanza, ("Depends",)):
        minor = RVersion(spec.version)
        if dependency.name == "R" and not dependency.allows(minor) and not dependency.allows(_newest_of(spec.version)):
            raise WrongUseError(f"{path} needs {dependency}, and dsenv.toml says R {spec.version}")
    remotes = list(_remotes(stanza, path))
    groups: dict[str, tuple[Any, ...]] = {name: tuple(items) for name, items in spec.groups.items()}
    for field in stanza:
        if field == "Suggests" or field.startswith(_NEEDS):
            name = field.removeprefix(_NEEDS).lower()
            groups[name] = (*_texts(stanza, (field,), path), *groups.get(name, ()))
    packages = (*_texts(stanza, description.HARD, path), *remotes, *spec.packages)
    return spec.model_copy(update={"packages": packages, "groups": groups})


def _newest_of(version: str) -> RVersion:
    return RVersion(f"{version}.99" if version.count(".") == 1 else version)


def _texts(stanza: Stanza, fields: tuple[str, ...], path: Path) -> Iterator[str]:
    """Yield entries for what some fields name; under Config/Needs there may be sources as well."""
    for field in fields:
        if field.startswith(_NEEDS):
            yield from _entries(stanza, field, path)
            continue
        for item in description.dependencies(stanza, (field,)):
            if item.name not in WITH_R and item.name != "R":
                yield f"{item.name}{item.operator}{item.version}" if item.version else item.name


def _remotes(stanza: Stanza, path: Path) -> Iterator[str]:
    return _entries(stanza, "Remotes", path)


def _entries(stanza: Stanza, field: str, path: Path) -> Iterator[str]:
    for item in filter(None, (item.strip() for item in stanza.get(field, "").split(","))):
        try:
            if parse_request(item).name not in WITH_R:
                yield item
        except ValueError as error:
            raise WrongUseError(f"{path}: {field} names {item!r}, which is not understood", cause=str(error)) from error


def _state(directory: Path, path: str) -> str:
    place = directory / path
    if not place.resolve().is_relative_to(directory.resolve()):
        raise WrongUseError(f"{place} lies outside of the project", hint="Copy it into the project's directory.")
    try:
        return archive.state(place)
    except FileNotFoundError as error:
        raise WrongUseError(f"there is no {place}", hint="Correct [r] packages in dsenv.toml.") from error
