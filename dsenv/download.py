"""One artifact over the network: from any of its addresses, resumed after a cut, checked by its sha256."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from dsenv.errors import DownloadError, DsenvError, IntegrityError, StaleLockError
from dsenv.pins import Artifact, without_credentials
from dsenv.tools import archive, git
from dsenv.tree import file_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.network import Network
    from dsenv.progress import Progress

ATTEMPTS: Final = 3  # for one address, each resuming the one before
PAUSE: Final = 1.0  # seconds before a server that is busy is asked again, if it does not say how many
MOST: Final = 30.0  # seconds that a server may ask to wait
_LOCK: Final = "Run `dsenv lock`."


class Meter:
    """Counts what all download threads have brought."""

    def __init__(self, missing: Sequence[Artifact], progress: Progress) -> None:
        self._lock = threading.Lock()
        self._progress = progress
        self._count = len(missing)
        self._total = sum(artifact.size or 0 for artifact in missing)
        self._bytes = 0
        self._files = 0
        self.stop = threading.Event()  # set when one thread has failed: the others end

    def add(self, size: int) -> None:
        """Note ``size`` more bytes; end the thread when another one has failed."""
        self.wait(0)
        with self._lock:
            self._bytes += size
            self._progress.update(
                f"downloading {self._files}/{self._count} files, {_mb(self._bytes)} of {_mb(self._total)}"
            )

    def wait(self, seconds: float) -> None:
        """Pause; raise ``DownloadError`` as soon as another thread has failed."""
        if self.stop.wait(seconds):
            raise DownloadError("stopped")

    def finished(self) -> None:
        """Note one more whole file."""
        with self._lock:
            self._files += 1

    def done(self) -> None:
        """Say what was downloaded."""
        self._progress.say(f"downloaded {self._count} files, {_mb(self._bytes)}")


def server(artifact: Artifact, network: Network) -> str:
    """Return the first address that says it has an artifact, or nothing when none does."""
    from dsenv.tools import http  # noqa: PLC0415 - as below

    return next((url for url in artifact.urls if http.serves(url, network, artifact.size)), "")


def fill(partial: Path, artifact: Artifact, meter: Meter, network: Network) -> None:
    """Complete a file, which may hold a beginning already, from the first address that serves the artifact's bytes.

    Args:
        partial: The file; it exists.
        artifact: What it is to become.
        meter: Told of each piece.
        network: What is known of the way to the addresses.

    Raises:
        IntegrityError: The addresses served other bytes than the hash names.
        DownloadError: No address served the file.

    """
    troubles: list[DsenvError] = []
    for url in artifact.urls:
        trouble = _from_one(url, partial, artifact, meter, network)
        if trouble is None:
            return
        troubles.append(trouble)
    raise _failure(artifact, troubles)


def _from_one(url: str, partial: Path, artifact: Artifact, meter: Meter, network: Network) -> DsenvError | None:
    """Complete the file from one address, or return what its last attempt ended with."""
    if url.startswith(git.PREFIX) or "://" not in url:
        return _packed(url, partial, artifact, meter, network)
    from dsenv.tools import http  # noqa: PLC0415 - an HTTP client is 100 ms that only a download pays

    left = ATTEMPTS
    while True:
        meter.wait(0)
        left -= 1
        resumed = partial.stat().st_size > 0
        try:
            _attempt(url, partial, artifact, meter, network)
        except IntegrityError as error:
            if not resumed:
                return error  # else the piece from before the cut may be the bad one: a whole attempt follows
        except http.AnswerError as error:
            if left <= 0 or not error.may_pass:
                return error
            meter.wait(min(PAUSE if error.after is None else error.after, MOST))
        except DownloadError as error:
            if left <= 0:
                return error
        else:
            return None


def _attempt(url: str, partial: Path, artifact: Artifact, meter: Meter, network: Network) -> None:
    from dsenv.tools import http  # noqa: PLC0415

    with partial.open("r+b") as sink:
        start = sink.seek(0, os.SEEK_END)
        if start != artifact.size:
            for size in http.download(url, sink, start=start, network=network):
                meter.add(size)
                if artifact.size is not None and sink.tell() > artifact.size:
                    break
    if file_sha256(partial) != artifact.sha256:
        os.truncate(partial, 0)
        raise IntegrityError(f"{without_credentials(url)} served other bytes than sha256:{artifact.sha256}")
    meter.finished()


def _packed(url: str, partial: Path, artifact: Artifact, meter: Meter, network: Network) -> DsenvError | None:
    """Make the file of a commit, or of what lies in the project's directory, or return why that cannot be."""
    is_own = not url.startswith(git.PREFIX)
    os.truncate(partial, 0)
    with partial.open("r+b") as sink:
        try:
            home = partial.with_name(f"{partial.name}.git")
            for piece in archive.pieces(_own(url, network)) if is_own else git.pieces(url, home, network):
                sink.write(piece)
                meter.add(len(piece))
        except (DownloadError, FileNotFoundError) as error:
            return error if isinstance(error, DsenvError) else StaleLockError(f"there is no {url} any more", hint=_LOCK)
    if file_sha256(partial) == artifact.sha256:
        meter.finished()
        return None
    os.truncate(partial, 0)
    if is_own:
        return StaleLockError(f"{url} changed since it was locked", hint=_LOCK)
    return IntegrityError(f"{without_credentials(url)} has other files than the lock says")


def _own(url: str, network: Network) -> Path:
    if network.directory is None:
        raise DownloadError(f"{url} lies in a project's directory, and none is known")
    path = network.directory / url
    if not path.resolve().is_relative_to(network.directory.resolve()):
        raise DownloadError(f"{url} leads out of the project")
    return path


def _failure(artifact: Artifact, troubles: list[DsenvError]) -> DsenvError:
    if stale := next((trouble for trouble in troubles if isinstance(trouble, StaleLockError)), None):
        return stale
    cause = "\n".join(": ".join(filter(None, (trouble.sentence, trouble.cause))) for trouble in troubles)
    if any(isinstance(trouble, IntegrityError) for trouble in troubles):
        return IntegrityError(
            f"{artifact.filename} is not the file that the lock names",
            cause=cause,
            hint="Find out who changed it, the lock or the server, before you go on.",
        )
    hint = next((trouble.hint for trouble in troubles if trouble.hint), artifact.hint)
    hint = hint or "Check the network, then run it again."
    return DownloadError(f"{artifact.filename} could not be downloaded", cause=cause or "no address known", hint=hint)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
