"""The directory that an image is built from: every file is put into it, or listed to be fetched in the build itself.

What is fetched is held against its sha256 before anything reads it (``fetch.sh``); what has no public address, such as
a package of the project, lies in the directory either way.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv import tree as trees
from dsenv.outputs import layout
from dsenv.pins import Artifact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.steps import Input
    from dsenv.store import Store
    from dsenv.tree import Content

FETCH: Final = "fetch"  # a stage, and where fetch.sh lies, with its list
PLACE: Final = "/context"  # in that stage: the whole context, with what was fetched
_PUBLIC: Final = re.compile(r"https?://[!-~]+")  # an address that is one word of a list
_PATH: Final = re.compile(r"[!-~]+")


class Context:
    """A directory that is being filled.

    Args:
        directory: An empty one.
        store: Holds what is copied into it.
        fetching: Whether artifacts are left to the build to fetch.

    """

    def __init__(self, directory: Path, store: Store, *, fetching: bool = False) -> None:
        self._directory = directory
        self._store = store
        self._fetching = fetching
        self._absent: dict[str, Artifact] = {}

    def add(self, path: str, item: Input) -> None:
        """Put an input in place, checked on the way, or on the list."""
        source = item.source
        is_left = self._fetching and not item.executable and _PATH.fullmatch(path)
        if is_left and isinstance(source, Artifact) and _addresses(source):
            self._absent[trees.safe_path(path)] = source
        else:
            self.write(path, layout.checked(item, self._store), 0o755 if item.executable else 0o644)

    def write(self, path: str, content: Content, mode: int = 0o644) -> None:
        """Write a file, or copy one."""
        target = self._directory / trees.safe_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            trees.copy_file(content, target)
        target.chmod(mode)

    def script(self, path: str, name: str) -> None:
        """Put a script of this package in place."""
        self.write(path, resources.files(__package__).joinpath(name).read_bytes())

    def finish(self) -> None:
        """Write the list of what is to be fetched."""
        if self._fetching:
            self.script(f"{FETCH}/fetch.sh", "fetch.sh")
            rows = (
                f"{','.join(artifact.hashes)} {path} {' '.join(_addresses(artifact))}\n"
                for path, artifact in sorted(self._absent.items())
            )
            self.write(f"{FETCH}/files.txt", "".join(rows).encode())


def stage(start: str, names: Sequence[str]) -> str:
    """Return the stage of a Dockerfile in which what is on the list is fetched.

    Args:
        start: What it begins with: an image that has apt.
        names: The context's directories that are wanted.

    """
    copies = "".join(f"COPY {name}/ {PLACE}/{name}/\n" for name in (*names, FETCH))
    return (
        "\n# what the lock names is downloaded, and held against its sha256; fetch/files.txt lists it\n"
        f"FROM {start} AS {FETCH}\n{copies}RUN sh {PLACE}/{FETCH}/fetch.sh {PLACE}\n"
    )


def _addresses(artifact: Artifact) -> list[str]:
    return [url for url in artifact.urls if _PUBLIC.fullmatch(url)]
