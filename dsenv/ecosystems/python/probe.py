"""What is there now: the files that belong into a virtual environment, and their bytecode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.ecosystem import Expectation
from dsenv.ecosystems.python import compile as bytecode
from dsenv.ecosystems.python import program, uv
from dsenv.ecosystems.python.building import editable
from dsenv.ecosystems.python.building import wheels as building
from dsenv.tools import tar
from dsenv.tools.wheel import Wheel
from dsenv.tree import Entry, Tree, content_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.builds import Built
    from dsenv.ecosystems.python.pins import Interpreter, Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place
    from dsenv.store import Store

_BYTECODE: Final = 1  # of the packs' format, and of how they are made
_VENV_FILES: Final = (
    ".gitignore",
    ".lock",
    "CACHEDIR.TAG",
    "lib64",
    "pyvenv.cfg",
    "bin/activate",
    "bin/activate.bat",
    "bin/activate.csh",
    "bin/activate.fish",
    "bin/activate.nu",
    "bin/activate.ps1",
    "bin/activate.xsh",
    "bin/activate_this.py",
    "bin/deactivate.bat",
    "bin/pydoc.bat",
    "bin/python",
    "bin/python3",
)


def compiled(row: Interpreter, place: Place) -> str:
    """Return the tag of the bytecode that a place's interpreter makes (``compile.py``)."""
    locked = row.build or (row.package and place.kind != "host")
    version = row.version if locked else uv.python_version(program.interpreter(row, place)[0])
    return f"{version}-{_BYTECODE}"


def expectation(
    pins: Pins, selection: Selection, place: Place, store: Store, built: Mapping[str, Built]
) -> Expectation:
    """Return the files of all selected wheels, by the RECORD within each hash-checked wheel.

    In an image those of a build of Python, too: elsewhere a step says them. The wheels' bytecode is that of the store's
    packs; where a pack is lost, only how it was left tells.
    """
    venv = f"{place.prefix.removeprefix('/')}/venv" if place.kind == "image" else "venv"
    interpreter_row = pins.interpreter(selection.target)
    minor = ".".join(interpreter_row.version.split(".")[:2])
    packages = f"{venv}/lib/python{minor}/site-packages"
    packs, tag = store.cache("bytecode"), "" if place.kind == "image" else compiled(interpreter_row, place)
    python = program.home(place).removeprefix("/")
    tree = _build(interpreter_row, python, store) if place.kind == "image" else {}
    generated = {f"{venv}/{name}": "the virtual environment itself, written by uv" for name in _VENV_FILES}
    generated[f"{venv}/bin/python{minor}"] = "the virtual environment itself, written by uv"
    chosen = pins.select(selection)
    generated.update(editable.files(chosen, place, f"{place.prefix}/{packages}"))
    for file in building.files(chosen, built):
        wheel = Wheel(file.checked(store), file.filename)
        owner = f"{file.name} {file.version}"
        generated[f"{packages}/{wheel.info}/RECORD"] = f"{owner}: rewritten by uv with what it installed"
        generated.update(
            {f"{venv}/bin/{name}": f"{owner}: entry point, written by uv" for name in wheel.entry_points()}
        )
        rewritten = wheel.python_scripts()
        schemes = {
            "purelib": packages,
            "platlib": packages,
            "scripts": f"{venv}/bin",
            "data": venv,
            "headers": f"{venv}/include/site/python{minor}/{file.name}",
        }
        for path, sha256 in wheel.files().items():
            where = _installed(path, wheel.data, packages, schemes)
            if path in rewritten:
                generated[where] = f"{owner}: script, its first line rewritten by uv"
            else:
                tree[where] = Entry(kind="file", mode=-1, content=sha256, owner=owner)
        for path, content in ((tag and bytecode.read(bytecode.pack(packs, file.sha256, tag))) or {}).items():
            made = Entry(kind="file", mode=-1, content=content_sha256(bytes(content)), owner=f"{owner}, compiled")
            tree[f"{packages}/{path}"] = made
    return Expectation(tree=tree, generated=generated, owned=(venv, python))


def _build(row: Interpreter, directory: str, store: Store) -> Tree:
    """Return the files of a build of Python, read from its archive; none where it is no build."""
    if not row.build:
        return {}
    entries = tar.entries(store.read_checked(row.build.artifact()), row.build.filename)
    return {f"{directory}/{path}": entry for path, entry in entries.items()}


def _installed(path: str, data: str, packages: str, schemes: Mapping[str, str]) -> str:
    """Return where an installer puts a wheel's file (PEP 427, "The .data directory")."""
    if not path.startswith(f"{data}/"):
        return f"{packages}/{path}"
    scheme, _, rest = path.removeprefix(f"{data}/").partition("/")
    return f"{schemes.get(scheme, schemes['data'])}/{rest}"
