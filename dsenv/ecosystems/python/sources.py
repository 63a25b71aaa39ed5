"""Requirements that stand in other files: ``from = "pyproject.toml"``, a requirements file, or a ``uv.lock``.

What such a file says becomes a part of the spec before anything is resolved, so a change of it makes the lock stale.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from packaging.dependency_groups import DependencyGroupResolver
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dsenv.ecosystems.python.spec import Spec

_CONTINUED: Final = re.compile(r"\\\r?\n")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*$")
_HASHES: Final = re.compile(r"\s--hash[= ]\S+")
_INCLUDE: Final = re.compile(r"(-r|--requirement|-c|--constraint)[= ]?\s*(\S.*)")
_INDEX: Final = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host")


def expand(spec: Spec, directory: Path) -> Spec:
    """Return ``spec`` with what the file that it takes its requirements from says.

    Raises:
        WrongUseError: The file is missing, or says what cannot be taken over.

    """
    if spec.source is None:
        return spec
    path = _inside(directory, directory / spec.source)
    if path.name == "uv.lock":
        found = _pyproject(path.with_name("pyproject.toml"), spec)
        found["constraints"] = [*found["constraints"], *_pins(path)]
    elif path.suffix == ".toml":
        found = _pyproject(path, spec)
    else:
        found = {"packages": [], "constraints": [], "groups": {}}
        for kind, requirement in _requirements(path, directory, ()):
            found[kind].append(requirement)
    groups = {str(canonicalize_name(name)): tuple(items) for name, items in found["groups"].items()}
    for name, items in spec.groups.items():
        key = str(canonicalize_name(name))
        groups[key] = (*groups.get(key, ()), *items)
    return spec.model_copy(
        update={
            "packages": (*found["packages"], *spec.packages),
            "constraints": (*found["constraints"], *spec.constraints),
            "groups": groups,
        }
    )


def _inside(directory: Path, path: Path) -> Path:
    if not path.resolve().is_relative_to(directory.resolve()):
        raise WrongUseError(f"{path} lies outside of the project", hint="Copy it into the project's directory.")
    return path


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise WrongUseError(f"there is no {path}", hint="Correct [python] from in dsenv.toml.") from error
    except UnicodeDecodeError as error:
        raise WrongUseError(f"{path} is not UTF-8 text", cause=str(error)) from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise WrongUseError(f"{path} is not valid TOML", cause=str(error)) from error


def _pyproject(path: Path, spec: Spec) -> dict[str, Any]:
    """Return a project's dependencies; its extras and its dependency groups are groups."""
    document = _toml(path)
    project = document.get("project", {})
    if "dependencies" in project.get("dynamic", ()):
        raise WrongUseError(f"{path}: the dependencies are dynamic", hint="List them in [project] dependencies.")
    _check_python(path, project.get("requires-python", ""), spec.version)
    sources = document.get("tool", {}).get("uv", {}).get("sources", {})
    if sources:
        raise WrongUseError(
            f"{path}: [tool.uv.sources] is not taken over, it routes {', '.join(sorted(sources))}",
            hint="Say where they come from in dsenv.toml.",
        )
    try:
        raw = document.get("dependency-groups", {})
        resolver = DependencyGroupResolver(raw)
        groups = {name: [str(item) for item in resolver.resolve(name)] for name in raw}
        extras: Mapping[str, Any] = project.get("optional-dependencies", {})
        return {
            "packages": [str(Requirement(item)) for item in project.get("dependencies", ())],
            "constraints": [],
            "groups": {
                **{name: [str(Requirement(item)) for item in items] for name, items in extras.items()},
                **groups,
            },
        }
    except (InvalidRequirement, ExceptionGroup, ValueError, TypeError, LookupError, AttributeError) as error:
        raise WrongUseError(f"{path} has requirements that cannot be read", cause=str(error)) from error


def _check_python(path: Path, requires: str, version: str) -> None:
    try:
        admitted = SpecifierSet(requires)
    except InvalidSpecifier as error:
        raise WrongUseError(f"{path}: requires-python {requires!r} cannot be read") from error
    minor = ".".join(version.split(".")[:2])
    if not any(admitted.contains(candidate) for candidate in (version, f"{minor}.0", f"{minor}.99")):
        raise WrongUseError(f"{path} requires Python {requires}, and dsenv.toml says {version}")


def _pins(path: Path) -> Iterator[str]:
    """Yield the pins of a uv.lock, as constraints; where it has several versions, each target takes its own."""
    versions: dict[str, set[str]] = {}
    for package in _toml(path).get("package", ()):
        if "registry" in package.get("source", {}):
            versions.setdefault(package["name"], set()).add(package["version"])
    for name, found in sorted(versions.items()):
        if len(found) == 1:
            yield f"{name}=={found.pop()}"


def _requirements(path: Path, directory: Path, within: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield what a requirements file asks for (pip's format), with the files that it includes: kind and text."""
    if path.resolve() in within:
        raise WrongUseError(f"{path} includes itself")
    within = (*within, path.resolve())
    for number, line in enumerate(_CONTINUED.sub(" ", _read(path)).splitlines(), 1):
        text = _HASHES.sub("", _COMMENT.sub("", line)).strip()
        if not text:
            continue
        if include := _INCLUDE.fullmatch(text):
            inner = _requirements(_inside(directory, path.parent / include[2].strip()), directory, within)
            as_bounds = include[1] in {"-c", "--constraint"}
            yield from (("constraints" if as_bounds else kind, item) for kind, item in inner)
        elif text.startswith(_INDEX):
            raise WrongUseError(
                f"{path}:{number}: {text.split()[0]} is not taken over",
                hint="Say where packages come from in dsenv.toml, or set the default index in uv's configuration.",
            )
        else:
            yield "packages", _one(text, path, number)


def _one(text: str, path: Path, number: int) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise WrongUseError(f"{path}:{number}: {text!r} is not a requirement", cause=reason) from error
    if requirement.url:
        raise WrongUseError(f"{path}:{number}: requirements by address are not supported yet")
    return str(requirement)
