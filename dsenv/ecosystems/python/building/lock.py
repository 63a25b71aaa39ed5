"""What is locked of all packages of a resolution that are built: a row for each, and what building them takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from dsenv.ecosystems.python import packages
from dsenv.ecosystems.python.building import pins as building
from dsenv.ecosystems.python.building.pins import Source
from dsenv.ecosystems.python.origins.fetch import Located
from dsenv.ecosystems.python.origins.gather import AT_ONCE
from dsenv.errors import ResolutionError
from dsenv.pins import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.pylock import Package, Pylock

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.python.building.inspect import Inspected, Inspector
    from dsenv.ecosystems.python.engines.interface import Found
    from dsenv.ecosystems.python.markers import Space
    from dsenv.ecosystems.python.origins.gather import Gathered
    from dsenv.ecosystems.python.pins import Interpreter, Pins

Row = tuple[Source, "Inspected"]


def sources(
    pairs: Iterable[tuple[Package, Found]], gathered: Gathered, inspector: Inspector, request: Request
) -> list[Row]:
    """Return a row for each package that is built, each with what building it takes.

    Raises:
        ResolutionError: A source does not tell that, or is another package than its index says.

    """
    wanted = [(package, found) for package, found in pairs if found.stub or package.sdist]

    def known(pair: tuple[Package, Found]) -> tuple[Located, Inspected] | None:
        origin = gathered.of(pair[1].stub)
        if origin:
            return (origin.located, origin.inspected) if origin.inspected else None  # a wheel
        located = _located(pair[0])
        request.store.fetch([located.artifact], request.progress)
        return located, _as_listed(inspector.inspect(located), located, pair[1])

    rows: list[Row] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for (package, found), built in zip(wanted, pool.map(known, wanted), strict=True):
            if built:
                group = _group(found.name, {row.group for row, _ in rows})
                rows.append((_row(package, *built, group), built[1]))
    return rows


def _row(package: Package, located: Located, inspected: Inspected, group: str) -> Source:
    is_tree = bool(package.vcs or (package.directory and not package.directory.editable))
    return Source(
        name=str(package.name),
        version=inspected.metadata.version,
        source=building.key(package),
        tree=located.artifact.sha256 if is_tree else "",
        subdirectory=located.subdirectory,
        backend=inspected.system.backend,
        backend_path=inspected.system.path,
        group=group,
        requires=inspected.system.requires,
        languages=inspected.languages,
    )


def _as_listed(inspected: Inspected, located: Located, found: Found) -> Inspected:
    said = inspected.metadata
    if (said.name, Version(said.version)) != (found.name, Version(found.version)):
        raise ResolutionError(
            f"{located.artifact.filename} calls itself {said.name} {said.version}, and its index {found.name} "
            f"{found.version}"
        )
    return inspected


def _group(name: str, taken: set[str]) -> str:
    """Return what a package's group is called: as it is, unless another version of it is built as well."""
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
    return next(candidate for candidate in names if candidate not in taken)


def _located(package: Package) -> Located:
    return Located(name=str(package.name), artifact=building.artifact(package, ""), form="sdist")


def requirements(rows: Sequence[Row], space: Space, interpreters: Sequence[Interpreter]) -> Pylock | None:
    """Return what building takes as a lock file, in which each row has a group; ``None`` where nothing is built."""
    if not rows:
        return None
    merged: dict[tuple[str, str, str], Found] = {}
    for row, inspected in rows:
        for found in inspected.packages:
            key = found.name, found.version, found.index
            other = merged.get(key, replace(found, where={}))
            merged[key] = replace(other, where={**other.where, row.group: found.where.get("", frozenset())})
    return packages.lock(merged.values(), space, interpreters, [row.group for row, _ in rows])[0]


def carried(pins: Pins, previous: Sequence[Pins]) -> Pins:
    """Return the pins with the wheels that are known to come of the same builds."""
    rows = []
    for row in pins.sources:
        known = [wheels for held in previous if (wheels := _known(row, pins, held))]
        rows.append(row.model_copy(update={"wheels": known[0]}) if known else row)
    return pins.model_copy(update={"sources": tuple(rows)})


def _known(row: Source, pins: Pins, held: Pins) -> tuple[building.BuiltWheel, ...]:
    """Return the wheels that a lock knows of a build, if it is the same."""
    for other in held.sources:
        if other.model_copy(update={"wheels": (), "group": row.group}) == row:
            targets = [Target.parse(one.target) for one in pins.interpreters]
            known = {Target.parse(one.target) for one in held.interpreters}
            takes = [[wheel.sha256 for wheel in pins.build_wheels(row, target)] for target in targets]
            took = [
                [wheel.sha256 for wheel in held.build_wheels(other, target)] if target in known else takes[at]
                for at, target in enumerate(targets)
            ]
            return other.wheels if takes == took else ()
    return ()
