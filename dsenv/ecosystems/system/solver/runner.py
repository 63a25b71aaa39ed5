"""Where apt runs: on this machine, or in the base image where this machine has none, or one of another kind.

A root of apt's lies in a directory of this machine either way. The image's apt sees it at the same path, in a container
that ends with the work, so that it reads and writes the same files, as the same user.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from dsenv.ecosystems.system.archives.sources import NO_APT
from dsenv.errors import ToolError
from dsenv.tools import engine as engines
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PROGRAMS: Final = ("apt-get", "apt-cache", "apt-config")
_METHODS: Final = "/usr/lib/apt/methods"
_OLDEST: Final = (2, 2)  # bullseye's; older ones know no --error-on
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy")  # what apt reads of its environment
_BUNDLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Runner(Protocol):
    """What runs the programs of an apt."""

    @property
    def settings(self) -> str:
        """Further lines for apt's configuration."""

    def ready(self, root: Path) -> contextlib.AbstractContextManager[None]:
        """Make ready to run programs that work in a root."""

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, codes: Sequence[int] | None = (0,)
    ) -> process.Completed:
        """Run a program; ``env`` is added to what it has to know of this machine, ``None`` stands for its own."""


class Here:
    """The apt of the machine itself."""

    settings = ""

    def ready(self, root: Path) -> contextlib.AbstractContextManager[None]:
        """Do nothing."""
        del root
        return contextlib.nullcontext()

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, codes: Sequence[int] | None = (0,)
    ) -> process.Completed:
        """Run a program of this machine."""
        program = process.require(argv[0], hint=NO_APT)
        if env is not None:
            own = (pair for pair in os.environ.items() if not pair[0].startswith(("APT_", "DPKG_", "LC_")))
            env = {**dict(own), **env}
        return process.run([program, *argv[1:]], env=env, codes=codes)


class InImage:
    """An image's apt.

    Args:
        image: The image's name.
        reads: Files outside of the root that it reads, at the same paths.

    """

    def __init__(self, image: str, reads: Sequence[Path] = ()) -> None:
        self._image = image
        self._bundle = next((os.environ[name] for name in _BUNDLES if Path(os.environ.get(name, "")).is_file()), "")
        self._reads = (*reads, *([Path(self._bundle)] if self._bundle else ()))
        self._inside: engines.Inside | None = None

    @property
    def settings(self) -> str:
        """Return the certificate authorities of this machine: the image has none of a company's."""
        return f'Acquire::https::CaInfo "{self._bundle}";' if self._bundle else ""

    @contextlib.contextmanager
    def ready(self, root: Path) -> Iterator[None]:
        """Start a container that sees the root."""
        user = f"{os.getuid()}:{os.getgid()}"
        with (
            engines.connect() as engine,
            engine.inside(self._image, writes=root, reads=self._reads, user=user) as inside,
        ):
            self._inside = inside
            try:
                yield
            finally:
                self._inside = None

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, codes: Sequence[int] | None = (0,)
    ) -> process.Completed:
        """Run a program of the image."""
        assert self._inside is not None  # noqa: S101 - whoever asks has made it ready
        proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
        completed = self._inside.run(argv, {**proxies, **(env or {})})
        if codes is not None and completed.code not in codes:
            raise process.failure(completed)
        return completed


def for_image(image: str, reads: Sequence[Path]) -> Runner:
    """Return what runs apt for a base image: this machine where its apt will do, else the image."""
    return Here() if usable() else InImage(image, reads)


def usable() -> bool:
    """Say whether this machine's own apt will do."""
    if not all(map(process.find, _PROGRAMS)) or not Path(_METHODS).is_dir():
        return False
    with contextlib.suppress(ToolError):
        return will_do(Here().run(["apt-get", "--version"], codes=None).stdout)
    return False


def will_do(text: str) -> bool:
    """Say whether an apt will do, by what ``apt-get --version`` says: ``apt 2.6.1 (amd64)``."""
    match = re.match(r"apt (\d+)\.(\d+)", text)
    return match is not None and (int(match[1]), int(match[2])) >= _OLDEST
