"""Time dsenv's Python part against uv, pair by pair in the same run, and other tools beside them.

Usage: python benchmarks/python.py [--runs N] [--set small|list] [--what lock,relock,restore] [--tools]

Each pair takes turns (A B A B …), so that a machine whose speed drifts favours nobody; medians are what counts, of the
seconds that passed (wall) and of those that processors worked. Both sides download from the same index, install by
copies, and are given the same targets. dsenv does more in each: it locks the system that the packages stand on,
unless a title says otherwise, checks every file on its way, and lays bytecode, which uv compiles when it is told to.

With --tools, pip-tools, pip, PDM and Poetry do the same once, in turns, each from a throw-away environment.
"""

from __future__ import annotations

import argparse
import compileall
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sides import Side, Trash, timed

import dsenv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sides import Timing

SETS: Final = {
    "small": ["pandas", "scikit-learn", "matplotlib"],
    "list": Path(__file__).with_name("list.txt").read_text("utf-8").split(),  # 30 that data scientists use
}
LINUX: Final = {"linux-amd64": "sys_platform == 'linux' and platform_machine == 'x86_64'"}
MAC: Final = {"macos-arm64": "sys_platform == 'darwin' and platform_machine == 'arm64'"}
LOCK: Final = ("dsenv", "lock", "--quiet")
UV_LOCK: Final = ("uv", "lock", "--quiet")
RESTORE: Final = ("dsenv", "restore", "--quiet")
UV_SYNC: Final = ("uv", "sync", "--quiet", "--frozen", "--link-mode", "copy")
BYTECODE: Final = "--compile-bytecode"


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
