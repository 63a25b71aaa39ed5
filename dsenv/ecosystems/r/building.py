"""How R packages are built from their sources: the same command for everybody, at one path, with one set of flags.

``prepare.sh`` lays out what R reads, R installs it into an empty library beside the packages that it needs, ``load.R``
loads it in an R of its own, and ``pack.sh`` makes one archive of it.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv.builds import Build
from dsenv.ecosystems.r.distribution import ITSELF
from dsenv.ecosystems.r.pins import COMPILERS
from dsenv.errors import LockFormatError
from dsenv.steps import Input, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.ecosystems.r.pins import Package, Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place

_SCRIPTS: Final = ("beside.sh", "prepare.sh", "load.R", "settle.R", "pack.sh")
_HOME: Final = "usr/lib/R"
# Where R would write when it built a package: it shows in DESCRIPTION and Meta/package.rds, and nowhere else.
_TIMESTAMP: Final = "1980-01-01 00:00:00 UTC"


def builds(pins: Pins, selection: Selection, place: Place) -> tuple[Build, ...]:
    """Return a build for each package that is locked as a source, each after those that it needs."""
    rows = {row.name: row for row in sources(pins, selection)}
    order = ordered(rows)
    needed: dict[str, set[str]] = {}  # all that each has to have in its library, to be installed and loaded
    for name in order:
        direct = [other for other in rows[name].requires if other in rows]
        needed[name] = {*direct, *(further for other in direct for further in needed[other])}
    return tuple(
        replace(_build(rows[name], place), after=tuple(sorted(needed[name])), sees=_sees(name, rows, needed[name]))
        for name in order
    )


def _sees(name: str, rows: Mapping[str, Package], needed: Iterable[str]) -> tuple[str, ...]:
    """Return the system packages that a build takes: R, what it says itself, what runs the packages that it loads."""
    row = rows[name]
    found = {*ITSELF, *row.needs, *row.build_needs}
    found.update(package for other in needed for package in rows[other].needs)
    if row.compiles:
        found.add(COMPILERS)
        found.update(package for other in row.linking_to if other in rows for package in rows[other].build_needs)
    return tuple(sorted(found))


def sources(pins: Pins, selection: Selection) -> list[Package]:
    """Return the packages of a selection that are locked as sources."""
    target = str(selection.target)
    return [row for row in pins.selected(selection) if row.artifacts[target].kind == "source"]


def ordered(rows: Mapping[str, Package]) -> list[str]:
    """Return the names of packages, each after those that it needs; raise ``LockFormatError`` if there is no way."""
    order: dict[str, None] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in order:
            return
        if name in begun:
            raise LockFormatError("the R part of dsenv.lock is damaged", cause=f"{name} needs itself to be built")
        begun.add(name)
        for other in rows[name].requires:
            if other in rows:
                visit(other)
        order[name] = None

    for name in sorted(rows):
        visit(name)
    return [*order]


def _build(row: Package, place: Place) -> Build:
    assert row.source is not None  # noqa: S101 - else the lock could not be read
    source = row.source.artifact()
    work, inputs = f"{place.prefix}/work", place.inputs
    repository = "CRAN" if row.source.kind == "repository" else ""
    env = tuple(_environment(place, work).items())
    steps: list[tuple[str, ...]] = [
        ("sh", f"{inputs}/prepare.sh", row.name, row.version, source.filename, repository),
        (
            *("R", "CMD", "INSTALL", "--use-vanilla", "--no-test-load", f"--built-timestamp={_TIMESTAMP}"),
            *(f"--library={work}/library", f"{work}/source/{row.name}"),
        ),
        ("Rscript", "--vanilla", f"{inputs}/load.R", row.name),
        ("sh", f"{inputs}/pack.sh", row.name, f"{place.prefix}/out/{row.name}.tar"),
    ]
    if place.root:
        steps[1] = (f"{work}/R/bin/R", *steps[1][1:])
        steps.insert(0, ("sh", f"{inputs}/beside.sh", f"{place.root}/{_HOME}"))
    return Build(
        name=row.name,
        title=f"{row.name} {row.version}",
        inputs=(Input(name=source.filename, source=source, identity=row.source.content), *_scripts()),
        steps=tuple(Run(argv=argv, env=env) for argv in steps),
    )


def _environment(place: Place, work: str) -> dict[str, str]:
    """Return the variables after which R sees R's own library, the packages beside, and nobody's settings."""
    home = f"{work}/R" if place.root else f"/{_HOME}"
    values = {
        "R_ENVIRON": "/dev/null",
        "R_ENVIRON_USER": "/dev/null",
        "R_HOME": home,
        "R_LIBS": f"{work}/library",
        "R_LIBS_SITE": "NULL",
        "R_LIBS_USER": "NULL",
        "R_MAKEVARS_SITE": "/dev/null",
        "R_MAKEVARS_USER": f"{work}/Makevars",
    }
    if place.root:
        values |= {
            "RHOME": home,  # Rscript's word for it
            "R_LD_LIBRARY_PATH": f"{place.root}/{_HOME}/lib",
            **{f"R_{name.upper()}_DIR": f"{place.root}/usr/share/R/{name}" for name in ("share", "include", "doc")},
        }
    return values


def _scripts() -> Iterable[Input]:
    for name in _SCRIPTS:
        yield Input(name=name, source=resources.files(__package__).joinpath(name).read_text("utf-8"))
