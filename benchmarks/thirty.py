"""Prove the lock of thirty well-known packages: valid, the same for every installer, importable in a bare root.

Usage: python benchmarks/thirty.py [--without-image] [DIRECTORY]

Locks ``list.txt`` for three targets in DIRECTORY (a temporary one by default), holds ``pylock.toml`` against
``packaging.pylock``, installs it with ``uv pip sync`` and with pip's own installer, restores it, builds the image,
which holds the locked packages and nothing else, and imports all thirty there in one process. Some 20 GB of disk and
a quarter of an hour; an engine, unless the image is left out. Prints a table; ends with 1 if a row does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.pylock import Pylock

from dsenv.ecosystems.python import pins as python_pins
from dsenv.pins import Selection, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = Path(__file__).with_name("list.txt").read_text("utf-8").split()
TARGETS = ("linux-amd64", "linux-arm64", "macos-arm64")
PIP = "pip>=26.1"  # the first that installs pylock.toml
BIN = Path(sys.executable).parent
MODULES = {"scikit-learn": "sklearn", "dask[complete]": "dask.dataframe, dask.array, distributed"}


class Table:
    """What was found, a row each."""

    def __init__(self) -> None:
        self.holds = True

    @contextmanager
    def row(self, title: str) -> Iterator[list[str]]:
        """Time what is done within; what it adds to the list is said, and an error fails the row."""
        said: list[str] = []
        began = time.perf_counter()
        word = "yes"
        try:
            yield said
        except (subprocess.CalledProcessError, ValueError) as error:
            self.holds, word = False, "NO"
            said += [str(error), *str(getattr(error, "stderr", "") or "").splitlines()[-10:]]
        seconds = time.perf_counter() - began
        print(f"{title:44} {word:4} {seconds:7.1f} s   {'; '.join(said)}", flush=True)


def run(*words: str | Path, cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Return what a program says; raise ``CalledProcessError`` for an exit code that is none of ``codes``."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_FIND", "PYTHON"))}
    completed = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env=keep)
    if completed.returncode not in codes:
        raise subprocess.CalledProcessError(completed.returncode, words, completed.stdout, completed.stderr)
    return completed.stdout


def spec(directory: Path) -> None:
    """Write the project."""
    listed = ", ".join(f'"{package}"' for package in PACKAGES)
    directory.joinpath("dsenv.toml").write_text(
        '[project]\nname = "thirty"\n[platform]\nbase = "bootstrap:debian:bookworm"\n'
        f'targets = {json.dumps(TARGETS)}\n[python]\nversion = "3.11"\npackages = [{listed}]\n'
    )


def selected(directory: Path) -> dict[str, dict[str, str]]:
    """Return the versions that ``packaging.pylock`` selects from the file, by target."""
    lock = Pylock.from_dict(tomllib.loads((directory / "pylock.toml").read_text("utf-8")))
    lock.validate()
    document = tomllib.loads((directory / "dsenv.lock").read_text("utf-8"))
    rows = [python_pins.Interpreter.model_validate(row) for row in document["python"]["interpreters"]]
    pins = python_pins.Pins(interpreters=tuple(rows), lock=lock)
    chosen = {target: pins.select(Selection(target=Target.parse(target))) for target in TARGETS}
    return {target: {str(p.name): str(p.version) for p, _ in pairs} for target, pairs in chosen.items()}


def installed(python: Path, directory: Path) -> dict[str, str]:
    """Return what an environment holds by its metadata, pip itself aside."""
    text = (
        "import importlib.metadata as m, json, re;"
        "print(json.dumps({re.sub('[-_.]+', '-', d.metadata['Name']).lower(): d.version for d in m.distributions()}))"
    )
    found: dict[str, str] = json.loads(run(python, "-I", "-c", text, cwd=directory))
    return found


def by_uv(directory: Path) -> dict[str, str]:
    """Install the lock with ``uv pip sync``, under the locked interpreter."""
    python = venv(directory, "by-uv")
    preview = ("--preview-features", "pylock")
    run(BIN / "uv", "pip", "sync", "-q", *preview, "--python", python, "pylock.toml", cwd=directory)
    return installed(python, directory)


def by_pip(directory: Path) -> dict[str, str]:
    """Install the lock with pip, under the locked interpreter."""
    python = venv(directory, "by-pip")
    run(BIN / "uv", "pip", "install", "-q", "--python", python, PIP, cwd=directory)
    words = ("-m", "pip", "install", "-q", "--no-compile", "-r", "pylock.toml")
    run(BIN / "dsenv", "run", "--", python, *words, cwd=directory)
    found = installed(python, directory)
    return {name: version for name, version in found.items() if name != "pip"}


def venv(directory: Path, name: str) -> Path:
    """Make an empty environment on the locked interpreter: another patch may select other rows."""
    shutil.rmtree(directory / name, ignore_errors=True)
    python = directory / ".dsenv/current/root/usr/bin/python3.11"
    run(BIN / "uv", "venv", "-q", "--python", python, name, cwd=directory)
    return directory / name / "bin/python"


def same(found: dict[str, str], wanted: dict[str, str]) -> str:
    """Say how many packages there are; raise ``ValueError`` unless they are those that are wanted."""
    if difference := sorted(found.items() ^ wanted.items()):
        raise ValueError(difference)
    return f"{len(found)} packages"


def imports() -> str:
    """Return a program that imports all thirty, at once."""
    names = [MODULES.get(package, package) for package in PACKAGES]
    lines = [f"import {name}" for name in names]
    return "\n".join([*lines, f"print('imported', {len(names)})"])


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-image", action="store_true")
    parser.add_argument("directory", type=Path, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsenv-thirty-") as temporary:
        directory: Path = (options.directory or Path(temporary)).resolve()
        directory.mkdir(exist_ok=True)
        table = Table()
        fill(table, directory, image=not options.without_image)
    sys.exit(0 if table.holds else 1)


def fill(table: Table, directory: Path, *, image: bool) -> None:
    """Do all of it."""
    spec(directory)
    with table.row(f"dsenv lock, {len(TARGETS)} targets") as said:
        run(BIN / "dsenv", "lock", "-q", cwd=directory)
        rows = tomllib.loads((directory / "pylock.toml").read_text("utf-8"))["packages"]
        said.append(f"{len(rows)} rows, {(directory / 'pylock.toml').stat().st_size:,} bytes")
    with table.row("packaging.pylock validates and selects") as said:
        versions = selected(directory)
        said += [f"{target} {len(found)}" for target, found in versions.items()]
    here = versions["linux-amd64"]
    with table.row("dsenv restore installs the same") as said:
        run(BIN / "dsenv", "restore", "-q", cwd=directory, codes=(0, 5))
        found = installed(directory / ".dsenv/current/venv/bin/python", directory)
        said.append(same(found, here))
    installers = (("by-uv", "uv pip sync installs the same", by_uv), ("by-pip", "pip installs the same", by_pip))
    for name, title, install in installers:
        with table.row(title) as said:
            found = install(directory)
            said.append(same(found, here))
            shutil.rmtree(directory / name)
    with table.row("all thirty import in the project") as said:
        said.append(run(BIN / "dsenv", "run", "--", "python", "-c", imports(), cwd=directory).strip())
    with table.row("dsenv verify") as said:
        said.append(run(BIN / "dsenv", "verify", cwd=directory).strip().splitlines()[-1])
    if image:
        with table.row("dsenv docker") as said:
            said.append(run(BIN / "dsenv", "docker", cwd=directory).strip().splitlines()[-1])
        with table.row("all thirty import in the image") as said:
            words = ("run", "--image", "--", "python", "-c", imports())
            said.append(run(BIN / "dsenv", *words, cwd=directory).strip())


if __name__ == "__main__":
    main()
