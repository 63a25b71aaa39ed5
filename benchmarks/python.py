"""Time dsenv's Python part against uv, pair by pair in the same run, and other tools beside them.

Usage: python benchmarks/python.py [--runs N] [--set small|list] [--what lock,relock,restore] [--tools]

Each pair takes turns (A B A B …), so that a machine whose speed drifts favours nobody; medians are what counts, of the
seconds that passed (wall) and of those that processors worked. Both sides download from the same index, install by
copies, and are given the same targets. dsenv does more in each: it locks the system that the packages stand on,
unless a title says otherwise, checks every file on its way, and lays bytecode, which uv compiles when it is told to.

With --tools, pip-tools, pip, PDM and Poetry do the same once, in turns, each from a throw-away environment.

What has to be gone is moved aside, and deleted before the next pair: ext4 is up to ten times slower at making files
for a minute after many were deleted, and that would be the next side's loss.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dsenv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SETS: Final = {
    "small": ["pandas", "scikit-learn", "matplotlib"],
    "list": Path(__file__).with_name("list.txt").read_text("utf-8").split(),  # 30 that data scientists use
}
LINUX: Final = {"linux-amd64": "sys_platform == 'linux' and platform_machine == 'x86_64'"}
MAC: Final = {"macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'"}
BIN: Final = Path(sys.executable).parent
LOCK: Final = ("dsenv", "lock", "--quiet")
UV_LOCK: Final = ("uv", "lock", "--quiet")
RESTORE: Final = ("dsenv", "restore", "--quiet")
UV_SYNC: Final = ("uv", "sync", "--quiet", "--frozen", "--link-mode", "copy")
BYTECODE: Final = "--compile-bytecode"
SETTLED: Final = 60  # seconds after which ext4 uses deleted files' inodes again
UNSET: Final = ("PYTHON", "PIP_FIND", "UV_", "VIRTUAL_ENV")


class Trash:
    """What has to be gone, until there is time to delete it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count()

    def take(self, path: Path) -> None:
        """Move a file or a directory aside, if it is there."""
        if path.exists() or path.is_symlink():
            self._directory.mkdir(exist_ok=True)
            path.rename(self._directory / str(next(self._numbers)))

    def empty(self) -> None:
        """Delete it all, and wait until that has no after-effects."""
        if self._directory.exists():
            shutil.rmtree(self._directory)
            os.sync()
            time.sleep(SETTLED)


class Side:
    """One of the sides: a directory with a project, and caches of its own."""

    def __init__(self, directory: Path, name: str, trash: Trash) -> None:
        self.name = name
        self.directory = directory / name
        self.directory.mkdir()
        self._cache = directory / f"{name}-cache"
        self._trash = trash
        kept = {name: value for name, value in os.environ.items() if not name.startswith(UNSET)}
        caches = ("UV_CACHE_DIR", "DSENV_STORE", "PIP_CACHE_DIR", "PDM_CACHE_DIR", "POETRY_CACHE_DIR", "XDG_CACHE_HOME")
        own = {variable: str(self._cache / variable.lower()) for variable in caches}
        self.env = {**kept, **own, "UV_NO_PROGRESS": "1"}

    def __call__(self, *words: str | Path) -> None:
        """Run a program, by its path or one of this environment, in the project."""
        program = words[0] if isinstance(words[0], Path) else BIN / words[0]
        completed = subprocess.run(
            [program, *words[1:]], cwd=self.directory, env=self.env, capture_output=True, text=True, check=False
        )
        if completed.returncode not in {0, 5}:
            sys.exit(f"{words}: {completed.stdout}{completed.stderr}")

    def forget(self, *names: str) -> None:
        """Let caches, or files of the project, be gone."""
        for path in [self.directory / name for name in names] or [self._cache]:
            self._trash.take(path)


Timing = tuple[float, float]
"""Seconds on the wall, and of processors."""


def timed(command: Callable[[], None]) -> Timing:
    """Return how long a command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Bench:
    """Two sides in turn."""

    def __init__(self, directory: Path, runs: int) -> None:
        self.trash = Trash(directory / "trash")
        self.ours, self.theirs = (Side(directory, name, self.trash) for name in ("dsenv", "uv"))
        self._runs = runs

    def pair(
        self, title: str, ours: Sequence[str], theirs: Sequence[str], before: Callable[[], None] = lambda: None
    ) -> None:
        """Time two commands in turn, and print the medians with their ratio."""
        found: tuple[list[Timing], list[Timing]] = ([], [])
        for _ in range(self._runs):
            before()
            for side, words, timings in zip((self.ours, self.theirs), (ours, theirs), found, strict=True):
                timings.append(timed(lambda side=side, words=words: side(*words)))  # type: ignore[misc]
        walls, works = ([[timing[at] for timing in timings] for timings in found] for at in (0, 1))
        one, other = map(statistics.median, walls)
        ratios = sorted(a / b for a, b in zip(*walls, strict=True))
        busy = " and ".join(f"{statistics.median(work):.2f}" for work in works)
        print(
            f"{title:48} dsenv {one:7.2f} s   uv {other:7.2f} s   ratio {one / other:5.2f} "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f})   difference {one - other:+6.2f} s   processors {busy} s",
            flush=True,
        )
        self.trash.empty()

    def specify(self, packages: Sequence[str], targets: Mapping[str, str], lowest: str) -> None:
        """Write the same requirements for both."""
        listed = ", ".join(f'"{package}"' for package in packages)
        self.ours.directory.joinpath("dsenv.toml").write_text(
            '[project]\nname = "bench"\n[platform]\nbase = "bootstrap:debian:bookworm"\n'
            f"targets = [{', '.join(repr(target) for target in targets)}]\n"
            f'[python]\nversion = "3.11"\npackages = [{listed}]\n'
        )
        bounds = f"python_full_version >= '{lowest}' and python_full_version < '3.12'"
        environments = ", ".join(f'"{clause} and {bounds}"' for clause in targets.values())
        self.theirs.directory.joinpath("pyproject.toml").write_text(
            f'[project]\nname = "bench"\nversion = "0"\nrequires-python = ">=3.8"\ndependencies = [{listed}]\n'
            f"[tool.uv]\npackage = false\nno-build = true\nenvironments = [{environments}]\n"
            f"required-environments = [{environments}]\n"
        )

    def unlock(self) -> None:
        """Let caches and locks be gone."""
        for side in (self.ours, self.theirs):
            side.forget()
            side.forget("dsenv.lock", "pylock.toml", "uv.lock")

    def locks(self, packages: Sequence[str]) -> None:
        """Time resolving from nothing."""
        self.specify(packages, MAC, "3.11.0")
        self.pair("lock, nothing cached, one target, Python alone", LOCK, UV_LOCK, self.unlock)
        self.specify(packages, {**LINUX, **MAC}, "3.11.2")
        self.pair("lock, nothing cached, two targets, apt, too", LOCK, UV_LOCK, self.unlock)

    def relocks(self, packages: Sequence[str]) -> None:
        """Time resolving with something there."""
        more = [*packages, "humanize"]
        targets = {**LINUX, **MAC}

        def standing() -> None:
            self.specify(packages, targets, "3.11.2")
            self.ours(*LOCK)
            self.theirs(*UV_LOCK)

        def edited() -> None:
            standing()
            self.specify(more, targets, "3.11.2")

        def no_lock() -> None:
            self.ours.forget("dsenv.lock", "pylock.toml")
            self.theirs.forget("uv.lock")

        standing()
        self.pair("lock, all cached, no lock, apt, too", LOCK, UV_LOCK, no_lock)
        self.pair("lock, one package more", LOCK, UV_LOCK, edited)
        self.pair("lock, nothing to do", LOCK, UV_LOCK)

    def restores(self, packages: Sequence[str]) -> None:
        """Time installing on this machine."""

        def gone() -> None:
            self.ours.forget(".dsenv")
            self.theirs.forget(".venv")

        def cold() -> None:
            gone()
            self.ours.forget()
            self.theirs.forget()

        self.specify(packages, LINUX, "3.11.2")
        self.ours(*LOCK)
        self.theirs(*UV_LOCK)
        self.pair("restore, nothing cached, uv with bytecode", RESTORE, (*UV_SYNC, BYTECODE), cold)
        self.pair("restore, all cached, uv with bytecode", RESTORE, (*UV_SYNC, BYTECODE), gone)
        self.pair("restore, all cached, uv without bytecode", RESTORE, UV_SYNC, gone)
        self.pair("restore, nothing to do", RESTORE, UV_SYNC)


def main() -> None:
    """Run all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--set", choices=SETS, default="small")
    parser.add_argument("--what", default="lock,relock,restore")
    parser.add_argument("--tools", action="store_true", help="time other tools, too")
    options = parser.parse_args()
    packages = SETS[options.set]
    compileall.compile_dir(Path(dsenv.__file__).parent, quiet=2)  # as an installed dsenv is
    print(f"{len(packages)} requirements, {options.runs} runs each")
    with tempfile.TemporaryDirectory(prefix="dsenv-bench-") as name:
        bench = Bench(Path(name), options.runs)
        parts = {"lock": bench.locks, "relock": bench.relocks, "restore": bench.restores}
        for part in options.what.split(","):
            parts[part](packages)
        if options.tools:
            import tools  # noqa: PLC0415 - the file beside this one

            tools.main(Path(name), packages, bench.trash)


if __name__ == "__main__":
    main()
