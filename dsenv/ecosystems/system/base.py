"""What an environment stands on, made ready for apt: its release, its sources, its keyring, its packages.

``bootstrap:debian:bookworm`` stands on nothing but the machine's own apt sources for that release. An image brings
all of it along: its package status, its sources and its keyring are read through the engine. An engine has an image for
one architecture; what the others have installed is said by a person, or known to the lock, and never guessed.
"""

from __future__ import annotations

import platform as machine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system.archives import sources as apt_sources
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS, Distribution
from dsenv.ecosystems.system.spec import parse_base
from dsenv.errors import DsenvError, ToolError, WrongUseError
from dsenv.formats import deb822
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
    status: bytes  # dpkg's status file, empty for a bootstrap
    image: str = ""  # that the engine has of it, for whichever architecture

    @property
    def status_text(self) -> str:
        """The status file, as apt reads it."""
        return self.status.decode(errors="replace")

    @property
    def packages(self) -> Mapping[str, str]:
        """The installed packages, with their versions."""
        return _installed(self.status_text, "Version")

    @property
    def held(self) -> frozenset[str]:
        """The installed packages that are to stay as they are (apt-mark(8))."""
        states = _installed(self.status_text, "Status")
        return frozenset(name for name, state in states.items() if state.split() == ["hold", "ok", "installed"])

    @property
    def label(self) -> str:
        """Return the release for a person."""
        return f"{self.distribution.name} {self.codename}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an image for a target without the engine."""

    given: bytes = b""  # dpkg's status file as a person gives it
    locked: bytes = b""  # the one that the lock was made with
    release: tuple[str, str] = ("", "")  # the locked distribution and codename


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """What the engine has of an image, or why it has nothing."""

    architecture: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    trouble: ToolError | None = None


def ground(text: str, target: Target, progress: Progress, known: Known | None = None) -> Ground:
    """Return the ground that a base gives to a target.

    Args:
        text: The base.
        target: For which machine.
        progress: Told what is left out.
        known: Of an image, what is not asked of the engine.

    Raises:
        WrongUseError: The base is of a distribution that dsenv does not know, or for another architecture.
        ToolError: It is an image and no engine answers.
        DsenvError: There are no apt sources for it.

    """
    base = parse_base(text)
    known = known or Known()
    if base.image:
        return _of_image(base.image, target, known, progress)
    if known.given:
        raise WrongUseError(f"{text} has no packages of its own to be said", hint="Leave --status out.")
    distribution = _distribution(base.distribution)
    sources = _choose(apt_sources.host_files(), distribution, base.codename, target, progress)
    _require_keyring(distribution)
    return Ground(distribution=distribution, codename=base.codename, sources=sources, keyring=None, status=b"")


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


def _of_image(name: str, target: Target, known: Known, progress: Progress) -> Ground:
    found = _ask_engine(name)
    own = found.files.get(_STATUS, b"") if found.architecture == target.architecture else b""
    if found.architecture == target.architecture and not own:
        raise WrongUseError(f"{name} is no base: it has no package status ({_STATUS})")
    status = known.given or own or known.locked
    if not status:
        raise _not_at_hand(name, target, found)
    _check_status(status, target)
    if status == known.locked and not own:
        progress.say(f"{target}: the packages of {name} are those that the lock was made with")
    if not found.files and not known.release[0]:
        raise found.trouble or _not_at_hand(name, target, found)  # nobody can tell which release it is
    texts = {path: content.decode(errors="replace") for path, content in found.files.items() if "keyrings" not in path}
    said = release(texts.get("/etc/os-release") or texts.get("/usr/lib/os-release", "")) if texts else known.release
    distribution, codename = _distribution(said[0]), said[1]
    if distribution.keyring not in found.files:
        _require_keyring(distribution)
    return Ground(
        distribution=distribution,
        codename=codename,
        sources=_choose(texts or apt_sources.host_files(), distribution, codename, target, progress),
        keyring=found.files.get(distribution.keyring),
        status=status,
        image=name if texts else "",
    )


def _ask_engine(name: str) -> _Image:
    """Return what the engine has of an image."""
    try:
        with engines.connect() as engine:
            image = engine.image(name)
            if image is not None:
                return _Image(architecture=image.architecture, files=engine.read_files(name, _READ))
    except ToolError as error:
        return _Image(trouble=error)
    return _Image(trouble=ToolError(f"the engine has no image {name}", hint=f"Pull it first: docker pull {name}"))


def _not_at_hand(name: str, target: Target, found: _Image) -> DsenvError:
    """Return the error for a target of which nobody knows what its base has installed."""
    pull = f"docker pull --platform linux/{target.architecture} {name}"
    save = f"save what `docker run --rm {name} cat {_STATUS}` says there as a file and give it"
    hint = f"Pull it for that architecture: {pull}; or {save}: dsenv lock --status {target}=FILE."
    if found.trouble:
        return ToolError(found.trouble.sentence, cause=found.trouble.cause, hint=f"{found.trouble.hint} {hint}")
    return WrongUseError(
        f"the engine's image {name} is for {found.architecture}, and the target is {target}", hint=hint
    )


def _check_status(status: bytes, target: Target) -> None:
    """Refuse what is no package status, or another architecture's."""
    try:
        built_for = {*_installed(status.decode(), "Architecture").values()} - {"all"}
    except UnicodeDecodeError:
        built_for = set()
    if built_for != {target.architecture}:
        are = f"is for {', '.join(sorted(built_for))}" if built_for else "names no installed package"
        raise WrongUseError(
            f"the package status of {target} {are}", hint=f"It has to be the file {_STATUS} of such a machine."
        )


def _installed(status: str, value: str) -> dict[str, str]:
    """Return a field of each installed package of a dpkg status file, by name."""
    return {
        stanza["Package"]: stanza[value]
        for stanza in deb822.stanzas(status)
        if stanza.get("Status", "").split()[-1:] == ["installed"]
    }


def _require_keyring(distribution: Distribution) -> None:
    if not Path(distribution.keyring).exists():
        raise DsenvError(
            f"this machine has no keyring of {distribution.name} ({distribution.keyring})",
            hint=f"Install the package {distribution.name}-archive-keyring.",
        )


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
