"""Files by their sha256: downloaded, kept once for all projects.

They are checked when they come, and again by each process before its first use. Nothing outside this room knows how
they are laid out:

    artifacts/ab/abcdef…    a downloaded file, read-only
    partial/abcdef…         one that is still coming; resumed after a cut
    learned/KEY             the sha256 of a file of which only addresses, and perhaps an md5, were known
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import fcntl
import hashlib
import os
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from dsenv import download
from dsenv import tree as trees
from dsenv.errors import DownloadError, IntegrityError, writing
from dsenv.network import Network
from dsenv.pins import Artifact, digest
from dsenv.progress import Progress, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

W = TypeVar("W", bound=download.Wanted)
T = TypeVar("T")
DOWNLOADS: Final = 8  # at once


class Artifacts:
    """The files in one directory, safe for several processes at once.

    Args:
        root: Where they lie; made when first written to.
        offline: Whether a missing artifact is an error instead of a download.
        network: Returns what this machine's tools know of the way to servers; asked when that is wanted first.

    """

    def __init__(self, root: Path, *, offline: bool = False, network: Callable[[], Network] = Network) -> None:
        self.root = root
        self.offline = offline
        self._find_network = network
        self._meters: list[download.Meter] = []  # of the downloads that are under way
        self._hashed: dict[Path, tuple[tuple[int, ...], str]] = {}  # what a file was when it was read, and its sha256

    @cached_property
    def network(self) -> Network:
        """What is known of the way to servers."""
        return self._find_network()

    def path(self, artifact: Artifact) -> Path:
        """Return where ``artifact`` lies once ``fetch`` has returned."""
        paths = [self._artifact(sha256) for sha256 in artifact.hashes]
        return next((path for path in paths if path.exists()), paths[0])

    def keep(self, content: bytes) -> str:
        """Store bytes that are already here, and return their sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._artifact(sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            trees.replace_file(path, content, mode=0o444)
        return sha256

    def take(self, path: Path) -> str:
        """Store a file that lies on the same disk, which is gone from there then, and return its sha256."""
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
            meter, _ = self._at_once(missing, self._fetch, pool, talk)
        meter.done()

    def learn(self, wanted: Sequence[download.Unhashed], progress: Progress | None = None) -> list[Artifact]:
        """Bring files into the store of which no sha256 is known yet, and return them as artifacts, in order.

        What an index says of a file, its md5 or size, is checked. A file that was learned before is not asked for
        again, unless it is to be ``fresh``.

        Raises:
            IntegrityError: The addresses served something else than what the index lists.
            LostError: The servers have none of some of the files.
            DownloadError: No address served one of them, or the store is offline.

        """
        talk = progress or Silent()
        with concurrent.futures.ThreadPoolExecutor(DOWNLOADS) as pool:
            known = list(pool.map(lambda file: self._learned(file, talk), wanted))
            missing = [file for file, artifact in zip(wanted, known, strict=True) if artifact is None]
            if not missing:
                return [artifact for artifact in known if artifact]
            meter, results = self._at_once(missing, self._learn_or_lose, pool, talk)
        if lost := [result for result in results if isinstance(result, download.LostError)]:
            lost.sort(key=lambda error: error.files[0].filename)
            raise download.LostError([error.files[0] for error in lost], "\n".join(error.cause for error in lost))
        if any(not file.fresh for file in missing):
            meter.done()
        learned = dict(zip(missing, (result for result in results if isinstance(result, Artifact)), strict=True))
        return [artifact or learned[file] for file, artifact in zip(wanted, known, strict=True)]

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
            path = self.path(artifact)
        if self._sha256(path) != path.name:
            raise IntegrityError(
                f"{artifact.filename} in the store is damaged ({path})",
                hint="Delete that file, then run the command again: it is fetched anew.",
            )
        return path

    def missing(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """Return the artifacts that are not in the store, sound or damaged."""
        return [artifact for artifact in artifacts if not self.path(artifact).exists()]

    def _artifact(self, sha256: str) -> Path:
        return self.root / "artifacts" / sha256[:2] / sha256

    def _check_online(self, missing: Sequence[download.Wanted]) -> None:
        # A file of the project's directory has an address that is only a path: ``pkgs/own``.
        away = [file for file in missing if all("://" in url for url in file.urls)]
        if self.offline and away:
            names = ", ".join(file.filename for file in away[:5])
            raise DownloadError(
                f"{len(away)} artifacts are not in the store and --offline forbids to fetch them: {names}",
                hint="Run the command once without --offline.",
            )

    def _is_sound(self, artifact: Artifact, progress: Progress) -> bool:
        for sha256 in artifact.hashes:
            path = self._artifact(sha256)
            if not path.exists():
                continue
            if self._sha256(path) == sha256:
                return True
            progress.warn(f"{artifact.filename} in the store was damaged ({path}) and is dropped")
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return False

    def _sha256(self, path: Path) -> str:
        """Return a file's sha256; what this process has read and nobody touched since is not read again."""
        status = path.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if path not in self._hashed or self._hashed[path][0] != stamp:
            self._hashed[path] = stamp, trees.file_sha256(path)
        return self._hashed[path][1]

    def _at_once(
        self,
        missing: Sequence[W],
        work: Callable[[W, download.Meter], T],
        pool: concurrent.futures.Executor,
        progress: Progress,
    ) -> tuple[download.Meter, list[T]]:
        """Download files side by side, and return the results in order; what goes wrong with one ends all."""
        self._check_online(missing)
        meter = download.Meter(missing, progress)
        self._meters.append(meter)
        jobs = [pool.submit(work, file, meter) for file in missing]
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
        return meter, [job.result() for job in jobs]

    def _fetch(self, artifact: Artifact, meter: download.Meter) -> None:
        self._download(artifact, artifact.sha256, meter)

    def _learn_or_lose(self, file: download.Unhashed, meter: download.Meter) -> Artifact | download.LostError:
        try:
            return self._learn(file, meter)
        except download.LostError as error:
            return error  # all that are lost are to be named

    def _learn(self, file: download.Unhashed, meter: download.Meter) -> Artifact:
        key = _key(file)
        sha256 = self._download(file, f"unhashed-{key}", meter)
        if not file.fresh:
            note = self.root / "learned" / key
            note.parent.mkdir(parents=True, exist_ok=True)
            trees.replace_file(note, sha256.encode())
        size = self._artifact(sha256).stat().st_size
        return Artifact(filename=file.filename, sha256=sha256, size=size or None, urls=file.urls, agent=file.agent)

    def _learned(self, file: download.Unhashed, progress: Progress) -> Artifact | None:
        """Return a file as it was learned before, if it is still here."""
        if file.fresh:
            return None
        try:
            sha256 = (self.root / "learned" / _key(file)).read_text("ascii")
            size = self._artifact(sha256).stat().st_size
            found = Artifact(filename=file.filename, sha256=sha256, size=size, urls=file.urls, agent=file.agent)
        except (FileNotFoundError, ValueError):
            return None
        return found if self._is_sound(found, progress) else None

    def _download(self, file: download.Wanted, name: str, meter: download.Meter) -> str:
        """Download a file that is not here and return its sha256."""
        partial = self.root / "partial" / name
        with alone(partial):  # another process may be fetching the same
            if isinstance(file, Artifact):
                if self.path(file).exists():
                    partial.unlink(missing_ok=True)
                    return file.sha256
            else:
                os.truncate(partial, 0)  # the beginning of what may be another file by now
            try:
                with writing(partial):
                    download.fill(partial, file, meter, self.network)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    partial.unlink(missing_ok=True)
                raise
            is_checked = isinstance(file, Artifact) and not file.accepted
            sha256 = file.sha256 if isinstance(file, Artifact) and is_checked else trees.file_sha256(partial)
            path = self._artifact(sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(path).chmod(0o444)  # in this order: what is partial must stay writable
            return sha256


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a file that is there, made when it is not, against other processes, which may rename it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                is_same = os.path.samestat(path.stat(), os.fstat(file.fileno()))
            except FileNotFoundError:
                is_same = False
            if is_same:
                yield
                return


def _key(file: download.Unhashed) -> str:
    """Return what a file is remembered by: its index's hash, else where it was found."""
    return digest([file.filename, file.md5 or file.urls, *([file.agent] if file.agent else [])])
