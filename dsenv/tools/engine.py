"""Talk to a container engine by Docker's API, through the docker package.

Builds go to BuildKit without its command-line plugin: the API takes ``version=2`` and a tar archive as context (none
with PAX headers; GNU's are understood); what BuildKit reports comes back as protobuf, read in ``buildkit.py``. An
engine that speaks the API without BuildKit, as Podman's does, can run and show images but not build them.

Proxies that the user's Docker configuration would hand to containers are kept out: a container sees no settings of this
machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import shlex
import socket
import tarfile
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self

from dsenv.errors import ToolError
from dsenv.tools import buildkit, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_LONGEST = 7200  # seconds that a container stays whose dsenv was killed
_START = "Start one (on Debian: the package docker.io), or let this user talk to it (the group docker)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that the engine has."""

    id: str  # "sha256:…"
    architecture: str  # "amd64"
    labels: Mapping[str, str]
    settings: Mapping[str, str]  # in a Dockerfile's words: {"ENV PATH": "/usr/bin:/bin", "USER": "1000:1000"}
    digests: Sequence[str]  # "debian@sha256:…", empty for one that never saw a registry


class Engine:
    """A container engine that answers; a context that closes the connection."""

    def __init__(self, client: Any) -> None:
        self._client = client  # the docker package's, which is imported by `connect` only

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def architecture(self) -> str:
        """Return what the engine builds for, in Debian's words: ``amd64``."""
        words = {"x86_64": "amd64", "aarch64": "arm64"}
        with _asking():
            machine = str(self._client.info()["Architecture"])
        return words.get(machine, machine)

    def image(self, name: str) -> Image | None:
        """Return an image by name, or ``None`` when the engine has none of that name."""
        import docker.errors  # noqa: PLC0415

        with _asking():
            try:
                attributes = self._client.images.get(name).attrs
            except docker.errors.ImageNotFound:
                return None
        config = attributes.get("Config") or {}
        return Image(
            id=attributes["Id"],
            architecture=attributes["Architecture"],
            labels=config.get("Labels") or {},
            settings=_settings(config),
            digests=attributes.get("RepoDigests") or [],
        )

    def read_files(self, image: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Return files of an image; a directory's path stands for the files in it, and links to those."""
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

    def build(self, context: Path, *, tag: str, labels: Mapping[str, str], on_line: Callable[[str], None]) -> str:
        """Build the Dockerfile of a context directory with the network off; return the image's id.

        Raises:
            ToolError: A step failed; the cause holds what it wrote.

        """
        with _asking(), tarfile_of(context) as archive:
            self._client.api.params = {"version": "2"}  # BuildKit
            try:
                events = self._client.api.build(
                    fileobj=archive,
                    custom_context=True,
                    decode=True,
                    tag=tag,
                    labels=dict(labels),
                    network_mode="none",
                    use_config_proxy=False,
                    rm=True,
                    forcerm=True,
                )
                return buildkit.follow(events, on_line)
            finally:
                self._client.api.params = {}

    def run(
        self,
        image: str,
        argv: Sequence[str],
        *,
        mount: tuple[Path, str],
        directory: str,
        user: str,
        env: Mapping[str, str],
        stdin: IO[bytes] | None,
        write: Callable[[bytes, bool], None],
    ) -> int:
        """Run a command in a new container and return its exit code.

        Args:
            image: The image's name.
            argv: The command.
            mount: A directory of this machine and where the container sees it.
            directory: The working directory in the container.
            user: ``uid:gid``.
            env: Variables beyond those of the image.
            stdin: What the command reads; nothing when ``None``.
            write: Given each piece of output, and whether it is from stderr.

        """
        with self._container(
            image,
            argv,
            working_dir=directory,
            user=user,
            environment=dict(env),
            volumes={str(mount[0]): {"bind": mount[1], "mode": "rw"}},
            stdin_open=stdin is not None,
        ) as container:
            if stdin is not None:
                _feed(container, stdin)
            stream = container.attach(stdout=True, stderr=True, stream=True, logs=True, demux=True)
            container.start()
            for stdout, stderr in stream:
                if stdout:
                    write(stdout, False)  # noqa: FBT003
                if stderr:
                    write(stderr, True)  # noqa: FBT003
            return int(container.wait()["StatusCode"])

    @contextlib.contextmanager
    def inside(self, image: str, *, writes: Path, reads: Sequence[Path], user: str) -> Iterator[Inside]:
        """Yield a container of an image in which programs can be run until the context ends.

        It reaches servers as this machine does, loopback included.

        Args:
            image: The image's name.
            writes: A directory of this machine, which the container has at the same path.
            reads: The same for files that it only reads.
            user: ``uid:gid``.

        """
        volumes = {str(path): {"bind": str(path), "mode": "ro"} for path in reads}
        volumes[str(writes)] = {"bind": str(writes), "mode": "rw"}
        with self._container(
            image, (str(_LONGEST),), entrypoint=["sleep"], volumes=volumes, user=user, network_mode="host"
        ) as container:
            container.start()
            yield Inside(container)

    @contextlib.contextmanager
    def _container(self, image: str, argv: Sequence[str] = ("true",), **settings: Any) -> Iterator[Any]:
        with _asking():
            container = self._client.containers.create(image, list(argv), use_config_proxy=False, **settings)
            try:
                yield container
            finally:
                container.remove(force=True)


class Inside:
    """A container that runs, and programs in it."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> process.Completed:
        """Run a program to its end, whatever its exit code."""
        if process.trace:
            process.trace(f"in a container: {shlex.join(argv)}")
        pieces: tuple[list[bytes], list[bytes]] = ([], [])
        with _asking():
            api = self._container.client.api
            started = api.exec_create(self._container.id, list(argv), environment=dict(env))["Id"]
            for both in api.exec_start(started, stream=True, demux=True):
                for piece, found in zip(both, pieces, strict=True):
                    if piece:
                        found.append(piece)
            code = api.exec_inspect(started)["ExitCode"]
        stdout, stderr = (b"".join(found).decode(errors="replace") for found in pieces)
        return process.Completed(argv=tuple(argv), code=code, stdout=stdout, stderr=stderr)


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
def _asking() -> Iterator[None]:
    """Tell in the engine's own words what it refuses."""
    import docker.errors  # noqa: PLC0415
    import requests  # noqa: PLC0415

    try:
        yield
    except docker.errors.APIError as error:
        raise ToolError("the container engine refused", cause=str(error.explanation or error)) from error
    except requests.RequestException as error:
        raise ToolError("the container engine does not answer any more", cause=str(error), hint=_START) from error


@contextlib.contextmanager
def tarfile_of(context: Path) -> Iterator[IO[bytes]]:
    """Yield a context directory as a tar stream for the API: the Dockerfile first, sorted, without times and owners.

    The engine tells by the first header whether it gets a tar archive, and one of GNU's for a long name is none to it.
    """
    read, write = os.pipe()
    trouble: list[Exception] = []

    def pack() -> None:
        try:
            with (
                contextlib.suppress(BrokenPipeError),
                os.fdopen(write, "wb") as sink,
                tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive,
            ):
                for path in sorted(context.rglob("*"), key=lambda path: (path != context / "Dockerfile", path)):
                    archive.add(path, arcname=str(path.relative_to(context)), recursive=False, filter=_plain)
        except Exception as error:  # noqa: BLE001 - of a thread: it is raised below
            trouble.append(error)

    packer = threading.Thread(target=pack, daemon=True)
    packer.start()
    try:
        with os.fdopen(read, "rb") as source:
            yield source
    finally:
        packer.join()
        if trouble:  # before what the engine says about half a context
            raise trouble[0]


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return an image's configuration in a Dockerfile's words (OCI image specification, "config")."""
    variables = dict(pair.partition("=")[::2] for pair in config.get("Env") or ())
    lists = {word.upper(): json.dumps(config[word]) for word in ("Cmd", "Entrypoint") if config.get(word)}
    texts = {"USER": config.get("User"), "WORKDIR": config.get("WorkingDir")}
    return {
        **{f"ENV {name}": value for name, value in variables.items()},
        **{f"LABEL {name}": value for name, value in (config.get("Labels") or {}).items()},
        **{word: text for word, text in texts.items() if text},
        **lists,
    }


def _files(container: Any, path: str) -> Iterator[tuple[str, bytes]]:
    import docker.errors  # noqa: PLC0415

    try:
        stream, _ = container.get_archive(path)
    except docker.errors.NotFound:
        return
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        parent = path.rstrip("/").rpartition("/")[0]
        members = {member.name: member for member in archive}
        for name, member in members.items():
            link = posixpath.join(posixpath.dirname(name), member.linkname) if member.issym() else name
            target = members.get(link, member)  # trixie's keyrings have their old names as links
            file = archive.extractfile(target) if target.isfile() else None
            if file:
                yield f"{parent}/{name}", file.read()


def _feed(container: Any, source: IO[bytes]) -> None:
    """Hand on what ``source`` gives, beside everything else, as long as the container listens."""
    connection = container.attach_socket(params={"stdin": True, "stream": True})
    wire = getattr(connection, "_sock", connection)  # docker-py wraps the socket of a local engine

    def pump() -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(source.fileno(), 1 << 16):
                wire.sendall(chunk)
            wire.shutdown(socket.SHUT_WR)

    threading.Thread(target=pump, daemon=True).start()  # it may wait for a source that never ends


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
        self._left = self._left[len(piece) :]
        return len(piece)
