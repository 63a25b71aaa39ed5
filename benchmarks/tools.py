"""Time how other tools lock and install the same requirements; ``python.py --tools`` runs it.

Each comes into a throw-away environment, newest version, and locks for this machine alone: none of them takes a
distribution's packages along, or checks what it has installed. pip reads a lock since 26.1, as an experiment.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sides import BIN, Side, Trash, timed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Command = tuple[str, ...]
VENV: Final = ".venv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """How a tool is told to do it; a command's first word is a program of the tool's own environment."""

    name: str
    needs: tuple[str, ...]
    lock: Command
    sync: Command
    locks: str  # the file


TOOLS: Final = (
    Tool(
        name="pip-tools",
        needs=("pip-tools",),
        lock=("pip-compile", "--quiet", "--generate-hashes", "--strip-extras", "requirements.in"),
        sync=("pip-sync", "--quiet", "--python-executable", f"{VENV}/bin/python", "requirements.txt"),
        locks="requirements.txt",
    ),
    Tool(
        name="pip",
        needs=("pip>=26.1",),
        lock=("pip", "lock", "--quiet", "--only-binary", ":all:", "-r", "requirements.in"),
        sync=("pip", "--python", f"{VENV}/bin/python", "install", "--quiet", "-r", "pylock.toml"),
        locks="pylock.toml",
    ),
    Tool(
        name="PDM",
        needs=("pdm[locked]",),  # 2.29 does not work with newer ones of what it needs
        lock=("pdm", "lock", "--quiet"),
        sync=("pdm", "sync", "--quiet", "--no-self"),
        locks="pdm.lock",
    ),
    Tool(
        name="Poetry",
        needs=("poetry",),
        lock=("poetry", "lock", "--quiet", "--no-interaction"),
        sync=("poetry", "sync", "--quiet", "--no-interaction", "--no-root"),
        locks="poetry.lock",
    ),
)


def main(directory: Path, packages: Sequence[str], trash: Trash) -> None:
    """Time all of them, once."""
    index = _index(directory, packages, trash)
    columns = ("lock, cold", "lock, warm", "lock, nothing", "sync, cold", "sync, warm", "sync, nothing")
    print(f"{'seconds':24}{''.join(f'{column:>14}' for column in columns)}")
    for tool in TOOLS:
        side = Side(directory, tool.name, trash)
        own = directory / f"{tool.name}-tool"
        subprocess.run([BIN / "uv", "venv", "-q", "--python", sys.executable, own], check=True)
        subprocess.run([BIN / "uv", "pip", "install", "-q", "--python", own, *tool.needs], check=True)
        _specify(side, packages, index)
        try:
            times = "".join(f"{seconds:14.1f}" for seconds in _times(side, own, tool))
        except SystemExit as error:
            times = f"   {str(error).strip().splitlines()[-1]}"
        print(f"{_version(own, tool):24}{times}", flush=True)
        side.forget()
        side.forget(VENV)
        trash.empty()


def _times(side: Side, own: Path, tool: Tool) -> list[float]:
    def venv() -> None:
        side.forget(VENV)
        side("uv", "venv", "-q", "--seed", "--python", sys.executable, VENV)

    lock, sync = ([own / "bin" / words[0], *words[1:]] for words in (tool.lock, tool.sync))
    found = [timed(lambda: side(*lock))]
    side.forget(tool.locks)
    found += [timed(lambda: side(*lock)), timed(lambda: side(*lock))]
    side.forget()
    for before in (venv, venv, lambda: None):
        before()
        found.append(timed(lambda: side(*sync)))
    return [wall for wall, _ in found]


def _specify(side: Side, packages: Sequence[str], index: str) -> None:
    listed = ", ".join(f'"{package}"' for package in packages)
    (side.directory / "requirements.in").write_text("\n".join(packages) + "\n")
    (side.directory / "pyproject.toml").write_text(
        f'[project]\nname = "bench"\nversion = "0"\nrequires-python = "==3.11.*"\ndependencies = [{listed}]\n'
        "[tool.poetry]\npackage-mode = false\n"
        f'[[tool.poetry.source]]\nname = "index"\nurl = "{index}"\npriority = "primary"\n'
        "[tool.pdm]\ndistribution = false\n"
        f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{index}"\n'
    )
    side.env["POETRY_VIRTUALENVS_IN_PROJECT"] = "1"
    side.env["PDM_CHECK_UPDATE"] = "0"
    side.env["PDM_IGNORE_ACTIVE_VENV"] = "1"


def _index(directory: Path, packages: Sequence[str], trash: Trash) -> str:
    """Return the index that uv takes by default: the others are to ask the same."""
    side = Side(directory, "index", trash)
    (side.directory / "pyproject.toml").write_text(
        f'[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["{packages[0]}"]\n'
    )
    side("uv", "lock", "--quiet")
    lock = tomllib.loads((side.directory / "uv.lock").read_text())
    return next(row["source"]["registry"] for row in lock["package"] if "registry" in row["source"])


def _version(own: Path, tool: Tool) -> str:
    package = re.split("[<>=[]", tool.needs[0])[0]
    text = f"import importlib.metadata as m; print(m.version({package!r}))"
    return f"{tool.name} {subprocess.check_output([own / 'bin/python', '-I', '-c', text], text=True).strip()}"
