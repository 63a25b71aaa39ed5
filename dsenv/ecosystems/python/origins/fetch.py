"""The files of a source, at lock time: which commit, which bytes, and a copy of them in the store.

What is locked stays: a branch is looked up, and an address is asked, only where there is no pin or it is to be renewed.
"""

from __future__ import annotations

import fcntl
import tarfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from dsenv.ecosystems.python import credentials
from dsenv.ecosystems.python.building import hooks
from dsenv.ecosystems.python.origins import local
from dsenv.errors import IntegrityError, StaleLockError
from dsenv.pins import Artifact, digest
from dsenv.tools import archive, git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packaging.pylock import Package

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.python.origins.reference import Reference
    from dsenv.ecosystems.python.pins import Pins
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A source whose files are in the store."""

    name: str  # normalized
    artifact: Artifact
    form: Literal["wheel", "sdist", "tree"]  # a tree has no directory of its own in its archive
    subdirectory: str = ""
    place: str = ""  # where it is from, without credentials; "" for an sdist of an index
    commit: str = ""
    reference: Reference | None = None  # what asked for it

    @property
    def is_in_place(self) -> bool:
        """Whether no copy was made of it: it is editable."""
        return self.reference is not None and self.reference.editable

    @property
    def title(self) -> str:
        """It for a person."""
        where = f"{self.place}@{self.commit[:12]}" if self.commit else self.place
        return f"{self.name} ({where})" if where else self.artifact.filename


def locate(reference: Reference, request: Request) -> Located:
    """Bring the files of what a requirement names into the store.

    Raises:
        ResolutionError: A repository has no such tag, branch or commit.
        DownloadError: Something does not answer.
        IntegrityError: It is not what was promised.

    """
    if reference.kind == "git":
        return _commit(reference, request)
    form: Literal["wheel", "sdist", "tree"] = "wheel" if reference.suffix == ".whl" else "sdist"
    if reference.kind == "url":
        place = credentials.place(reference).url
        found = _file(reference, place, request)
    else:
        place, form = reference.place, form if reference.suffix else "tree"
        found = _own(reference, request)
    return Located(
        name=reference.name,
        artifact=found,
        form=form,
        subdirectory=reference.subdirectory,
        place=place,
        reference=reference,
    )


def checkout(located: Located, directory: Path, store: Store) -> None:
    """Write a commit's work tree, with its history."""
    with _repository(located.place, store) as repository:
        if repository.commit(located.commit) is None:
            repository.fetch()
        repository.checkout(located.commit, directory)


@contextmanager
def _repository(place: str, store: Store) -> Iterator[git.Repository]:
    """Yield the store's copy of a repository, to one process at a time."""
    home = store.cache("git") / digest(place)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield git.Repository(home, place, store.network)


def _held(reference: Reference, request: Request) -> Iterator[tuple[Pins, Package]]:
    """Yield the locked packages that may answer a reference, unless they are to be renewed."""
    if not request.upgrade.releases(reference.name):
        for pins in request.previous:
            yield from ((pins, package) for package in pins.lock.packages if package.name == reference.name)


def _commit(reference: Reference, request: Request) -> Located:
    place = credentials.place(reference).url
    commit, tree = _held_commit(reference, place, request)
    store = request.store
    if not tree:
        request.progress.update(f"fetching {place}")
        with _repository(place, store) as repository:
            found = commit or (repository.commit(reference.revision) if _is_commit(reference.revision) else "")
            if not found:
                repository.fetch()
                found = repository.commit(reference.revision)
            if not found:
                raise git.no_revision(place, reference.revision)
            commit = found
            with store.scratch("git") as aside:
                with (aside / "tar").open("wb") as sink:
                    sink.writelines(archive.pack(repository.members(commit)))
                tree = store.take(aside / "tar")
    artifact = Artifact(filename=f"{reference.name}-{commit[:12]}.tar", sha256=tree, urls=(git.address(place, commit),))
    store.fetch([artifact], request.progress)
    return Located(
        name=reference.name,
        artifact=artifact,
        form="tree",
        subdirectory=reference.subdirectory,
        place=place,
        commit=commit,
        reference=reference,
    )


def _is_commit(revision: str) -> bool:
    return len(revision) in {40, 64} and set(revision) <= {*"0123456789abcdef"}


def _held_commit(reference: Reference, place: str, request: Request) -> tuple[str, str]:
    for pins, package in _held(reference, request):
        vcs = package.vcs
        if vcs and (vcs.url, vcs.requested_revision or "") == (place, reference.revision):
            row = pins.source(package)
            return vcs.commit_id, row.tree if row else ""
    return "", ""


def _file(reference: Reference, place: str, request: Request) -> Artifact:
    """Return the file at an address: the one that is locked, the one that is promised, or else what is there now."""
    filename = unquote(place.rpartition("/")[2])
    for _, package in _held(reference, request):
        if package.archive and package.archive.url == place and not reference.sha256:
            held = package.archive
            found = Artifact(filename=filename, sha256=held.hashes["sha256"], size=held.size, urls=(place,))
            request.store.fetch([found], request.progress)
            return found
    if reference.sha256:
        found = Artifact(filename=filename, sha256=reference.sha256, urls=(place,))
        request.store.fetch([found], request.progress)
    else:
        found = _unknown(filename, place, request)
    return Artifact(
        filename=filename, sha256=found.sha256, size=request.store.path(found).stat().st_size, urls=(place,)
    )


def _unknown(filename: str, place: str, request: Request) -> Artifact:
    """Download a file of which nothing is known but its address."""
    from dsenv.tools import http  # noqa: PLC0415 - an HTTP client is 100 ms that only a download pays

    request.progress.update(f"downloading {filename}")
    with request.store.scratch("url") as aside:
        with (aside / "file").open("w+b") as sink:
            for _ in http.download(place, sink, start=0, network=request.store.network):
                pass
        return Artifact(filename=filename, sha256=request.store.take(aside / "file"), urls=(place,))


def _own(reference: Reference, request: Request) -> Artifact:
    """Return what lies in the project's directory, as it is now.

    Of an editable source no copy is made, since all the project's data may lie beside it: it is known by what counts.
    """
    path = local.there(reference, project(request.store))
    if reference.editable:
        (sha256,) = local.states([reference], project(request.store)).values()
        return Artifact(filename=f"{reference.name}.tar", sha256=sha256, urls=(reference.place,))
    filename = path.name if reference.suffix else f"{reference.name}.tar"
    found = Artifact(filename=filename, sha256=archive.state(path), urls=(reference.place,))
    request.store.fetch([found], request.progress)
    return found


def project(store: Store) -> Path:
    """Return the project's directory."""
    if store.network.directory is None:
        raise StaleLockError("something lies in a project's directory, and none is known")
    return store.network.directory


def unpacked(located: Located, directory: Path, store: Store) -> Path:
    """Unpack a source and return the directory in it that the package is built from; an editable one is used in place.

    Raises:
        IntegrityError: It holds what leads out of it, or has no such directory.

    """
    if located.is_in_place:
        return _inner(located, project(store) / located.place)
    try:
        hooks.unpack(store.path(located.artifact), directory, located.form)
    except (
        hooks.UnsafeError,
        OSError,
        EOFError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        raise IntegrityError(f"the source of {located.title} cannot be unpacked", cause=str(error)) from error
    return _inner(located, directory)


def _inner(located: Located, directory: Path) -> Path:
    inner = directory / located.subdirectory
    if not inner.is_dir():
        raise IntegrityError(f"the source of {located.title} has no directory {located.subdirectory}")
    return inner
