"""What a source says of itself: name, version and requirements; and what stands for it while others are resolved.

An engine is given a wheel that holds nothing but this. So both engines resolve sources of any kind, none of them runs
the source's code or fetches it again, and the answer says which source it was.
"""

from __future__ import annotations

import email.parser
import email.policy
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from dsenv.ecosystems.python.origins.local import pyproject
from dsenv.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_STATIC: Final = ("2.2", "2.3", "2.4", "2.5")  # from this on, PKG-INFO says which of its fields building may change
_DECIDE: Final = ("version", "requires-dist", "provides-extra", "requires-python")
_RECORD: Final = "{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What decides a resolution."""

    name: str  # normalized
    version: str
    requires_python: str = ""
    requires: tuple[str, ...] = ()  # PEP 508
    extras: tuple[str, ...] = ()

    def redirected(self, stubs: Mapping[str, str]) -> Metadata:
        """Return the same with requirements replaced, by their text."""
        return replace(self, requires=tuple(stubs.get(text, text) for text in self.requires))


def parse(text: str, whose: str) -> Metadata:
    """Read a METADATA or a PKG-INFO file.

    Raises:
        IntegrityError: It is not one.

    """
    message = email.parser.HeaderParser(policy=email.policy.compat32).parsestr(text)

    def every(field: str) -> tuple[str, ...]:
        return tuple(str(value) for value in message.get_all(field, []))

    try:
        return Metadata(
            name=str(canonicalize_name(str(message["Name"] or ""), validate=True)),
            version=str(Version(str(message["Version"] or ""))),
            requires_python=str(message["Requires-Python"] or ""),
            requires=tuple(str(Requirement(text)) for text in every("Requires-Dist")),
            extras=every("Provides-Extra"),
        )
    except ValueError as error:  # of a name, a version, a requirement
        raise IntegrityError(f"{whose} has metadata that cannot be read", cause=str(error)) from error


def of_wheel(path: Path, filename: str) -> Metadata:
    """Return what a wheel says of itself; raise ``IntegrityError`` when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            ]
            if len(names) != 1:
                raise IntegrityError(f"{filename} has {len(names)} METADATA files, not one")
            return parse(archive.read(names[0]).decode("utf-8"), filename)
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise IntegrityError(f"{filename} is not a readable wheel", cause=str(error)) from error


def static(directory: Path, whose: str) -> Metadata | None:
    """Return what a source says without being run, or ``None`` where only its backend can tell.

    Args:
        directory: The source.
        whose: What to call it in errors.

    """
    info = directory / "PKG-INFO"
    if info.is_file():
        text = info.read_text("utf-8", "replace")
        message = email.parser.HeaderParser().parsestr(text)
        dynamic = {str(value).lower() for value in message.get_all("Dynamic", [])}
        if message["Metadata-Version"] in _STATIC and not dynamic & {*_DECIDE}:
            return parse(text, whose)
    project = pyproject(directory).get("project")
    return _of_project(project, whose) if isinstance(project, dict) else None


def written(directory: Path, whose: str) -> Metadata | None:
    """Return what a source said when its sdist was made, or ``None`` where it holds no such thing.

    Building it elsewhere may say otherwise, so this is for sources whose backend does not answer here. Of setuptools'
    PKG-INFO before its version 2.2 the requirements are missing; they are in ``requires.txt`` then.
    """
    info = directory / "PKG-INFO"
    if not info.is_file():
        return None
    said = parse(info.read_text("utf-8", "replace"), whose)
    eggs = [path for depth in ("*", "*/*") for path in sorted(directory.glob(f"{depth}.egg-info/requires.txt"))]
    if said.requires or len(eggs) != 1:
        return said
    extras, requires = parse_requires_txt(eggs[0].read_text("utf-8", "replace"), whose)
    return replace(said, requires=requires, extras=said.extras or extras)


def parse_requires_txt(text: str, whose: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the extras and the requirements of setuptools' ``requires.txt``: sections ``[extra:marker]`` of them."""
    extras, requires = [], []
    extra = marker = ""
    try:
        for line in filter(None, map(str.strip, text.splitlines())):
            if line.startswith("[") and line.endswith("]"):
                extra, _, marker = line[1:-1].partition(":")
                if extra:
                    extras.append(str(canonicalize_name(extra, validate=True)))
                continue
            requirement = Requirement(f"{line} ; {marker}" if marker else line)
            requires.append(_within(requirement, extras[-1]) if extra else str(requirement))
    except (InvalidRequirement, InvalidName) as error:
        raise IntegrityError(f"{whose} has metadata that cannot be read", cause=str(error)) from error
    return tuple(dict.fromkeys(extras)), tuple(requires)


def _of_project(project: dict[str, Any], whose: str) -> Metadata | None:
    """Return what ``[project]`` says, if it says all that matters (PEP 621)."""
    decide = {"version", "dependencies", "optional-dependencies", "requires-python"}
    if decide & {*project.get("dynamic", ())} or not {"name", "version"} <= project.keys():
        return None
    try:
        extras = {
            str(canonicalize_name(name)): items for name, items in project.get("optional-dependencies", {}).items()
        }
        requires = [str(Requirement(text)) for text in project.get("dependencies", ())]
        for extra, items in extras.items():
            requires += [_within(Requirement(text), extra) for text in items]
        return Metadata(
            name=str(canonicalize_name(project["name"])),
            version=str(Version(project["version"])),
            requires_python=project.get("requires-python", ""),
            requires=tuple(requires),
            extras=tuple(extras),
        )
    except (InvalidRequirement, InvalidVersion, TypeError, AttributeError) as error:
        raise IntegrityError(f"{whose} has a [project] that cannot be read", cause=str(error)) from error


def _within(requirement: Requirement, extra: str) -> str:
    """Return a requirement that an extra brings, as METADATA has it."""
    marker = f"extra == '{extra}'"
    old = requirement.marker
    requirement.marker = None
    return str(Requirement(f"{requirement} ; ({old}) and {marker}" if old else f"{requirement} ; {marker}"))


def write_stub(directory: Path, metadata: Metadata, filename: str = "") -> Path:
    """Write the wheel that stands for a source.

    Args:
        directory: It is made.
        metadata: All that is in it.
        filename: That of a real wheel, whose tags tell where it fits; a source fits everywhere.

    """
    stem = f"{metadata.name.replace('-', '_')}-{metadata.version}"
    info = f"{stem}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {metadata.name}", f"Version: {metadata.version}"]
    if metadata.requires_python:
        lines.append(f"Requires-Python: {metadata.requires_python}")
    lines += [f"Provides-Extra: {extra}" for extra in metadata.extras]
    lines += [f"Requires-Dist: {text}" for text in metadata.requires]
    directory.mkdir(parents=True)
    tags = filename.removesuffix(".whl").split("-", 2)[2] if filename else "py3-none-any"
    path = directory / f"{stem}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: dsenv\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", _RECORD.format(info=info))
    return path
