"""Which steps put the Python packages in place: a virtual environment, filled by uv from stored wheels alone.

uv runs offline, without the user's configuration and without a cache of its own, so that what it installs comes from
the wheels that were checked and from nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import probe
from dsenv.formats import toml_write
from dsenv.formats.toml_write import Inline
from dsenv.steps import Input, PrependPath, Recipe, Run, SetEnv, Step
from dsenv.tools import wheel

if TYPE_CHECKING:
    from dsenv.ecosystems.python.pins import Pins
    from dsenv.pins import Selection
    from dsenv.progress import Progress
    from dsenv.steps import Place
    from dsenv.store import Store

# Bytecode is then checked by the hash of its source (PEP 552) and the same on every machine; the value itself, the
# first date that a zip archive can hold, is written nowhere.
_EPOCH: Final = "315532800"
ISOLATED: Final = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")


def recipe(pins: Pins, selection: Selection, place: Place, store: Store, progress: Progress) -> Recipe:
    """Return the steps for a place."""
    del progress
    chosen = pins.select(selection)
    interpreter = pins.interpreter(selection.target)
    python, notes = probe.interpreter(interpreter, place)
    uv_artifact = python_pins.installer(pins, selection.target).artifact()
    tree, files = store.unpacked(uv_artifact, wheel.unpack, wheel.UNPACKED)
    program = next(path for path in tree if path.endswith((".data/scripts/uv", ".data/scripts/uv.exe")))
    wheels = [python_pins.artifact(file) for _, file in chosen]
    lock = toml_write.dumps({
        "lock-version": "1.0", "created-by": python_pins.CREATED_BY,
        "packages": [
            {"name": package.name, "version": str(package.version), "wheels": [
                Inline(path=f"wheels/{file.filename}", hashes=Inline(sha256=file.sha256))
            ]}
            for (package, _), file in zip(chosen, wheels, strict=True)
        ],
    })
    uv = f"{place.inputs}/uv"
    venv = f"{place.prefix}/venv"
    cache = f"{place.prefix}/.uv"
    env = (
        ("SOURCE_DATE_EPOCH", _EPOCH), ("UV_NO_INSTALLER_METADATA", "1"), ("UV_NO_PROGRESS", "1"),
        ("UV_OFFLINE", "1"), ("UV_NO_CONFIG", "1"), ("UV_CACHE_DIR", cache), ("UV_PYTHON_DOWNLOADS", "never"),
    )
    compiled = ("--compile-bytecode",) if place.kind == "image" else ()
    steps: tuple[Step, ...] = (
        Run(argv=(uv, "venv", "--quiet", "--relocatable", "--no-project", "--python", python, venv), env=env),
        Run(argv=(
            uv, "pip", "sync", "--quiet", "--no-index", "--link-mode", "hardlink", "--preview-features", "pylock",
            *compiled, "--allow-empty-requirements", "--python", venv, f"{place.inputs}/pylock.toml",
        ), env=env),
        Run(argv=("rm", "-rf", cache)),
        PrependPath(name="PATH", directories=(f"{venv}/bin",)),
        SetEnv(name="VIRTUAL_ENV", value=venv),
        SetEnv(name="PYTHONNOUSERSITE", value="1"),
        *(SetEnv(name=name, value=None) for name in ISOLATED),
    )
    if place.kind != "image":
        # Running a program must not write into the environment.
        steps += (SetEnv(name="PYTHONPYCACHEPREFIX", value=f"{place.cache}/bytecode"),)
    return Recipe(
        name="python", title=f"Python {interpreter.version}, {len(chosen)} packages",
        inputs=(
            Input(name="pylock.toml", source=lock),
            Input(name="uv", source=files / program, executable=True),
            *(Input(name=f"wheels/{file.filename}", source=file) for file in wheels),
        ),
        steps=steps, notes=notes,
    )
