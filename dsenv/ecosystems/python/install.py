"""Which steps put the Python packages in place: a virtual environment, filled by uv from stored wheels alone.

uv runs offline, without the user's configuration and without a cache of its own, so that what it installs comes from
the wheels that were checked and from nowhere else.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv.builds import EPOCH
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import platforms, probe, program, uv
from dsenv.ecosystems.python.building import editable
from dsenv.ecosystems.python.building import wheels as building
from dsenv.errors import IntegrityError
from dsenv.formats import toml_write
from dsenv.formats.toml_write import Inline
from dsenv.pins import Target
from dsenv.steps import Input, PrependPath, Recipe, Run, SetEnv, Step, Unpack
from dsenv.tools import wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsenv.builds import Built
    from dsenv.ecosystems.python.building.wheels import File
    from dsenv.ecosystems.python.pins import Interpreter, Pins
    from dsenv.ecosystems.python.standalone import Build
    from dsenv.pins import Artifact, Selection
    from dsenv.progress import Progress
    from dsenv.steps import Place
    from dsenv.store import Store

_SETTINGS: Final = (
    # Bytecode is then checked by the hash of its source (PEP 552) and the same on every machine; the value itself is
    # written nowhere.
    ("SOURCE_DATE_EPOCH", EPOCH),
    ("UV_NO_INSTALLER_METADATA", "1"),
    *uv.ALONE,
)
_VENV: Final = ("venv", "--quiet", "--relocatable", "--no-project")
# Hard links lead to the private cache, which is deleted afterwards; nothing else shares the files.
_SYNC: Final = (
    *("pip", "sync", "--quiet", "--no-index", "--link-mode", "hardlink"),
    *("--preview-features", "pylock", "--allow-empty-requirements"),
)
_COMPILE: Final = ("compile.py", "compile.json")  # the program, and its plan
ISOLATED: Final = ("PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONSTARTUP")


def recipe(
    pins: Pins, selection: Selection, place: Place, store: Store, progress: Progress, built: Mapping[str, Built]
) -> Recipe:
    """Return the steps for a place."""
    del progress
    chosen = pins.select(selection)
    interpreter = pins.interpreter(selection.target)
    python, differs = program.interpreter(interpreter, place)
    venv = f"{place.prefix}/venv"
    site = f"{venv}/lib/python{interpreter.version.rpartition('.')[0]}/site-packages"
    cache = f"{place.prefix}/.uv"
    env = (*_SETTINGS, ("UV_CACHE_DIR", cache))
    compiled = ("--compile-bytecode",) if place.kind == "image" else ()
    build = interpreter.build
    steps: tuple[Step, ...] = (
        *(_unpack(build, place) if build else ()),
        Run(argv=(f"{place.inputs}/uv", *_VENV, "--python", python, venv), env=env),
        Run(argv=(f"{place.inputs}/uv", *_SYNC, *compiled, "--python", venv, f"{place.inputs}/pylock.toml"), env=env),
        *editable.steps(chosen, env, place, site),
        *_compile(python, interpreter, place),
        Run(argv=("rm", "-rf", cache, *([_packs(place)] if build and place.kind == "image" else []))),
        PrependPath(name="PATH", directories=(f"{venv}/bin",)),
        SetEnv(name="VIRTUAL_ENV", value=venv),
        SetEnv(name="PYTHONNOUSERSITE", value="1"),
        SetEnv(name="RETICULATE_PYTHON", value=f"{venv}/bin/python"),  # R's reticulate would make one of its own
        *(SetEnv(name=name, value=None) for name in ISOLATED),
    )
    if place.kind != "image":
        # numba keeps machine code beside the sources of packages; running a program must not write there.
        steps += (SetEnv(name="NUMBA_CACHE_DIR", value=f"{place.cache}/numba"),)
    wheels = building.files(chosen, built)
    return Recipe(
        name="python",
        title=f"Python {interpreter.version}, {len(chosen)} packages",
        inputs=(
            Input(name="pylock.toml", source=_pylock(wheels)),
            _uv(python_pins.installer(pins, selection.target).artifact(), store),
            *_compiling(interpreter, wheels, place, store),
            *([Input(name=build.filename, source=build.artifact())] if build and place.kind == "image" else []),
            *(wheel.input for wheel in wheels),
            *editable.inputs(pins, chosen, selection, place),
        ),
        steps=steps,
        differs=(differs,) if differs else (),
    )


def _unpack(build: Build, place: Place) -> tuple[Step, ...]:
    """Return the steps that put a build of Python in place."""
    if place.kind != "image":
        return (Unpack(artifact=build.artifact(), directory=program.home(place)),)
    return program.unpacking(build, place)


def _packs(place: Place) -> str:
    """Return where an image's bytecode lies while it is laid: there is no store."""
    return f"{place.prefix}/.bytecode"


def _compile(python: str, row: Interpreter, place: Place) -> tuple[Run, ...]:
    """Return the step that lays bytecode: all of a project's, and of an image's, where uv does it, that of a build."""
    if place.kind == "image" and not row.build:
        return ()
    return (Run(argv=(python, "-I", "-S", "-B", "-W", "ignore", *(f"{place.inputs}/{name}" for name in _COMPILE))),)


def _compiling(row: Interpreter, wheels: Sequence[File], place: Place, store: Store) -> tuple[Input, ...]:
    """Return what that step reads: the program, and what it is to do."""
    if place.kind == "image" and not row.build:
        return ()
    minor = row.version.rpartition(".")[0]
    library = [f"{place.root}/usr/lib/python{version}" for version in (minor, "3") if place.root]
    if row.build:
        library = [f"{program.home(place)}/{platforms.library(Target.parse(row.target), minor)}"]
    plan = {
        "cache": _packs(place) if place.kind == "image" else str(store.cache("bytecode")),
        "tag": probe.compiled(row, place),
        "site": f"{place.prefix}/venv/lib/python{minor}/site-packages",
        "wheels": {
            wheel.sha256: f"{place.inputs}/wheels/{wheel.filename}" for wheel in wheels if place.kind != "image"
        },
        "library": library,  # with all of it compiled, running a program has nothing left to write there
    }
    text = resources.files(__package__).joinpath(_COMPILE[0]).read_text("utf-8")
    return Input(name=_COMPILE[0], source=text), Input(name=_COMPILE[1], source=json.dumps(plan))


def _pylock(wheels: Sequence[File]) -> str:
    """Return a pylock.toml of exactly these wheels, as they lie beside it."""
    rows = [
        {
            "name": wheel.name,
            "version": wheel.version,
            "wheels": [Inline(path=f"wheels/{wheel.filename}", hashes=Inline(sha256=wheel.sha256))],
        }
        for wheel in wheels
    ]
    return toml_write.dumps({"lock-version": "1.0", "created-by": python_pins.CREATED_BY, "packages": rows})


def _uv(artifact: Artifact, store: Store) -> Input:
    """Return the program within the locked wheel of uv."""
    tree, _ = store.unpacked(artifact, wheel.unpack, wheel.UNPACKED)
    name = next((path for path in tree if path.endswith((".data/scripts/uv", ".data/scripts/uv.exe"))), None)
    if name is None:
        raise IntegrityError(f"{artifact.filename} holds no program", hint="Run `dsenv lock --upgrade`.")
    path, entry = store.member(artifact, name, wheel.unpack, wheel.UNPACKED)
    return Input(name="uv", source=path, sha256=entry.content, executable=True)
