"""Where a project's things lie: its files, and the directory ``.dsenv`` with its environments.

dsenv.toml  dsenv.lock  pylock.toml  renv.lock
.dsenv/
envs/<id>-<serial>/   whole environments, each built aside
current               a link to the one in use
bin/                  a link to what starts the environment's programs for editors and notebooks
venv/                 the same, as a virtual environment; .venv in the project's directory leads to it
activate.R            a link to what an R reads that something else has started; the environment in use has it
image/                the context of the image, with its Dockerfile
cache/<id>-<serial>/  what an environment's programs keep and can make again
busy                  locked while an operation changes something here
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsenv.progress import Progress

SPEC: Final = "dsenv.toml"


@dataclass(frozen=True, slots=True)
class Project:
    """A project's directory."""

    directory: Path

    @property
    def spec(self) -> Path:
        """The file that a person writes."""
        return self.directory / SPEC

    @property
    def home(self) -> Path:
        """The directory that is dsenv's own: its real path, as it may be a link to a roomier disk."""
        return (self.directory / ".dsenv").resolve()

    @property
    def environments(self) -> Path:
        """The directory of the environments."""
        return self.home / "envs"

    @property
    def cache(self) -> Path:
        """What the environments' programs may leave behind."""
        return self.home / "cache"

    def current(self) -> Path | None:
        """Return the real path of the environment in use, or ``None``."""
        link = self.home / "current"
        return link.resolve() if link.exists() else None

    def make_current(self, environment: Path) -> None:
        """Switch to another environment in one step; what other programs start from leads into the current one."""
        self._link("current", environment.relative_to(self.home))
        for path in sorted(environment.glob("entry/*")):
            self._link(path.name, Path("current", "entry", path.name))
        venv = self.directory / ".venv"
        if (environment / "entry" / "venv").is_dir() and not os.path.lexists(venv):
            venv.symlink_to(Path(".dsenv", "venv"))  # what editors look for; somebody's own is left alone

    def _link(self, name: str, target: Path) -> None:
        aside = self.home / f".{name}-{secrets.token_hex(4)}"
        aside.symlink_to(target)
        aside.replace(self.home / name)

    @contextlib.contextmanager
    def busy(self, progress: Progress) -> Iterator[None]:
        """Keep other operations of dsenv out of the project meanwhile."""
        self.home.mkdir(exist_ok=True)
        ignore = self.home / ".gitignore"
        if not ignore.exists():
            ignore.write_bytes(b"*\n")
        with (self.home / "busy").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.say("waiting for another dsenv that works on this project")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def find(start: Path) -> Project:
    """Return the project that ``start`` lies in: the nearest directory upwards that has a ``dsenv.toml``.

    Raises:
        WrongUseError: There is none.

    """
    start = start.resolve()
    for directory in (start, *start.parents):
        if (directory / SPEC).is_file():
            return Project(directory)
    raise WrongUseError(f"there is no {SPEC} in {start} or above it", hint="Write one with `dsenv init`.")


def store_path() -> Path:
    """Return where the store lies: ``DSENV_STORE``, or ``dsenv`` in the user's cache directory."""
    if path := os.environ.get("DSENV_STORE"):
        return Path(path).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "dsenv"
