"""The store: every artifact by its sha256, every unpacked archive and built file by its key.

One store serves all projects of a user. What lies in it was checked when it came and is checked again by each process
before its first use; a damaged artifact is fetched anew, and said. Nothing outside this room knows how the store is
laid out:

    artifacts/, partial/, learned/ are those of artifacts.py
    trees/KEY/files/        an unpacked archive, and its entries beside it, below a line with their sha256
    built/KEY/NAME          a file made from artifacts, such as a system layer
    builds/KEY/files/       what was built from source
    workshops/KEY/files/    a root to build in; as in the line above, its entries lie beside it
    logs/NAME.log           what the last build of a name said
    caches/NAME/            what a tool keeps for itself
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, TypeVar

from dsenv import tree as trees
from dsenv.artifacts import Artifacts, alone
from dsenv.errors import writing
from dsenv.network import Network
from dsenv.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dsenv.pins import Artifact
    from dsenv.tree import Entry, Tree

T = TypeVar("T")
_CLAIM: Final = 40  # characters of a key that name the directory in which it is made


class Store(Artifacts):
    """The artifacts, and what was made of them, in one directory; safe for several processes at once."""

    def __init__(self, root: Path, *, offline: bool = False, network: Callable[[], Network] = Network) -> None:
        super().__init__(root, offline=offline, network=network)
        self.hashed: trees.Known = {}  # files of roots that were hashed by this process: they share them

    def cache(self, name: str) -> Path:
        """Return a directory that a tool may fill as it likes; losing it costs time only."""
        path = self.root / "caches" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def unpacked(self, artifact: Artifact, unpack: Callable[[Path, Path], Tree], kind: str) -> tuple[Tree, Path]:
        """Return the tree of an archive and the directory that holds its files, unpacking it once.

        Args:
            artifact: The archive; it is fetched when it is needed and not here.
            unpack: Writes an archive's files into an empty directory and returns their tree.
            kind: Names the way of unpacking, with its version: a part of the key.

        """
        home = self.root / "trees" / artifact.sha256[:2] / f"{artifact.sha256}-{kind}"
        tree = _read_entries(home / "entries")
        if tree is None:
            trees.remove(home)  # all of an archive whose entries are damaged
            with self._making(home) as aside:
                (aside / "files").mkdir()
                tree = unpack(self.read_checked(artifact), aside / "files")
                _write_entries(aside / "entries", tree)
        return tree, home / "files"

    def member(
        self, artifact: Artifact, path: str, unpack: Callable[[Path, Path], Tree], kind: str
    ) -> tuple[Path, Entry]:
        """Return one file of an unpacked archive and its entry, hashed now; the other arguments are ``unpacked``'s.

        Raises:
            DamagedTreeError: Unpacking it anew did not bring what the entry says.

        """

        def checked() -> tuple[Path, Entry]:
            tree, files = self.unpacked(artifact, unpack, kind)
            if not (files / path).is_file() or trees.file_sha256(files / path) != tree[path].content:
                raise trees.DamagedTreeError(files / path, tree[path])
            return files / path, tree[path]

        return self.mending(checked)

    def mending(self, work: Callable[[], T], progress: Progress | None = None) -> T:
        """Return what ``work`` returns; each archive whose unpacked files it finds damaged is unpacked anew, once.

        Args:
            work: Uses unpacked archives; it starts over after each damage, which it tells by a ``DamagedTreeError``.
            progress: Told of each damage.

        """
        mended: set[Path] = set()
        while True:
            try:
                return work()
            except trees.DamagedTreeError as error:
                if error.path in mended or not error.path.is_relative_to(self.root / "trees"):
                    raise
                mended.add(error.path)
                (progress or Silent()).warn(f"{error.sentence}; the package is unpacked anew")
                self.forget(error.path)

    def forget(self, path: Path) -> None:
        """Drop the unpacked archive that a damaged file belongs to."""
        home = self.root / "trees"
        trees.remove(home.joinpath(*path.relative_to(home).parts[:2]))

    def built(self, key: str, filename: str, build: Callable[[Path], None]) -> Path:
        """Return a file made from artifacts, making it once.

        Args:
            key: A digest of all that the file depends on.
            filename: The file's name.
            build: Writes the file at the path that it is given.

        """
        home = self.root / "built" / key
        if not (home / filename).exists():
            trees.remove(home)  # what is left of one that lost its file
            with self._making(home) as aside:
                build(aside / filename)
        return home / filename

    def has_built(self, key: str, filename: str) -> bool:
        """Say whether ``built`` has made a file."""
        return (self.root / "built" / key / filename).exists()

    def kept(self, kind: str, key: str, progress: Progress) -> Path | None:
        """Return a directory that ``keep_directory`` made, checked now; a damaged one is dropped, and said."""
        home = self.root / kind / key
        if not home.exists():
            return None
        tree = _read_entries(home / "entries")
        if tree is not None and not trees.compare(tree, trees.scan(home / "files", known=self.hashed)):
            return home / "files"
        progress.warn(f"what was made of artifacts in the store was damaged ({home}) and is made anew")
        trees.remove(home)
        return None

    def keep_directory(self, kind: str, key: str, fill: Callable[[Path], None]) -> Path:
        """Keep a directory that is made from artifacts, unless another process was faster, and return it.

        Args:
            kind: What is made: ``workshops``, ``builds``.
            key: A digest of all that it depends on.
            fill: Writes it into the empty directory that it is given.

        """
        home = self.root / kind / key
        with self.claimed(f"{kind}-{key[:_CLAIM]}") as aside, writing(home):
            if not home.exists():
                (aside / "files").mkdir()
                fill(aside / "files")
                _write_entries(aside / "entries", trees.scan(aside / "files", known=self.hashed))
                home.parent.mkdir(exist_ok=True)
                aside.rename(home)
        return home / "files"

    @contextlib.contextmanager
    def claimed(self, name: str) -> Iterator[Path]:
        """Yield an empty directory of this name that is gone afterwards; other processes wait for the same name."""
        home = self.root / "scratch" / name
        home.parent.mkdir(parents=True, exist_ok=True)
        lock = home.with_name(f"{name}.lock")
        with alone(lock):
            trees.remove(home)  # of a process that was killed
            home.mkdir(mode=0o700)
            try:
                yield home
            finally:
                trees.remove(home)
                lock.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete the directories that processes have claimed which were killed."""
        for lock in (self.root / "scratch").glob("*.lock"):
            with contextlib.suppress(OSError), lock.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                trees.remove(lock.with_suffix(""))
                lock.unlink()

    @contextlib.contextmanager
    def scratch(self, prefix: str) -> Iterator[Path]:
        """Yield an empty directory beside the store's files that is gone afterwards."""
        path = self.root / "scratch" / f"{prefix}-{secrets.token_hex(6)}"
        path.mkdir(parents=True)
        try:
            yield path
        finally:
            trees.remove(path)

    @contextlib.contextmanager
    def _making(self, home: Path) -> Iterator[Path]:
        """Yield a directory that becomes ``home`` in one step, unless another process was faster."""
        home.parent.mkdir(parents=True, exist_ok=True)
        aside = home.with_name(f".{home.name}-{secrets.token_hex(4)}")
        aside.mkdir()
        try:
            with writing(home):
                yield aside
            try:
                aside.rename(home)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
        finally:
            trees.remove(aside)


def _write_entries(path: Path, tree: Tree) -> None:
    text = json.dumps({name: asdict(entry) for name, entry in tree.items()}, separators=(",", ":")).encode()
    path.write_bytes(trees.content_sha256(text).encode() + b"\n" + text)


def _read_entries(path: Path) -> Tree | None:
    """Return an unpacked archive's entries, or ``None`` when they are not there or damaged."""
    try:
        sha256, _, text = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if trees.content_sha256(text).encode() != sha256:
        return None
    return {name: trees.Entry(**entry) for name, entry in json.loads(text).items()}
