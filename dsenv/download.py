"""One file over the network: from any of its addresses, resumed after a cut, checked by what is known of it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.errors import DownloadError, DsenvError, IntegrityError, StaleLockError
from dsenv.pins import Artifact, without_credentials
from dsenv.tools import archive, git
from dsenv.tree import file_md5, file_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.network import Network
    from dsenv.progress import Progress

ATTEMPTS: Final = 3  # for one address, each resuming the one before
PAUSE: Final = 1.0  # seconds before a server that is busy is asked again, if it does not say how many
MOST: Final = 30.0  # seconds that a server may ask to wait
_LOCK: Final = "Run `dsenv lock`."
_LOST: Final = (404, 410)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhashed:
    """A file whose sha256 is to be learned by downloading it."""

    filename: str
    urls: tuple[str, ...]  # in the order in which they are tried
    md5: str = ""  # where an index has it
    size: int | None = None
    fresh: bool = False  # whether its addresses serve something else every now and then: nothing is remembered
    agent: str = ""  # the User-Agent to ask as, where the answer depends on it


Wanted = Artifact | Unhashed


class LostError(DownloadError):
    """No address has the file: each answered that there is none.

    Args:
        files: Those that are lost.
        cause: What was answered.
        hint: What else to do.

    """

    def __init__(self, files: Sequence[Wanted], cause: str, hint: str = "") -> None:
        names = ", ".join(file.filename for file in files)
        if locked := [file.sha256 for file in files if isinstance(file, Artifact)]:
            place = f"artifacts/{locked[0][:2]}/{locked[0]}"
            hint = hint or f"Somebody's store may have it ({place}); `dsenv lock --refresh` takes what there is now."
        super().__init__(f"{names} could not be downloaded", cause=cause, hint=hint or "Check the addresses.")
        self.files = tuple(files)


class MismatchError(IntegrityError):
    """The addresses serve something else than what a lock names."""

    def __init__(self, artifact: Artifact, cause: str) -> None:
        super().__init__(
            f"{artifact.filename} is not the file that the lock names",
            cause=cause,
            hint=f"Find out who changed it, the lock or the server, before you go on. {artifact.hint}".strip(),
        )
        self.artifact = artifact


class Meter:
    """Counts what all download threads have brought."""

    def __init__(self, missing: Sequence[Wanted], progress: Progress) -> None:
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

    return next((url for url in artifact.urls if http.serves(url, network, artifact.size, artifact.agent)), "")


def fill(partial: Path, artifact: Wanted, meter: Meter, network: Network) -> None:
    """Complete a file, which may hold a beginning already, from the first address that serves the right bytes.

    Args:
        partial: The file; it exists.
        artifact: What it is to become.
        meter: Told of each piece.
        network: What is known of the way to the addresses.

    Raises:
        IntegrityError: The addresses served other bytes than the hash names.
        LostError: No address has the file.
        DownloadError: No address served it.

    """
    troubles: list[DsenvError] = []
    for url in artifact.urls:
        trouble = _from_one(url, partial, artifact, meter, network)
        if trouble is None:
            return
        troubles.append(trouble)
    raise _failure(artifact, troubles)


def _from_one(url: str, partial: Path, artifact: Wanted, meter: Meter, network: Network) -> DsenvError | None:
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


def _attempt(url: str, partial: Path, artifact: Wanted, meter: Meter, network: Network) -> None:
    from dsenv.tools import http  # noqa: PLC0415

    with partial.open("r+b") as sink:
        start = sink.seek(0, os.SEEK_END)
        if start != artifact.size:
            for size in http.download(url, sink, start=start, network=network, agent=artifact.agent):
                meter.add(size)
                if artifact.size is not None and sink.tell() > artifact.size:
                    break
    if wrong := _wrong(partial, artifact):
        os.truncate(partial, 0)
        raise IntegrityError(f"{without_credentials(url)} served other bytes than {wrong}")
    meter.finished()


def _packed(url: str, partial: Path, artifact: Wanted, meter: Meter, network: Network) -> DsenvError | None:
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
    wrong = _wrong(partial, artifact)
    if not wrong:
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


def _wrong(path: Path, wanted: Wanted) -> str:
    """Return what a file's bytes were to be and are not, "" when they are."""
    if isinstance(wanted, Artifact):
        return "" if file_sha256(path) in wanted.hashes else f"sha256:{wanted.sha256}"
    if wanted.md5 and file_md5(path) != wanted.md5:
        return f"md5:{wanted.md5}"
    size = path.stat().st_size
    return f"{wanted.size} bytes" if wanted.size not in {None, size} else ""


def _failure(artifact: Wanted, troubles: list[DsenvError]) -> DsenvError:
    from dsenv.tools import http  # noqa: PLC0415

    if stale := next((trouble for trouble in troubles if isinstance(trouble, StaleLockError)), None):
        return stale
    cause = "\n".join(": ".join(filter(None, (trouble.sentence, trouble.cause))) for trouble in troubles)
    if any(isinstance(trouble, IntegrityError) for trouble in troubles):
        if isinstance(artifact, Artifact):
            return MismatchError(artifact, cause)
        return IntegrityError(
            f"{artifact.filename} is not the file that its index lists",
            cause=cause,
            hint="Try again later, or from another mirror: one of the two may be halfway through an update.",
        )
    hint = next((trouble.hint for trouble in troubles if trouble.hint), "")
    hint = hint or (artifact.hint if isinstance(artifact, Artifact) else "")
    if troubles and all(isinstance(trouble, http.AnswerError) and trouble.status in _LOST for trouble in troubles):
        return LostError([artifact], cause, hint)
    hint = hint or "Check the network, then run it again."
    return DownloadError(f"{artifact.filename} could not be downloaded", cause=cause or "no address known", hint=hint)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
