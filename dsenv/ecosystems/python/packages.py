"""An engine's answer in PEP 751's words: each package once, sorted, with the files that the declared targets take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from packaging.markers import Marker
from packaging.pylock import Package, Pylock
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import platforms
from dsenv.ecosystems.python.platforms import wheel_tags
from dsenv.errors import ResolutionError
from dsenv.pins import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from packaging.tags import Tag

    from dsenv.ecosystems.python.engines.interface import Found
    from dsenv.ecosystems.python.markers import Space
    from dsenv.ecosystems.python.origins.gather import Origin
    from dsenv.ecosystems.python.pins import Interpreter

_LOCK_VERSION: Final = Version("1.0")
NO_WHEEL: Final = "Bound it to a version that has one, leave the target out, or allow it to be built: `build`."


def lock(
    found: Iterable[Found],
    space: Space,
    rows: Sequence[Interpreter],
    groups: Iterable[str],
    origin: Callable[[str], Origin | None] = lambda _: None,
) -> tuple[Pylock, list[tuple[Package, Found]]]:
    """Return a lock file, and each of its packages with what an engine found.

    Args:
        found: What it found, for all groups.
        space: The places that count.
        rows: The interpreters of the targets.
        groups: All that there are.
        origin: Finds what a package names as its source.

    Raises:
        ResolutionError: A package has no file for any target.

    """
    accepted = {row.target: {*platforms.tags(Target.parse(row.target), row.version, row.libc)} for row in rows}
    pairs = [
        (_package(item, space, accepted, origin(item.stub)), item)
        for item in sorted(found, key=lambda item: (item.name, Version(item.version), item.index, item.stub))
    ]
    clauses = [f"{platforms.clause(target)} and implementation_name == 'cpython'" for target in space.targets]
    made = Pylock(
        lock_version=_LOCK_VERSION,
        created_by=python_pins.CREATED_BY,
        packages=tuple(package for package, _ in pairs),
        environments=[Marker(clause) for clause in clauses],
        requires_python=SpecifierSet(space.requires_python),
        dependency_groups=[canonicalize_name(name) for name in sorted(groups)] or None,
    )
    made.validate()
    return made, pairs


def _package(found: Found, space: Space, accepted: Mapping[str, set[Tag]], origin: Origin | None) -> Package:
    groups = {name: places for name, places in found.where.items() if name}
    marker = space.marker(found.where.get("", frozenset()), groups)
    source: Mapping[str, Any] = origin.package() if origin else _of_index(found, accepted)
    # PEP 751: no version where a tree of files is used, which might say another one.
    version = None if {"vcs", "directory"} & source.keys() else Version(found.version)
    return Package(
        name=canonicalize_name(found.name),
        version=version,
        marker=Marker(marker) if marker else None,
        dependencies=list(found.dependencies) or None,
        **source,
    )


def _of_index(found: Found, accepted: Mapping[str, set[Tag]]) -> dict[str, Any]:
    """Return the wheels that fit a target, and the sdist where one of the targets needs it."""
    fitting = [wheel for wheel in found.wheels if any(wheel_tags(wheel.filename) & tags for tags in accepted.values())]
    targets = {str(target) for places in found.where.values() for target, _ in places}
    served = {name for name in targets if any(wheel_tags(wheel.filename) & accepted[name] for wheel in fitting)}
    sdist = found.sdist if targets - served else None
    if not fitting and not sdist:
        raise ResolutionError(
            f"{found.name} {found.version} has no wheel for any of the targets",
            cause="\n".join(wheel.filename for wheel in found.wheels) or "the index lists no wheel of it",
            hint=NO_WHEEL,
        )
    return {"index": found.index, "wheels": fitting or None, "sdist": sdist}
