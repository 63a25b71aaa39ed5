"""Which shared libraries one links to when one builds with a -dev package: those of the same source.

Debian's policy (8.4) has a -dev package depend on exactly its version of the library; where it is only a name for
another -dev package (``libjpeg-dev``), that one does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Depends = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]


def libraries(wanted: Iterable[str], versions: Mapping[str, str], depends: Depends) -> dict[str, tuple[str, ...]]:
    """Return the packages with the libraries of each -dev package.

    Args:
        wanted: ``libgdal-dev`` and others.
        versions: Of each package that there is.
        depends: Returns for some packages the names that each depends on; asked once for each step of the way.

    """
    found: dict[str, set[str]] = {name: set() for name in wanted}
    level = {name: {name} & versions.keys() for name in found}
    seen = {name: {name} for name in found}
    while needed := {package for packages in level.values() for package in packages}:
        edges = depends(sorted(needed))
        for name, packages in level.items():
            following: set[str] = set()
            for package in packages & edges.keys():
                inner, beside = _sorted_out(package, edges[package], versions)
                found[name] |= inner
                following |= beside
            level[name] = following - seen[name]
            seen[name] |= following
    return {name: tuple(sorted(names)) for name, names in found.items()}


def _sorted_out(package: str, names: Iterable[str], versions: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return which dependencies of a -dev package are its libraries, and which may lead to them."""
    same = {other for other in names if _built(versions.get(other)) == _built(versions[package])}
    beside = {other for other in same if _is_beside(other)}
    if package.startswith("default-"):  # one that another source has
        beside |= {other for other in names if _is_beside(other) and other in versions}
    return {other for other in same if "lib" in other and not _is_beside(other)}, beside


def _is_beside(name: str) -> bool:
    """Say whether a package holds no library itself."""
    return bool(re.search(r"-(?:dev|dev-compat|dev-bin|dev-tools|bin|tools|doc|data|perl|headers)$", name))


def _built(version: str | None) -> str:
    """Return a version without the number of its rebuild, which packages for all architectures lack."""
    return re.sub(r"\+b[0-9]+$", "", version) if version else ""
