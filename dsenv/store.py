"""The store: every artifact by its sha256, every unpacked archive and built file by its key.

One store serves all projects of a user. What lies in it was checked when it came and is checked again by each process
before its first use; a damaged artifact is fetched anew, and said. Nothing outside this room knows how the store is
laid out:

    artifacts/ab/abcdef…    a downloaded file, read-only
    partial/abcdef…         one that is still coming; resumed after a cut
    trees/KEY/files/        an unpacked archive, and its entries beside it, below a line with their sha256
    built/KEY/NAME          a file made from artifacts, such as a system layer
    builds/KEY/files/       what was built from source
    workshops/KEY/files/    a root to build in; as in the line above, its entries lie beside it
    logs/NAME.log           what the last build of a name said
    caches/NAME/            what a tool keeps for itself
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from dsenv import download
from dsenv import tree as trees
from dsenv.errors import DownloadError, IntegrityError, writing
from dsenv.network import Network
from dsenv.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from dsenv.pins import Artifact
    from dsenv.tree import Entry, Tree

T = TypeVar("T")
DOWNLOADS: Final = 8  # at once
_CLAIM: Final = 40  # characters of a key that name the directory in which it is made


class Store:
    """A store in one directory, safe for several processes at once.

    Args:
        root: Where it lies; made when first written to.
        offline: Whether a missing artifact is an error instead of a download.
        network: Returns what this machine's tools know of the way to servers; asked when that is wanted first.

    """

    def __init__(self, root: Path, *, offline: bool = False, network: Callable[[], Network] = Network) -> None:
        self.root = root
        self.offline = offline
        self._find_network = network
        self.hashed: trees.Known = {}  # files of roots that were hashed by this process: they share them
        self._meters: list[download.Meter] = []  # of the downloads that are under way
        self._hashed: dict[Path, tuple[tuple[int, ...], str]] = {}  # what a file was when it was read, and its sha256

    @cached_property
    def network(self) -> Network:
        """What is known of the way to servers."""
        return self._find_network()

    def path(self, artifact: Artifact) -> Path:
        """Return where ``artifact`` lies once ``fetch`` has returned."""
        return self._artifact(artifact.sha256)

    def cache(self, name: str) -> Path:
        """Return a directory that a tool may fill as it likes; losing it costs time only."""
        path = self.root / "caches" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, content: bytes) -> str:
        """Store bytes that are already here, and return their sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._artifact(sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            trees.replace_file(path, content, mode=0o444)
        return sha256

    def take(self, path: Path) -> str:
        """Store a file that lies in ``scratch``, which is gone from there then, and return its sha256."""
        sha256 = trees.file_sha256(path)
        path.chmod(0o444)
        self._artifact(sha256).parent.mkdir(parents=True, exist_ok=True)
        path.replace(self._artifact(sha256))
        return sha256

    def fetch(self, artifacts: Iterable[Artifact], progress: Progress | None = None) -> None:
        """Bring all ``artifacts`` into the store, in parallel, each checked by sha256.

        Raises:
            IntegrityError: Every address served other bytes than the hash names.
            DownloadError: No address served one of them, or the store is offline.

        """
        wanted = list({artifact.sha256: artifact for artifact in artifacts}.values())
        talk = progress or Silent()
        with concurrent.futures.ThreadPoolExecutor(DOWNLOADS) as pool:
            present = list(pool.map(lambda artifact: self._is_sound(artifact, talk), wanted))
            missing = [artifact for artifact, sound in zip(wanted, present, strict=True) if not sound]
            if not missing:
                return
            if self.offline and (away := [artifact for artifact in missing if not artifact.is_own]):
                names = ", ".join(artifact.filename for artifact in away[:5])
                raise DownloadError(
                    f"{len(away)} artifacts are not in the store and --offline forbids to fetch them: {names}",
                    hint="Run the command once without --offline.",
                )
            meter = download.Meter(missing, talk)
            self._meters.append(meter)
            jobs = [pool.submit(self._fetch, artifact, meter) for artifact in missing]
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
            except BaseException:
                meter.stop.set()
                for job in jobs:
                    job.cancel()
                raise
            finally:
                self._meters.remove(meter)
        meter.done()

    def stop(self) -> None:
        """End the downloads that other threads are waiting for."""
        for meter in [*self._meters]:
            meter.stop.set()

    def servers(self, artifacts: Sequence[Artifact]) -> list[str]:
        """Return for each artifact an address that still has it, or nothing; ask nobody when the store is offline."""
        if self.offline:
            return [""] * len(artifacts)
        with concurrent.futures.ThreadPoolExecutor(DOWNLOADS) as pool:
            return list(pool.map(lambda artifact: download.server(artifact, self.network), artifacts))

    def read_checked(self, artifact: Artifact) -> Path:
        """Return the path of a stored artifact after checking its bytes, once in this process unless they move.

        Raises:
            IntegrityError: The stored bytes are not the artifact's.

        """
        path = self.path(artifact)
        if not path.exists():
            self.fetch([artifact])
        if self._sha256(path) != artifact.sha256:
            raise IntegrityError(
                f"{artifact.filename} in the store is damaged ({path})",
                hint="Delete that file, then run the command again: it is fetched anew.",
            )
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

    def missing(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """Return the artifacts that are not in the store, sound or damaged."""
        return [artifact for artifact in artifacts if not self.path(artifact).exists()]

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
        with _locked(lock):
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

    def _artifact(self, sha256: str) -> Path:
        return self.root / "artifacts" / sha256[:2] / sha256

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

    def _is_sound(self, artifact: Artifact, progress: Progress) -> bool:
        path = self.path(artifact)
        if not path.exists():
            return False
        if self._sha256(path) == artifact.sha256:
            return True
        progress.warn(f"{artifact.filename} in the store was damaged ({path}) and is dropped")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return False

    def _sha256(self, path: Path) -> str:
        """Return an artifact's sha256; what this process has read and nobody touched since is not read again."""
        status = path.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if path not in self._hashed or self._hashed[path][0] != stamp:
            self._hashed[path] = stamp, trees.file_sha256(path)
        return self._hashed[path][1]

    def _fetch(self, artifact: Artifact, meter: download.Meter) -> None:
        partial = self.root / "partial" / artifact.sha256
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another process may be fetching the same
            if self.path(artifact).exists():
                partial.unlink(missing_ok=True)
                return
            try:
                with writing(partial):
                    download.fill(partial, artifact, meter, self.network)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    partial.unlink(missing_ok=True)
                raise
            self.path(artifact).parent.mkdir(parents=True, exist_ok=True)
            partial.replace(self.path(artifact)).chmod(0o444)  # in this order: what is partial must stay writable


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that a file stands for, which whoever held it deletes at the end."""
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    yield
                    return


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
