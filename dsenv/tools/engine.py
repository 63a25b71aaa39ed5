"""Talk to a container engine (Docker's API, which Podman speaks, too) through the docker package.

Builds go to BuildKit without its command-line plugin: the API takes ``version=2`` and a USTAR archive as context;
what BuildKit reports comes back as protobuf, read in ``buildkit.py``.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from dsenv.errors import ToolError
from dsenv.tools import buildkit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_START = "Start one (on Debian: the package docker.io), or let this user talk to it (the group docker)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that the engine has."""

    id: str  # "sha256:…"
    architecture: str  # "amd64"
    labels: Mapping[str, str]
    digests: Sequence[str]  # "debian@sha256:…", empty for one that never saw a registry


class Engine:
    """A container engine that answers."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def architecture(self) -> str:
        """Return what the engine builds for, in Debian's words: ``amd64``."""
        words = {"x86_64": "amd64", "aarch64": "arm64"}
        machine = str(self._client.info()["Architecture"])
        return words.get(machine, machine)

    def image(self, name: str) -> Image | None:
        """Return an image by name, or ``None`` when the engine has none of that name."""
        import docker.errors  # noqa: PLC0415

        try:
            attributes = self._client.images.get(name).attrs
        except docker.errors.ImageNotFound:
            return None
        return Image(
            id=attributes["Id"], architecture=attributes["Architecture"],
            labels=(attributes.get("Config") or {}).get("Labels") or {}, digests=attributes.get("RepoDigests") or [],
        )

    def read_files(self, image: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Return files of an image; a directory's path stands for the files directly in it."""
        found: dict[str, bytes] = {}
        with self._container(image) as container:
            for path in paths:
                found.update(_files(container, path))
        return found

    @contextlib.contextmanager
    def export(self, image: str) -> Iterator[IO[bytes]]:
        """Yield an image's whole file system as a tar stream."""
        with self._container(image) as container:
            yield io.BufferedReader(_Stream(container.export()), buffer_size=1 << 20)

    def build(
        self, context: Path, *, tag: str, labels: Mapping[str, str], on_line: Callable[[str], None]
    ) -> str:
        """Build the Dockerfile of a context directory with the network off; return the image's id.

        Raises:
            ToolError: A step failed; the cause holds what it wrote.

        """
        with tarfile_of(context) as archive:
            self._client.api.params = {"version": "2"}  # BuildKit
            try:
                events = self._client.api.build(
                    fileobj=archive, custom_context=True, decode=True, tag=tag, labels=dict(labels),
                    network_mode="none", rm=True, forcerm=True,
                )
                return buildkit.follow(events, on_line)
            finally:
                self._client.api.params = {}

    def run(
        self, image: str, argv: Sequence[str], *, mount: tuple[Path, str], user: str, env: Mapping[str, str],
        write: Callable[[bytes, bool], None],
    ) -> int:
        """Run a command in a new container and return its exit code.

        Args:
            image: The image's name.
            argv: The command.
            mount: A directory of this machine and where the container sees it; also its working directory.
            user: ``uid:gid``.
            env: Variables beyond those of the image.
            write: Given each piece of output, and whether it is from stderr.

        """
        container = self._client.containers.create(
            image, list(argv), working_dir=mount[1], user=user, environment=dict(env),
            volumes={str(mount[0]): {"bind": mount[1], "mode": "rw"}},
        )
        try:
            stream = container.attach(stdout=True, stderr=True, stream=True, logs=True, demux=True)
            container.start()
            for stdout, stderr in stream:
                if stdout:
                    write(stdout, False)  # noqa: FBT003
                if stderr:
                    write(stderr, True)  # noqa: FBT003
            return int(container.wait()["StatusCode"])
        finally:
            container.remove(force=True)

    @contextlib.contextmanager
    def _container(self, image: str) -> Iterator[Any]:
        container = self._client.containers.create(image, ["true"])
        try:
            yield container
        finally:
            container.remove(force=True)


def connect() -> Engine:
    """Return the engine that the environment or the current Docker context names.

    Raises:
        ToolError: None answers.

    """
    import docker  # noqa: PLC0415 - 100 ms that only a user of the engine pays
    import docker.errors  # noqa: PLC0415

    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except docker.errors.DockerException as error:
        raise ToolError("no container engine answers", cause=str(error).partition("\n")[0], hint=_START) from error
    return Engine(client)


@contextlib.contextmanager
def tarfile_of(context: Path) -> Iterator[IO[bytes]]:
    """Yield a context directory as the USTAR stream that the API wants, sorted, without times and owners."""
    read, write = os.pipe()
    import threading  # noqa: PLC0415 - beside its only use

    def pack() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(write, "wb") as sink, tarfile.open(
            fileobj=sink, mode="w|", format=tarfile.USTAR_FORMAT
        ) as archive:
            for path in sorted(context.rglob("*")):
                archive.add(path, arcname=str(path.relative_to(context)), recursive=False, filter=_plain)

    packer = threading.Thread(target=pack, daemon=True)
    packer.start()
    with os.fdopen(read, "rb") as source:
        yield source
    packer.join()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _files(container: Any, path: str) -> Iterator[tuple[str, bytes]]:
    import docker.errors  # noqa: PLC0415

    try:
        stream, _ = container.get_archive(path)
    except docker.errors.NotFound:
        return
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        parent = path.rstrip("/").rpartition("/")[0]
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file:
                yield f"{parent}/{member.name}", file.read()


class _Stream(io.RawIOBase):
    """A file to read from the pieces that an iterator gives."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            self._left = next(self._pieces, b"")
            if not self._left:
                return 0
        piece = self._left[: len(buffer)]
        buffer[: len(piece)] = piece
        self._left = self._left[len(piece):]
        return len(piece)
