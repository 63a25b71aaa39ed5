"""What an environment stands on, made ready for apt: its release, its sources, its keyring, its packages.

``bootstrap:debian:bookworm`` stands on nothing but the machine's own apt sources for that release. An image brings
all of it along: its package status, its sources and its keyring are read through the engine.
"""

from __future__ import annotations

import platform as machine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system import sources as apt_sources
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS, Distribution
from dsenv.ecosystems.system.spec import parse_base
from dsenv.errors import DsenvError, ToolError, WrongUseError
from dsenv.tools import engine as engines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.pins import Target
    from dsenv.progress import Progress

_STATUS: Final = "/var/lib/dpkg/status"
_READ: Final = (
    _STATUS,
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    apt_sources.MIRROR_LISTS,
    "/usr/share/keyrings",
)


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
    sources = _choose(apt_sources.host_files(), distribution, base.codename, target, progress)
    if not Path(distribution.keyring).exists():
        raise DsenvError(
            f"this machine has no keyring of {distribution.name} ({distribution.keyring})",
            hint=f"Install the package {distribution.name}-archive-keyring.",
        )
    return Ground(distribution=distribution, codename=base.codename, sources=sources, keyring=None, status="")


def without(ground: Ground, ignored: Iterable[tuple[apt_sources.Source, str]], progress: Progress) -> Ground:
    """Return a ground without some of its sources, each left out for a reason."""
    reasons = dict(ignored)
    chosen = [source for source in ground.sources if source not in reasons]
    return replace(ground, sources=_kept(chosen, reasons, ground.distribution, ground.codename, progress))


def release(text: str) -> tuple[str, str]:
    """Return the distribution and codename in the text of an os-release(5) file."""
    fields = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return fields.get("ID", "").strip("\"'"), fields.get("VERSION_CODENAME", "").strip("\"'")


def host_release() -> tuple[str, str]:
    """Return this machine's distribution and codename, empty where it is not Linux."""
    try:
        return release(Path("/etc/os-release").read_text("utf-8"))
    except OSError:
        return "", ""


def host_architecture() -> str:
    """Return this machine's architecture in Debian's words."""
    words = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
    return words.get(machine.machine(), machine.machine())


def _of_image(name: str, target: Target, progress: Progress) -> Ground:
    with engines.connect() as engine:
        image = engine.image(name)
        if image is None:
            raise ToolError(f"the engine has no image {name}", hint=f"Pull it first: docker pull {name}")
        if image.architecture != target.architecture:
            raise WrongUseError(
                f"the engine's image {name} is for {image.architecture}, and the target is {target}",
                hint=f"Pull it for that architecture: docker pull --platform linux/{target.architecture} {name}",
            )
        files = engine.read_files(name, _READ)
    texts = {path: content.decode(errors="replace") for path, content in files.items() if "keyrings" not in path}
    if _STATUS not in texts:
        raise WrongUseError(f"{name} is no base: it has no package status ({_STATUS})")
    distribution_name, codename = release(texts.get("/etc/os-release") or texts.get("/usr/lib/os-release", ""))
    distribution = _distribution(distribution_name)
    sources = _choose(texts, distribution, codename, target, progress)
    keyring = files.get(distribution.keyring)
    return Ground(distribution=distribution, codename=codename, sources=sources, keyring=keyring, status=texts[_STATUS])


def _distribution(name: str) -> Distribution:
    if name not in DISTRIBUTIONS:
        raise WrongUseError(
            f"{name or 'this image'} is no distribution that dsenv can lock", hint=f"Known: {', '.join(DISTRIBUTIONS)}."
        )
    return DISTRIBUTIONS[name]


def _choose(
    files: Mapping[str, str], distribution: Distribution, codename: str, target: Target, progress: Progress
) -> tuple[apt_sources.Source, ...]:
    found = apt_sources.parse(files)
    chosen, ignored = apt_sources.select(found, distribution, codename, target.architecture)
    return _kept(chosen, dict(ignored), distribution, codename, progress)


def _kept(
    chosen: list[apt_sources.Source],
    ignored: Mapping[apt_sources.Source, str],
    distribution: Distribution,
    codename: str,
    progress: Progress,
) -> tuple[apt_sources.Source, ...]:
    """Return the chosen sources after naming the others; the release itself must be among them."""
    for source, reason in ignored.items():
        progress.say(f"left out: {source} ({source.file}): {reason}")
    if not any(distribution.rank(source.suite, codename) == 0 for source in chosen):
        raise DsenvError(
            f"there is no apt source for {distribution.name} {codename} here",
            cause="\n".join(f"{source} ({source.file}): {reason}" for source, reason in ignored.items()),
            hint=f"Add one to /etc/apt/sources.list.d, or run `dsenv lock` on {distribution.name} {codename}.",
        )
    return tuple(chosen)
