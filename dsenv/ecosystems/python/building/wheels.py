"""Wheels that are built: how one is made in the workshop, what of it is written down, and whether it is the right one.

The build environment holds what ``pylock.build.toml`` has for the package and nothing else. What would make two builds
differ is told to the tools: the clock, the order of hashes, where debugging information says that sources lay.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from packaging.utils import parse_wheel_filename

from dsenv import tree
from dsenv.builds import EPOCH, Build
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import program, uv
from dsenv.ecosystems.python.building import needs
from dsenv.ecosystems.python.building import pins as building
from dsenv.ecosystems.python.building.pins import BuiltWheel, Source
from dsenv.ecosystems.python.origins import metadata
from dsenv.errors import IntegrityError
from dsenv.pins import Artifact
from dsenv.steps import Input, Run
from dsenv.tools.wheel import Wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dsenv.builds import Built
    from dsenv.ecosystems.python.pins import Chosen, Interpreter, Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place
    from dsenv.store import Store

_HOOKS: Final = "hooks.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A wheel that is installed: a locked one, or one that was built."""

    name: str  # of the package
    version: str
    filename: str
    sha256: str
    source: Artifact | Path

    @property
    def input(self) -> Input:
        """It as an input of a recipe."""
        sha256 = "" if isinstance(self.source, Artifact) else self.sha256
        return Input(name=f"wheels/{self.filename}", source=self.source, sha256=sha256)

    def path(self, store: Store) -> Path:
        """Return where it lies."""
        return store.path(self.source) if isinstance(self.source, Artifact) else self.source

    def checked(self, store: Store) -> Path:
        """Return where it lies; raise ``IntegrityError`` when it is damaged."""
        if isinstance(self.source, Artifact):
            return store.read_checked(self.source)
        if tree.file_sha256(self.source) != self.sha256:
            raise IntegrityError(
                f"{self.filename} in the store is damaged ({self.source})",
                hint="Delete the directory that it lies in, then run the command again: it is built anew.",
            )
        return self.source


def files(chosen: Iterable[Chosen], built: Mapping[str, Built]) -> list[File]:
    """Return the wheels of what a selection installs, what is only led to left out.

    Args:
        chosen: What it installs.
        built: What came of its builds.

    Raises:
        IntegrityError: A built wheel is not what the lock says.

    """
    found = []
    for row in chosen:
        if row.wheel:
            name, sha256, source = row.wheel.filename, row.wheel.sha256, row.wheel
            found.append(File(name=row.name, version=row.version, filename=name, sha256=sha256, source=source))
        elif row.name in built:
            result = built[row.name]
            check(result.path, row.name, row.version)
            found.append(
                File(
                    name=row.name,
                    version=row.version,
                    filename=result.path.name,
                    sha256=result.sha256,
                    source=result.path,
                )
            )
    return found


def check(path: Path, name: str, version: str) -> None:
    """Hold a built wheel against the lock: its name and version, one description of itself, no path that leads out."""
    Wheel(path, path.name).files()
    said = metadata.of_wheel(path, path.name)
    filename = parse_wheel_filename(path.name)
    if said.name != name or str(filename[0]) != name:
        raise IntegrityError(f"building {name} made a wheel of {said.name}: {path.name}")
    if said.version != version or str(filename[1]) != version:
        raise IntegrityError(
            f"building {name} {version} made version {said.version}",
            hint="If it is editable, run `dsenv lock --refresh`; else its version depends on more than its source.",
        )


def builds(pins: Pins, selection: Selection, place: Place) -> tuple[Build, ...]:
    """Return what has to be built of a selection; what a project only leads to is not."""
    if not pins.sources:
        return ()  # nothing is selected for nothing
    chosen = [row for row in pins.select(selection) if row.source and not row.is_editable]
    return tuple(_build(pins, row, row.source, selection, place) for row in chosen if row.source)


def _build(pins: Pins, chosen: Chosen, source: Source, selection: Selection, place: Place) -> Build:
    artifact = building.artifact(chosen.package, source.tree)
    takes = pins.build_wheels(source, selection.target)
    installer = python_pins.installer(pins, selection.target).artifact()
    known = source.wheel(selection.target)
    interpreter = pins.interpreter(selection.target)
    python = interpreter.build.artifact() if interpreter.build else None
    sees = [*([interpreter.package] if interpreter.package else []), *needs.compilers(pins, source, selection.target)]
    return Build(
        name=chosen.name,
        title=f"{chosen.name} {chosen.version}",
        inputs=(
            Input(name=_HOOKS, source=resources.files(__package__).joinpath(_HOOKS).read_text("utf-8")),
            *(Input(name=file.filename, source=file) for file in (installer, artifact, python) if file),
            *(Input(name=f"wheels/{wheel.filename}", source=wheel) for wheel in takes),
        ),
        steps=(
            *(program.unpacking(interpreter.build, place) if interpreter.build else ()),
            *_steps(chosen, source, artifact, installer, takes, interpreter, place),
        ),
        sees=tuple(sees),
        record=True,
        sha256=known.sha256 if known else "",
        pure=bool(known and known.is_pure),
    )


def _steps(
    chosen: Chosen,
    source: Source,
    artifact: Artifact,
    installer: Artifact,
    takes: Sequence[Artifact],
    row: Interpreter,
    place: Place,
) -> Iterable[Run]:
    interpreter = program.interpreter(row, place)[0]
    work = f"{place.prefix}/work"
    alone = (*uv.ALONE, ("UV_CACHE_DIR", f"{work}/cache"))
    hooks = f"{place.inputs}/{_HOOKS}"
    form = "tree" if chosen.package.vcs or chosen.package.directory else "sdist"
    inputs = (f"{place.inputs}/{installer.filename}", f"{place.inputs}/{artifact.filename}")
    yield Run(argv=(interpreter, "-I", "-B", hooks, "prepare", *inputs, form))
    yield Run(argv=(f"{work}/uv", *uv.VENV, "--python", interpreter, f"{work}/environment"), env=alone)
    if takes:
        wheels = (f"{place.inputs}/wheels/{wheel.filename}" for wheel in takes)
        yield Run(argv=(f"{work}/uv", *uv.INSTALL, "--python", f"{work}/environment", *wheels), env=alone)
    directory = f"{work}/source/{source.subdirectory}".rstrip("/")
    words = ("wheel", directory, source.backend, ":".join(source.backend_path), f"{place.prefix}/out")
    yield Run(argv=(f"{work}/environment/bin/python", "-B", hooks, *words), env=environment(row, work, chosen.version))


def environment(row: Interpreter, work: str, version: str) -> tuple[tuple[str, str], ...]:
    """Return the variables under which two builds of one source come out the same.

    Args:
        row: The Python. A build of it would call the compiler that it was made with.
        work: The directory in which it is built.
        version: What it is locked as: sources without their history cannot count it from tags.

    """
    flags = f"-g0 -ffile-prefix-map={work}=."
    return (
        *((("CC", "cc"), ("CXX", "c++")) if row.build else ()),
        ("SOURCE_DATE_EPOCH", EPOCH),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONNOUSERSITE", "1"),
        *((name, flags) for name in ("CFLAGS", "CXXFLAGS", "FFLAGS")),
        ("RUSTFLAGS", f"-Cdebuginfo=0 --remap-path-prefix={work}=."),
        ("CARGO_NET_OFFLINE", "true"),
        *((name, version) for name in ("SETUPTOOLS_SCM_PRETEND_VERSION", "PDM_BUILD_SCM_VERSION", "PBR_VERSION")),
        ("POETRY_DYNAMIC_VERSIONING_BYPASS", version),
    )


def recorded(pins: Pins, selection: Selection, built: Mapping[str, Built]) -> Pins:
    """Return the pins with what came of the builds; what is known already stays."""
    made = {id(row.source): row for row in pins.select(selection) if row.source and row.name in built}
    rows = []
    for source in pins.sources:
        chosen = made.get(id(source))
        if chosen and not source.wheel(selection.target):
            rows.append(_with(source, built[chosen.name], selection))
        else:
            rows.append(source)
    return pins.model_copy(update={"sources": tuple(rows)})


def _with(source: Source, built: Built, selection: Selection) -> Source:
    check(built.path, source.name, source.version)
    is_pure = built.path.name.endswith("-none-any.whl")
    wheel = BuiltWheel(target="" if is_pure else str(selection.target), name=built.path.name, sha256=built.sha256)
    return source.model_copy(update={"wheels": tuple(sorted((*source.wheels, wheel), key=lambda row: row.target))})
