"""A side of a comparison: a project with caches of its own, what has to be gone from it, and how long it takes.

What has to be gone is moved aside, and deleted before the next pair: ext4 is up to ten times slower at making files
for a minute after many were deleted, and that would be the next side's loss.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIN: Final = Path(sys.executable).parent
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


@contextmanager
def clock() -> Iterator[list[Timing]]:
    """Fill a list with what programs take that run in this context."""
    found: list[Timing] = []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    yield found
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    found.append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))


def timed(command: Callable[[], None]) -> Timing:
    """Return how long a command takes."""
    with clock() as times:
        command()
    return times[0]
