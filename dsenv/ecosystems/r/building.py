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
from dsenv.ecosystems.r.built import HOME, BinaryArtifact
from dsenv.ecosystems.r.distribution import ITSELF
from dsenv.ecosystems.r.pins import compilers
from dsenv.errors import LockFormatError
from dsenv.steps import Input, Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.ecosystems.r.built import Archive
    from dsenv.ecosystems.r.pins import Package, Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place

_SCRIPTS: Final = ("beside.sh", "prepare.sh", "load.R", "settle.R", "pack.sh")
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
            _build(rows[name], pins, place, target),
            after=tuple(sorted(needed[name])),
            sees=_sees(name, rows, needed[name], pins, target),
        )
        for name in order
    )


def _sees(name: str, rows: Mapping[str, Package], needed: Iterable[str], pins: Pins, target: str) -> tuple[str, ...]:
    """Return the system packages that a build takes: R, what it says itself, what runs the packages that it loads."""
    row = rows[name]
    found = {*(pins.archives[target].needs if target in pins.archives else ITSELF)}
    for other in (name, *needed):
        artifact = rows[other].artifacts[target]
        found.update(rows[other].needs, artifact.needs if isinstance(artifact, BinaryArtifact) else ())
    if row.artifacts[target].kind == "source":
        found.update(row.build_needs)
        if row.compiles:
            found.update(compilers(pins))
            found.update(package for other in row.linking_to if other in rows for package in rows[other].build_needs)
    return tuple(sorted(found))


def made(pins: Pins, selection: Selection) -> list[Package]:
    """Return the packages of a selection that the workshop makes: of their sources, or of what others have built."""
    target = str(selection.target)
    return [row for row in pins.selected(selection) if row.artifacts[target].kind in {"binary", "source"}]


def _check_fit(pins: Pins, rows: Mapping[str, Package], target: str) -> None:
    """Hold built packages against R and against what they were compiled with: a merge may have torn them apart."""
    versions = {row.name: row.version for row in pins.packages}
    wrong: dict[str, str] = {}
    for row in rows.values():
        artifact = row.artifacts[target]
        if isinstance(artifact, BinaryArtifact) and (reason := artifact.misfit(pins.version, versions)):
            wrong[row.name] = f"{row.name} {row.version} {reason}"
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


def _build(row: Package, pins: Pins, place: Place, target: str) -> Build:
    artifact = row.artifacts[target]
    own = _Own(pins.archives.get(target), place)
    inputs, work, env = place.inputs, f"{place.prefix}/work", tuple(own.environment().items())
    steps: list[tuple[str, ...]]
    if isinstance(artifact, BinaryArtifact):
        file = Input(name=artifact.filename, source=artifact.artifact(row.name, binary.agent(target, pins.version)))
        steps = [("sh", f"{inputs}/check.sh", row.name, row.version, artifact.filename, artifact.r)]
    else:
        assert row.source is not None  # noqa: S101 - else the lock could not be read
        source = row.source.artifact()
        file = Input(name=source.filename, source=source, identity=row.source.content)
        repository = "CRAN" if row.source.kind == "repository" else ""
        steps = [
            ("sh", f"{inputs}/prepare.sh", row.name, row.version, source.filename, repository),
            (
                *(own.program("R"), "CMD", "INSTALL", "--use-vanilla", "--no-test-load"),
                *(f"--built-timestamp={_TIMESTAMP}", f"--library={work}/library", f"{work}/source/{row.name}"),
            ),
        ]
    steps = [
        *own.steps(),
        *steps,
        (own.program("Rscript"), "--vanilla", f"{inputs}/load.R", row.name),
        ("sh", f"{inputs}/pack.sh", row.name, f"{place.prefix}/out/{row.name}.tar"),
    ]
    is_binary = isinstance(artifact, BinaryArtifact)
    return Build(
        name=row.name,
        title=f"{row.name} {row.version}" + " (binary)" * is_binary,
        inputs=(file, *_scripts(_CHECKS if is_binary else _SCRIPTS), *own.inputs()),
        steps=tuple(Run(argv=argv, env=env) for argv in steps),
        verb="checked" if is_binary else "built",
        in_image=True,
    )


class _Own:
    """The R of a workshop: that of the root, one made of it where it does not lie at its own place, or an archive's."""

    def __init__(self, archive: Archive | None, place: Place) -> None:
        self._archive = archive
        self._place = place
        self._work = f"{place.prefix}/work"

    def program(self, name: str) -> str:
        """Return how a program of it is called; the Rscript that lies in a root finds its R by a variable."""
        if self._archive:
            return f"{self._work}/R/bin/{name}"
        return f"{self._work}/R/bin/R" if self._place.root and name == "R" else name

    def steps(self) -> Iterable[tuple[str, ...]]:
        """Yield the steps that make it."""
        if self._archive:
            yield ("mkdir", "R")
            form = ("--extract", "--gzip", "--no-same-owner", "--strip-components=1")
            yield ("tar", *form, "--directory=R", f"--file={self._place.inputs}/{self._archive.filename}")
        elif self._place.root:
            yield ("sh", f"{self._place.inputs}/beside.sh", f"{self._place.root}/{_HOME}")

    def inputs(self) -> Iterable[Input]:
        """Yield what it is made of, beyond the root."""
        if self._archive:
            yield Input(name=self._archive.filename, source=self._archive.artifact())

    def environment(self) -> dict[str, str]:
        """Return the variables after which it sees its own library, the packages beside, and nobody's settings."""
        place, work = self._place, self._work
        home = f"{work}/R/{HOME}" if self._archive else f"{work}/R" if place.root else f"/{_HOME}"
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
        if self._archive:
            values |= {"RHOME": home, "R_LD_LIBRARY_PATH": f"{home}/lib"}
        elif place.root:
            values |= {
                "RHOME": home,  # Rscript's word for it
                "R_LD_LIBRARY_PATH": f"{place.root}/{_HOME}/lib",
                **{f"R_{name.upper()}_DIR": f"{place.root}/usr/share/R/{name}" for name in ("share", "include", "doc")},
            }
        return values


def _scripts(names: Iterable[str]) -> Iterable[Input]:
    for name in names:
        yield Input(name=name, source=resources.files(__package__).joinpath(name).read_text("utf-8"))
