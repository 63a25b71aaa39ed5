"""Time dsenv's Python part against uv, pair by pair in the same run, and print the ratios.

Usage: python benchmarks/python.py [--runs N] [--set small|list]

Each pair takes turns (A B A B …), so that a machine whose speed drifts favours nobody; medians are what counts. Both
sides download from the same index, install with the same link mode, and are given the same targets. dsenv does more
in each: it locks the system that the packages stand on, and checks every file on its way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SETS = {
    "small": ["pandas", "scikit-learn", "matplotlib"],
    "list": Path(__file__).with_name("list.txt").read_text("utf-8").split(),  # 30 that data scientists use
}
TARGETS = {
    "linux-amd64": "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'",
}
BIN = Path(sys.executable).parent
LOCK = ("dsenv", "lock", "--quiet")
UV_LOCK = ("uv", "lock", "--quiet")
RESTORE = ("dsenv", "restore", "--quiet")
UV_SYNC = ("uv", "sync", "--quiet", "--frozen", "--link-mode", "copy", "--compile-bytecode")


class Side:
    """One of the two: a directory with a project, and caches of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory / name
        self.directory.mkdir()
        self.env = {
            **os.environ,
            "UV_CACHE_DIR": str(directory / f"{name}-uv-cache"),
            "DSENV_STORE": str(directory / f"{name}-store"),
            "UV_NO_PROGRESS": "1",
        }

    def __call__(self, *words: str) -> None:
        """Run a program of this environment in the project."""
        completed = subprocess.run(
            [BIN / words[0], *words[1:]], cwd=self.directory, env=self.env, capture_output=True, text=True, check=False
        )
        if completed.returncode not in {0, 5}:
            sys.exit(f"{words}: {completed.stdout}{completed.stderr}")

    def forget(self, *names: str) -> None:
        """Delete caches, or files of the project."""
        for path in (Path(self.env["UV_CACHE_DIR"]), Path(self.env["DSENV_STORE"])) if not names else ():
            shutil.rmtree(path, ignore_errors=True)
        for name in names:
            path = self.directory / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def specs(ours: Side, theirs: Side, packages: list[str], targets: dict[str, str]) -> None:
    """Write the same requirements for both."""
    listed = ", ".join(f'"{package}"' for package in packages)
    ours.directory.joinpath("dsenv.toml").write_text(
        '[project]\nname = "bench"\n[platform]\nbase = "bootstrap:debian:bookworm"\n'
        f"targets = [{', '.join(repr(target) for target in targets)}]\n"
        f'[python]\nversion = "3.11"\npackages = [{listed}]\n'
    )
    bounds = "python_full_version >= '3.11.2' and python_full_version < '3.12'"
    environments = ", ".join(f'"{clause} and {bounds}"' for clause in targets.values())
    theirs.directory.joinpath("pyproject.toml").write_text(
        f'[project]\nname = "bench"\nversion = "0"\nrequires-python = ">=3.8"\ndependencies = [{listed}]\n'
        f"[tool.uv]\npackage = false\nno-build = true\nenvironments = [{environments}]\n"
        f"required-environments = [{environments}]\n"
    )


def pair(
    title: str, runs: int, ours: Callable[[], None], theirs: Callable[[], None], before: Callable[[], None]
) -> None:
    """Time two commands in turn, and print the medians with their ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        before()
        for side, seconds in zip((ours, theirs), times, strict=True):
            began = time.perf_counter()
            side()
            seconds.append(time.perf_counter() - began)
    one, other = map(statistics.median, times)
    ratios = sorted(a / b for a, b in zip(*times, strict=True))
    spread = f"{ratios[0]:.2f}-{ratios[-1]:.2f}"
    print(f"{title:34} dsenv {one:7.2f} s   uv {other:7.2f} s   ratio {one / other:5.2f} ({spread})", flush=True)


def nothing() -> None:
    """Prepare nothing."""


def time_locks(ours: Side, theirs: Side, packages: list[str], runs: int) -> None:
    """Time resolving, for two targets."""

    def cold() -> None:
        for side in (ours, theirs):
            side.forget()
            side.forget("dsenv.lock", "pylock.toml", "uv.lock")

    def edited() -> None:
        specs(ours, theirs, packages, TARGETS)
        ours(*LOCK)
        theirs(*UV_LOCK)
        specs(ours, theirs, [*packages, "attrs", "humanize"], TARGETS)

    specs(ours, theirs, packages, TARGETS)
    pair("lock, nothing cached (apt, too)", runs, lambda: ours(*LOCK), lambda: theirs(*UV_LOCK), cold)
    pair("lock, two packages more", runs, lambda: ours(*LOCK), lambda: theirs(*UV_LOCK), edited)
    pair("lock, nothing to do", runs, lambda: ours(*LOCK), lambda: theirs(*UV_LOCK), nothing)


def time_restores(ours: Side, theirs: Side, packages: list[str], runs: int) -> None:
    """Time installing on this machine: with bytecode, by copies, as environments that share nothing."""

    def gone() -> None:
        ours.forget(".dsenv")
        theirs.forget(".venv")

    def cold() -> None:
        gone()
        ours.forget()
        theirs.forget()

    specs(ours, theirs, packages, {"linux-amd64": TARGETS["linux-amd64"]})
    ours(*LOCK)
    theirs(*UV_LOCK)
    for title, before in (("nothing cached", cold), ("all cached", gone), ("nothing to do", nothing)):
        pair(f"restore, {title}", runs, lambda: ours(*RESTORE), lambda: theirs(*UV_SYNC), before)


def main() -> None:
    """Run all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--set", choices=SETS, default="small")
    options = parser.parse_args()
    packages = SETS[options.set]
    print(f"{len(packages)} requirements, {options.runs} runs each")
    with tempfile.TemporaryDirectory(prefix="dsenv-bench-") as name:
        ours, theirs = Side(Path(name), "dsenv"), Side(Path(name), "uv")
        time_locks(ours, theirs, packages, options.runs)
        time_restores(ours, theirs, packages, options.runs)


if __name__ == "__main__":
    main()
