"""What an environment stands on, made ready for apt: its release, its sources, its keyring, its packages.

``bootstrap:debian:bookworm`` stands on nothing but the machine's own apt sources for that release. An image brings
all of it along: its package status, its sources and its keyring are read through the engine.
"""

from __future__ import annotations

import platform as machine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system import sources as apt_sources
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS, Distribution
from dsenv.ecosystems.system.spec import parse_base
from dsenv.errors import DsenvError, ToolError, WrongUseError
from dsenv.tools import engine as engines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.pins import Target
    from dsenv.progress import Progress

_STATUS: Final = "/var/lib/dpkg/status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A base for one target."""

    distribution: Distribution
    codename: str  # "bookworm"
    sources: tuple[apt_sources.Source, ...]
    keyring: bytes | None  # the base's own; None for the machine's
    status: str  # dpkg's status file; "" for a bootstrap

    @property
    def label(self) -> str:
        """Return the release for a person."""
        return f"{self.distribution.name} {self.codename}"


def ground(text: str, target: Target, progress: Progress) -> Ground:
    """Return the ground that a base gives to a target.

    Raises:
        WrongUseError: The base is of a distribution that dsenv does not know, or for another architecture.
        ToolError: It is an image and no engine answers.
        DsenvError: There are no apt sources for it.

    """
    base = parse_base(text)
    if base.image:
        return _of_image(base.image, target, progress)
    distribution = _distribution(base.distribution)
    sources = _choose(apt_sources.host_files(), distribution, base.codename, progress)
    if not Path(distribution.keyring).exists():
        raise DsenvError(
            f"this machine has no keyring of {distribution.name} ({distribution.keyring})",
            hint=f"Install the package {distribution.name}-archive-keyring.",
        )
    return Ground(distribution=distribution, codename=base.codename, sources=sources, keyring=None, status="")


def release(text: str) -> tuple[str, str]:
    """Return the distribution and codename in the text of an os-release(5) file."""
    fields = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return fields.get("ID", "").strip("\"'"), fields.get("VERSION_CODENAME", "").strip("\"'")


def host_release() -> tuple[str, str]:
    """Return this machine's distribution and codename, empty where it is not Linux."""
    try:
        return release(Path("/etc/os-release").read_text())
    except OSError:
        return "", ""


def host_architecture() -> str:
    """Return this machine's architecture in Debian's words."""
    words = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
    return words.get(machine.machine(), machine.machine())


def _of_image(name: str, target: Target, progress: Progress) -> Ground:
    engine = engines.connect()
    image = engine.image(name)
    if image is None:
        raise ToolError(f"the engine has no image {name}", hint=f"Pull it first: docker pull {name}")
    if image.architecture != target.architecture:
        raise WrongUseError(
            f"the engine's image {name} is for {image.architecture}, and the target is {target}",
            hint=f"Pull it for that architecture: docker pull --platform linux/{target.architecture} {name}",
        )
    files = engine.read_files(
        name, [_STATUS, "/etc/os-release", "/usr/lib/os-release", "/etc/apt/sources.list", "/etc/apt/sources.list.d",
               "/usr/share/keyrings"],
    )
    texts = {path: content.decode(errors="replace") for path, content in files.items() if "keyrings" not in path}
    if _STATUS not in texts:
        raise WrongUseError(f"{name} is no base: it has no package status ({_STATUS})")
    distribution_name, codename = release(texts.get("/etc/os-release") or texts.get("/usr/lib/os-release", ""))
    distribution = _distribution(distribution_name)
    sources = _choose(texts, distribution, codename, progress)
    keyring = files.get(distribution.keyring)
    return Ground(
        distribution=distribution, codename=codename, sources=sources, keyring=keyring, status=texts[_STATUS]
    )


def _distribution(name: str) -> Distribution:
    if name not in DISTRIBUTIONS:
        raise WrongUseError(
            f"{name or 'this image'} is no distribution that dsenv can lock", hint=f"Known: {', '.join(DISTRIBUTIONS)}."
        )
    return DISTRIBUTIONS[name]


def _choose(
    files: Mapping[str, str], distribution: Distribution, codename: str, progress: Progress
) -> tuple[apt_sources.Source, ...]:
    chosen, ignored = apt_sources.select(apt_sources.parse(files), distribution, codename)
    for source, reason in ignored:
        progress.say(f"left out: {source} ({source.file}): {reason}")
    if not any(source.suite == codename for source in chosen):
        raise DsenvError(
            f"there is no apt source for {distribution.name} {codename} here",
            cause="\n".join(f"{source} ({source.file}): {reason}" for source, reason in ignored),
            hint=f"Add one to /etc/apt/sources.list.d, or run `dsenv lock` on {distribution.name} {codename}.",
        )
    return tuple(chosen)
