"""Packages that a project's environment only leads to (PEP 660), and what becomes of them in an image.

uv asks the package's own backend for what leads to it, in an environment of exactly the locked build requirements. In
an image there is no project: there such a package is built of what lies in the project's directory now.
"""

from __future__ import annotations

import csv
import posixpath
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.pylock import PackageDirectory
from packaging.utils import canonicalize_name

from dsenv.ecosystems.python import uv
from dsenv.errors import WrongUseError
from dsenv.steps import Input, Run
from dsenv.tools import archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packaging.pylock import Package

    from dsenv.ecosystems.python.pins import Chosen, Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place

# What leads somewhere may be a module: it is compiled now, for running a program must not write into the environment.
_COMPILE: Final = (
    "import compileall, py_compile, re, sys; compileall.compile_dir(sys.argv[1], maxlevels=0, quiet=1, "
    "rx=re.compile(r'/(?![^/]*editable)[^/]*$'), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)"
)


def _chosen(chosen: Sequence[Chosen], place: Place) -> list[Chosen]:
    return [row for row in chosen if row.is_editable and row.source and place.project]


def inputs(pins: Pins, chosen: Sequence[Chosen], selection: Selection, place: Place) -> Iterator[Input]:
    """Yield the wheels that their backends take."""
    for row in _chosen(chosen, place):
        for wheel in pins.build_wheels(row.source, selection.target) if row.source else ():
            yield Input(name=f"build/{row.name}/{wheel.filename}", source=wheel)


def steps(chosen: Sequence[Chosen], env: Sequence[tuple[str, str]], place: Place, site: str) -> Iterator[Run]:
    """Yield the steps that make an environment lead to them.

    Args:
        chosen: What is installed.
        env: uv's variables.
        place: Where.
        site: The environment's site-packages.

    """
    rows = _chosen(chosen, place)
    venv = f"{place.prefix}/venv"
    for row in rows:
        found = ("--find-links", f"{place.inputs}/build/{row.name}")
        directory = f"{place.project}/{row.package.directory.path if row.package.directory else ''}"
        yield Run(
            argv=(f"{place.inputs}/uv", *uv.INSTALL, *found, "--python", venv, "--editable", directory), env=tuple(env)
        )
    if rows:
        yield Run(argv=(f"{venv}/bin/python", "-I", "-S", "-B", "-c", _COMPILE, site))


def files(chosen: Sequence[Chosen], place: Place, site: str) -> Mapping[str, str]:
    """Return the files that lead to them, by path below the place's prefix, and whose they are.

    Their own list in the environment says which: only how it was left by the installer vouches for any of them.
    """
    found: dict[str, str] = {}
    for row in _chosen(chosen, place):
        path = row.package.directory.path if row.package.directory else ""
        reason = f"{row.name}: leads to {path} in the project, written by uv and its build backend"
        for name in _recorded(Path(site), row.name):
            found[posixpath.relpath(f"{site}/{name}", place.prefix)] = reason
    return found


def _recorded(site: Path, name: str) -> Iterator[str]:
    """Yield what a package's RECORD lists, and the bytecode of its modules."""
    for info in sorted(site.glob("*.dist-info")):
        if canonicalize_name(info.name.partition("-")[0]) == name and (info / "RECORD").is_file():
            with (info / "RECORD").open(encoding="utf-8", newline="") as file:
                names = [row[0] for row in csv.reader(file) if row and not row[0].startswith("/")]
            yield from names
            for module in (Path(path) for path in names if path.endswith(".py")):
                yield from (f"__pycache__/{path.name}" for path in (site / "__pycache__").glob(f"{module.stem}.*.pyc"))


def delivered(pins: Pins, directory: Path) -> Pins:
    """Return the pins as an image takes them: what a project only leads to, as it is in its directory now.

    Raises:
        WrongUseError: It is not there.

    """
    packages: list[Package] = []
    rows = {id(row): row for row in pins.sources}
    for package in pins.lock.packages:
        row = pins.source(package)
        held = package.directory
        if row and held and held.editable:
            if not (directory / held.path).is_dir():
                raise WrongUseError(f"there is no {held.path}, which {package.name} is built of")
            tree = archive.state(directory / held.path)
            rows[id(row)] = row.model_copy(update={"tree": tree, "wheels": ()})
            package = replace(package, directory=PackageDirectory(path=held.path, subdirectory=held.subdirectory))  # noqa: PLW2901
        packages.append(package)
    if packages == list(pins.lock.packages):
        return pins
    return pins.model_copy(update={"lock": replace(pins.lock, packages=packages), "sources": tuple(rows.values())})
