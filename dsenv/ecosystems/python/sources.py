"""Requirements that stand in other files: ``from = "pyproject.toml"``, a requirements file, or a ``uv.lock``.

What such a file says becomes a part of the spec before anything is resolved, so a change of it makes the lock stale.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

from packaging.dependency_groups import DependencyGroupResolver
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from dsenv.ecosystems.python.origins import local, reference
from dsenv.ecosystems.python.origins.reference import Table
from dsenv.ecosystems.python.spec import Expanded, references
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.utils import NormalizedName

    from dsenv.ecosystems.python.spec import Spec

_CONTINUED: Final = re.compile(r"\\\r?\n")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*$")
_HASHES: Final = re.compile(r"\s--hash[= ]\S+")
_INCLUDE: Final = re.compile(r"(-r|--requirement|-c|--constraint)[= ]?\s*(\S.*)")
_EDITABLE: Final = re.compile(r"(?:-e|--editable)(?:[= ]|(?=\.))")
_VCS: Final = re.compile(r"git\+[^#\s]+(?:#(?P<fragment>\S+))?")
_LOCAL: Final = re.compile(
    r"(?P<path>\.{0,2}/?[^\s\[@]*?(?:/[^\s\[@]*|\.whl|\.tar\.gz|\.zip)|\.)(?P<extras>\[[^\]]*\])?"
)
_INDEX: Final = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host")


def expand(spec: Spec, directory: Path) -> Spec:
    """Return ``spec`` with what other files of the project say: requirements, and its own sources.

    Raises:
        WrongUseError: A file is missing, or says what cannot be taken over.

    """
    whole = spec if spec.source is None else _taken_over(spec, spec.source, directory)
    facts = {"directory": directory, "local": local.states(references(whole), directory)}
    return Expanded.model_construct(**{**whole.__dict__, **facts})


def _taken_over(spec: Spec, source: str, directory: Path) -> Spec:
    path = _inside(directory, directory / source)
    if path.name == "uv.lock":
        found = _pyproject(path.with_name("pyproject.toml"), spec, directory)
        found["constraints"] = [*found["constraints"], *_pins(path)]
    elif path.suffix == ".toml":
        found = _pyproject(path, spec, directory)
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


def _pyproject(path: Path, spec: Spec, directory: Path) -> dict[str, Any]:
    """Return a project's dependencies; its extras and its dependency groups are groups."""
    document = _toml(path)
    project = document.get("project", {})
    if "dependencies" in project.get("dynamic", ()):
        raise WrongUseError(f"{path}: the dependencies are dynamic", hint="List them in [project] dependencies.")
    _check_python(path, project.get("requires-python", ""), spec.version)
    sources = document.get("tool", {}).get("uv", {}).get("sources", {})
    known = {canonicalize_name(name): _uv_source(name, row, path, directory) for name, row in sources.items()}

    def taken(items: Iterable[Any]) -> list[str]:
        return [_sourced(Requirement(str(item)), known) for item in items]

    try:
        raw = document.get("dependency-groups", {})
        resolver = DependencyGroupResolver(raw)
        extras: Mapping[str, Any] = project.get("optional-dependencies", {})
        return {
            "packages": taken(project.get("dependencies", ())),
            "constraints": [],
            "groups": {
                **{name: taken(items) for name, items in extras.items()},
                **{name: taken(resolver.resolve(name)) for name in raw},
            },
        }
    except (InvalidRequirement, ExceptionGroup, ValueError, TypeError, LookupError, AttributeError) as error:
        raise WrongUseError(f"{path} has requirements that cannot be read", cause=str(error)) from error


def _uv_source(name: str, row: Any, path: Path, directory: Path) -> Table:
    """Return an entry of ``[tool.uv.sources]`` as dsenv.toml has it: paths are relative to another directory there."""
    try:
        if "path" in row:
            there = _inside(directory, path.parent / row["path"])
            row = {**row, "path": there.resolve().relative_to(directory.resolve()).as_posix()}
        return Table.model_validate({"name": name, **row})
    except (TypeError, ValueError) as error:
        raise WrongUseError(
            f"{path}: what [tool.uv.sources] says of {name} is not taken over",
            hint="Say where it comes from in dsenv.toml: in packages, or in an entry of indexes.",
        ) from error


def _sourced(requirement: Requirement, known: Mapping[NormalizedName, Table]) -> str:
    """Return a requirement with the source that is said elsewhere."""
    table = known.get(canonicalize_name(requirement.name))
    if table is None or requirement.url:
        return _checked(str(requirement))
    markers = [f"({marker})" for marker in (table.marker, requirement.marker) if marker]
    extras = tuple(sorted({*table.extras, *requirement.extras}))
    return _checked(table.model_copy(update={"marker": " and ".join(markers) or None, "extras": extras}).text())


def _checked(text: str) -> str:
    reference.read(text)
    return str(Requirement(text))


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
            try:
                yield "packages", _checked(_one(text, directory))
            except ValueError as error:
                reason = str(error).splitlines()[0]
                raise WrongUseError(f"{path}:{number}: {text!r} is not a requirement", cause=reason) from error


def _one(text: str, directory: Path) -> str:
    """Return a line of a requirements file as PEP 508 writes it: pip takes paths and addresses without a name, too."""
    editable = _EDITABLE.match(text)
    line = text[editable.end() :].strip() if editable else text
    bare, _, marker = line.partition(" ; ")
    if match := _VCS.fullmatch(bare):
        named = dict(parse_qsl(match["fragment"] or "")).get("egg", "")
        if not named:
            msg = "write `NAME @ git+https://…`: only then is it known which package that is"
            raise ValueError(msg)
        found = f"{named} @ {bare}"
    elif re.match(r"https?://", bare):
        found = f"{local.name(Path(bare.partition('#')[0].rpartition('/')[2]))} @ {bare}"
    elif match := _LOCAL.fullmatch(bare):
        place = reference.inside(match["path"])
        named = local.name(directory / place) + (match["extras"] or "")
        found = f"{named} @ ./{quote(place)}{'#editable=true' if editable else ''}"
    else:
        return line
    return f"{found} ; {marker}" if marker else found
