"""How R packages are built from their sources: the same command for everybody, at one path, with one set of flags.

``prepare.sh`` lays out what R reads, R installs it into an empty library beside the packages that it needs, ``load.R``
loads it in an R of its own, and ``pack.sh`` makes one archive of it. What a repository has built takes the same way,
except that ``check.sh`` unpacks it where R would install: nothing comes into the store that has not been loaded.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv.builds import Build
from dsenv.ecosystems.r import binary
from dsenv.ecosystems.r.distribution import ITSELF
from dsenv.ecosystems.r.pins import COMPILERS, BinaryArtifact
from dsenv.ecosystems.r.versions import minor
from dsenv.errors import LockFormatError
from dsenv.steps import Input, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.ecosystems.r.pins import Package, Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place

_SCRIPTS: Final = ("beside.sh", "prepare.sh", "load.R", "pack.sh")
_CHECKS: Final = ("beside.sh", "check.sh", "load.R", "pack.sh")
_HOME: Final = "usr/lib/R"
# Where R would write when it built a package: it shows in DESCRIPTION and Meta/package.rds, and nowhere else.
_TIMESTAMP: Final = "1980-01-01 00:00:00 UTC"


def builds(pins: Pins, selection: Selection, place: Place) -> tuple[Build, ...]:
    """Return a build for each package that is locked as a source or built by others, each after those that it needs."""
    target = str(selection.target)
    rows = {row.name: row for row in made(pins, selection)}
    order = ordered(rows)
    _check_fit(pins, rows, target)
    needed: dict[str, set[str]] = {}  # all that each has to have in its library, to be installed and loaded
    for name in order:
        direct = [other for other in rows[name].requires if other in rows]
        needed[name] = {*direct, *(further for other in direct for further in needed[other])}
    return tuple(
        replace(
            _build(rows[name], place, pins.version, target),
            after=tuple(sorted(needed[name])),
            sees=_sees(name, rows, needed[name], target),
        )
        for name in order
    )


def _sees(name: str, rows: Mapping[str, Package], needed: Iterable[str], target: str) -> tuple[str, ...]:
    """Return the system packages that a build takes: R, what it says itself, what runs the packages that it loads."""
    row = rows[name]
    found = {*ITSELF}
    for other in (name, *needed):
        artifact = rows[other].artifacts[target]
        found.update(rows[other].needs, artifact.needs if isinstance(artifact, BinaryArtifact) else ())
    if row.artifacts[target].kind == "source":
        found.update(row.build_needs)
        if row.compiles:
            found.add(COMPILERS)
            found.update(package for other in row.linking_to if other in rows for package in rows[other].build_needs)
    return tuple(sorted(found))


def made(pins: Pins, selection: Selection) -> list[Package]:
    """Return the packages of a selection that the workshop makes: of their sources, or of what others have built."""
    target = str(selection.target)
    return [row for row in pins.selected(selection) if row.artifacts[target].kind != "deb"]


def _check_fit(pins: Pins, rows: Mapping[str, Package], target: str) -> None:
    """Hold built packages against R and against what they were compiled with: a merge may have torn them apart."""
    wrong: dict[str, str] = {}
    for row in rows.values():
        artifact = row.artifacts[target]
        if not isinstance(artifact, BinaryArtifact):
            continue
        if minor(artifact.r) != minor(pins.version):
            wrong[row.name] = f"{row.name} {row.version} was built by R {artifact.r}, and R is {pins.version}"
        for name, version in artifact.linking_to.items():
            found = next((other.version for other in pins.packages if other.name == name), "none")
            if found != version:
                wrong[row.name] = f"{row.name} {row.version} was compiled with {name} {version}; locked is {found}"
    if wrong:
        raise LockFormatError(
            "dsenv.lock has built R packages that do not fit",
            cause="\n".join(wrong.values()),
            hint="Run `dsenv lock " + " ".join(f"--upgrade-package r:{name}" for name in sorted(wrong)) + "`.",
        )


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


def _build(row: Package, place: Place, r_version: str, target: str) -> Build:
    artifact = row.artifacts[target]
    if isinstance(artifact, BinaryArtifact):
        return _checked(row, artifact, place, binary.agent(target, r_version))
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
        *_proof(row, place),
    ]
    if place.root:
        steps[1] = (f"{work}/R/bin/R", *steps[1][1:])
    return Build(
        name=row.name,
        title=f"{row.name} {row.version}",
        inputs=(Input(name=source.filename, source=source, identity=row.source.content), *_scripts(_SCRIPTS)),
        steps=tuple(Run(argv=argv, env=env) for argv in (*_beside(place), *steps)),
    )


def _checked(row: Package, artifact: BinaryArtifact, place: Place, agent: str) -> Build:
    """Return the build that takes what somebody else has built: it is unpacked, loaded, and packed as all others."""
    env = tuple(_environment(place, f"{place.prefix}/work").items())
    check = ("sh", f"{place.inputs}/check.sh", row.name, row.version, artifact.filename, artifact.r)
    return Build(
        name=row.name,
        title=f"{row.name} {row.version} (binary)",
        inputs=(Input(name=artifact.filename, source=artifact.artifact(row.name, agent)), *_scripts(_CHECKS)),
        steps=tuple(Run(argv=argv, env=env) for argv in (*_beside(place), check, *_proof(row, place))),
        verb="checked",
    )


def _beside(place: Place) -> Iterable[tuple[str, ...]]:
    """Yield the step that makes an R, where the one of the root does not lie at its own place."""
    if place.root:
        yield ("sh", f"{place.inputs}/beside.sh", f"{place.root}/{_HOME}")


def _proof(row: Package, place: Place) -> Iterable[tuple[str, ...]]:
    """Yield the steps that load what was installed, and pack it."""
    yield ("Rscript", "--vanilla", f"{place.inputs}/load.R", row.name)
    yield ("sh", f"{place.inputs}/pack.sh", row.name, f"{place.prefix}/out/{row.name}.tar")


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


def _scripts(names: Iterable[str]) -> Iterable[Input]:
    for name in names:
        yield Input(name=name, source=resources.files(__package__).joinpath(name).read_text("utf-8"))
