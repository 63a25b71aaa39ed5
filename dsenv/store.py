"""The store: every artifact by its sha256, every unpacked archive and built file by its key.

One store serves all projects of a user. What lies in it was checked when it came and is checked again before each
use; a damaged artifact is fetched anew, and said. Nothing outside this room knows how the store is laid out:

    artifacts/ab/abcdef…    a downloaded file, read-only
    partial/abcdef…         one that is still coming; resumed after a cut
    trees/KEY/files/        an unpacked archive, and its entries beside it
    built/KEY/NAME          a file made from artifacts, such as a system layer
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
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from dsenv import tree as trees
from dsenv.errors import DownloadError, DsenvError, IntegrityError
from dsenv.pins import Artifact, without_credentials
from dsenv.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dsenv.tree import Tree

DOWNLOADS: Final = 8  # at once
ATTEMPTS: Final = 3  # for one address, each resuming the one before


class Store:
    """A store in one directory, safe for several processes at once.

    Args:
        root: Where it lies; made when first written to.
        offline: Whether a missing artifact is an error instead of a download.
        proxies: For downloads, by scheme, before those of the environment.

    """

    def __init__(self, root: Path, *, offline: bool = False, proxies: dict[str, str] | None = None) -> None:
        self.root = root
        self._offline = offline
        self._proxies = proxies

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
            aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            aside.write_bytes(content)
            aside.chmod(0o444)
            aside.replace(path)
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
            if self._offline:
                names = ", ".join(artifact.filename for artifact in missing[:5])
                raise DownloadError(
                    f"{len(missing)} artifacts are not in the store and --offline forbids to fetch them: {names}",
                    hint="Run the command once without --offline.",
                )
            meter = _Meter(missing, talk)
            jobs = [pool.submit(self._fetch, artifact, meter) for artifact in missing]
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
            except BaseException:
                meter.stop = True
                for job in jobs:
                    job.cancel()
                raise
        meter.done()

    def read_checked(self, artifact: Artifact) -> Path:
        """Return the path of a stored artifact after checking its bytes again.

        Raises:
            IntegrityError: The stored bytes are not the artifact's.

        """
        path = self.path(artifact)
        if not path.exists():
            self.fetch([artifact])
        if trees.file_sha256(path) != artifact.sha256:
            raise IntegrityError(
                f"{artifact.filename} in the store is damaged ({path})",
                hint="Run `dsenv restore`: it fetches the artifact anew.",
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
        index = home / "entries.json"
        if not index.exists():
            with self._making(home) as aside:
                files = aside / "files"
                files.mkdir()
                tree = unpack(self.read_checked(artifact), files)
                entries = {path: asdict(entry) for path, entry in tree.items()}
                (aside / "entries.json").write_text(json.dumps(entries, separators=(",", ":")))
        entries = json.loads(index.read_bytes())
        return {path: trees.Entry(**entry) for path, entry in entries.items()}, home / "files"

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
            with self._making(home) as aside:
                build(aside / filename)
        return home / filename

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
            yield aside
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
        if trees.file_sha256(path) == artifact.sha256:
            return True
        progress.warn(f"{artifact.filename} in the store was damaged ({path}); it is fetched anew")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return False

    def _fetch(self, artifact: Artifact, meter: _Meter) -> None:
        partial = self.root / "partial" / artifact.sha256
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # another process may be fetching the same
            if self.path(artifact).exists():
                partial.unlink(missing_ok=True)
                return
            try:
                self._from_any(artifact, partial, meter)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    partial.unlink(missing_ok=True)
                raise
            self.path(artifact).parent.mkdir(parents=True, exist_ok=True)
            partial.chmod(0o444)
            partial.replace(self.path(artifact))

    def _from_any(self, artifact: Artifact, partial: Path, meter: _Meter) -> None:
        """Fill ``partial`` from the first address that serves the artifact's bytes."""
        troubles: list[DsenvError] = []
        for url in artifact.urls:
            for attempt in range(ATTEMPTS):
                if meter.stop:
                    raise DownloadError("stopped")
                resumed = partial.stat().st_size > 0
                try:
                    self._from_one(artifact, url, partial, meter)
                except DownloadError as error:
                    if attempt == ATTEMPTS - 1 or "answered 4" in error.sentence:
                        troubles.append(error)
                        break
                except IntegrityError as error:
                    if not resumed:  # else the piece from before the cut may be the bad one
                        troubles.append(error)
                        break
                else:
                    return
        raise _failure(artifact, troubles)

    def _from_one(self, artifact: Artifact, url: str, partial: Path, meter: _Meter) -> None:
        from dsenv.tools import http  # noqa: PLC0415 - an HTTP client is 100 ms that only a download pays

        with partial.open("r+b") as sink:
            start = sink.seek(0, os.SEEK_END)
            if artifact.size is None or start < artifact.size:
                for size in http.download(url, sink, start=start, proxies=self._proxies):
                    meter.add(size)
                    if artifact.size is not None and sink.tell() > artifact.size:
                        break
        if trees.file_sha256(partial) != artifact.sha256:
            os.truncate(partial, 0)
            raise IntegrityError(f"{without_credentials(url)} served other bytes than sha256:{artifact.sha256}")
        meter.finished()


def _failure(artifact: Artifact, troubles: list[DsenvError]) -> DsenvError:
    cause = "\n".join(": ".join(filter(None, (trouble.sentence, trouble.cause))) for trouble in troubles)
    if any(isinstance(trouble, IntegrityError) for trouble in troubles):
        return IntegrityError(
            f"{artifact.filename} is not the file that the lock names",
            cause=cause,
            hint="Find out who changed it, the lock or the server, before you go on.",
        )
    hint = next((trouble.hint for trouble in troubles if trouble.hint), "Check the network, then run it again.")
    return DownloadError(f"{artifact.filename} could not be downloaded", cause=cause or "no address known", hint=hint)


class _Meter:
    """Counts what all download threads have brought."""

    def __init__(self, missing: list[Artifact], progress: Progress) -> None:
        self._lock = threading.Lock()
        self._progress = progress
        self._count = len(missing)
        self._total = sum(artifact.size or 0 for artifact in missing)
        self._bytes = 0
        self._files = 0
        self.stop = False

    def add(self, size: int) -> None:
        """Note ``size`` more bytes; end the thread when another one has failed."""
        if self.stop:
            raise DownloadError("stopped")
        with self._lock:
            self._bytes += size
            self._progress.update(
                f"downloading {self._files}/{self._count} files, {_mb(self._bytes)} of {_mb(self._total)}"
            )

    def finished(self) -> None:
        """Note one more whole file."""
        with self._lock:
            self._files += 1

    def done(self) -> None:
        """Say what was downloaded."""
        self._progress.say(f"downloaded {self._count} files, {_mb(self._bytes)}")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
