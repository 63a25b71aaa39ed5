"""The apt sources of a machine or an image: read, and reduced to those of one distribution release.

dsenv names no archive. It takes the entries that the machine already has, but only those of the base's own
distribution and release, verified under that distribution's keyring; every other entry is left out and named,
because one third-party entry on somebody's machine would otherwise change everybody's lock.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.formats import deb822
from dsenv.pins import without_credentials
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.ecosystems.system.archives.repositories import Repository
    from dsenv.ecosystems.system.distributions import Distribution

NO_APT: Final = (
    "Run `dsenv lock` on Debian or a derivative, or give the name of an image as [platform] base: its own apt "
    "then finds the packages, through the container engine."
)
MIRROR_LISTS: Final = "/etc/apt/mirrors"
"""Where Debian's cloud images have the lists of mirrors that their sources name."""

_MIRRORS: Final = re.compile(r"mirror\+file:(?://)?(?P<path>/\S+)")
_SCHEMES: Final = ("http", "https", "file")  # where artifacts can be had from
_ONE_LINE: Final = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One archive and one of its suites (sources.list(5))."""

    uri: str  # "http://deb.example/debian", without a slash at its end, with credentials if it has some
    suite: str  # "bookworm-security", "stable-security"
    components: tuple[str, ...]  # ("main",)
    architectures: tuple[str, ...] = ()  # that it is limited to
    signed_by: str = ""  # a keyring's path, "" for the system's default
    file: str = ""  # where it stands: "/etc/apt/sources.list"
    live: str = ""  # the address that this one has a dated state of

    def __str__(self) -> str:
        return f"{without_credentials(self.uri)} {self.suite}"


def host_files() -> dict[str, str]:
    """Return the apt sources of this machine, by path, from where its own apt looks for them.

    The lists of mirrors that they name are among them.
    """
    program = process.require("apt-config", hint=NO_APT)
    settings = process.run(
        [program, "shell", "list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d"]
    ).stdout
    places = {name: Path(value) for name, _, value in (word.partition("=") for word in shlex.split(settings))}
    paths = [places["list"]] if "list" in places else []
    if "parts" in places and places["parts"].is_dir():
        paths.extend(sorted(places["parts"].iterdir()))
    files = {str(path): path.read_text("utf-8", "replace") for path in paths if path.is_file()}
    lists = {Path(match["path"]) for text in files.values() for match in _MIRRORS.finditer(text)}
    return files | {str(path): path.read_text("utf-8", "replace") for path in sorted(lists) if path.is_file()}


def parse(files: Mapping[str, str]) -> list[Source]:
    """Return every enabled source of binary packages in ``files``, one for each address and suite."""
    found: list[Source] = []
    for path, text in files.items():
        if path.endswith(".sources"):
            found.extend(_deb822(text, path))
        elif path.endswith(".list"):
            found.extend(_one_line(text, path))
    return [one for source in found for one in _mirrors(source, files)]


def select(
    sources: Iterable[Source], distribution: Distribution, codename: str, architecture: str
) -> tuple[list[Source], list[tuple[Source, str]]]:
    """Return the sources that may be of one release, and the others with the reason why they are left out."""
    ranked: list[tuple[int, Source]] = []
    ignored: list[tuple[Source, str]] = []
    for source in sources:
        rank = distribution.rank(source.suite, codename)
        if rank is None:
            ignored.append((source, f"it is not of {distribution.name} {codename}"))
        elif reason := _misfit(source, distribution, architecture):
            ignored.append((source, reason))
        else:
            ranked.append((rank, source))
    ranked.sort(key=lambda pair: pair[0])  # stable: the first address of a suite stays first
    chosen: dict[tuple[str, str], Source] = {}
    for _, source in ranked:
        same = chosen.setdefault((source.uri, source.suite), source)
        components = tuple(dict.fromkeys(same.components + source.components))
        chosen[source.uri, source.suite] = replace(same, components=components)
    return [*chosen.values()], ignored


def render(sources: Iterable[Source], keyring: str, architecture: str) -> str:
    """Return sources as deb822 text for an isolated root, all verified under one keyring."""
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\n"
        + (f"Components: {' '.join(source.components)}\n" if source.components else "")
        + f"Architectures: {architecture}\nSigned-By: {keyring}\n"
        + ("Check-Valid-Until: no\n" if source.live else "")  # a dated state has expired, and that is why it is asked
        for source in sources
    )


def third_party(repository: Repository, uri: str, keyring: str, architecture: str) -> str:
    """Return a third party's archive at an address as such a text, verified under its own keyring."""
    source = Source(uri=uri, suite=repository.suite, components=repository.components)
    return render([source], keyring, architecture)


def directory(uri: str, suite: str) -> str:
    """Return where the Release file of a suite lies; one that ends with a slash is a directory of the archive."""
    return f"{uri}/{suite.rstrip('/')}" if suite.endswith("/") else f"{uri}/dists/{suite}"


def _misfit(source: Source, distribution: Distribution, architecture: str) -> str:
    """Return why a source of the right name cannot be used, or nothing when it can."""
    if source.signed_by and Path(source.signed_by).stem != Path(distribution.keyring).stem:
        return f"it is signed by {source.signed_by}, not by the distribution's keyring"
    if source.architectures and architecture not in source.architectures:
        return f"it is for {', '.join(source.architectures)}, not for {architecture}"
    scheme = source.uri.partition(":")[0]
    if _MIRRORS.fullmatch(source.uri):
        return "the list of mirrors that it names cannot be read"
    if scheme not in _SCHEMES:
        return f"artifacts cannot be had over {scheme}, only over {', '.join(_SCHEMES)}"
    return ""


def _mirrors(source: Source, files: Mapping[str, str]) -> Iterable[Source]:
    """Return a source for each mirror of the list that one names (apt-transport-mirror(1)), or the source itself."""
    match = _MIRRORS.fullmatch(source.uri)
    if match is None or match["path"] not in files:
        yield source
        return
    for line in files[match["path"]].splitlines():
        uri, *metadata = line.split() or ("#",)
        if not uri.startswith("#"):
            limits = tuple(word.removeprefix("arch:") for word in metadata if word.startswith("arch:"))
            yield replace(source, uri=uri.rstrip("/"), architectures=limits or source.architectures)


def _deb822(text: str, path: str) -> Iterable[Source]:
    for stanza in deb822.stanzas(text):
        fields = {name.lower(): value for name, value in stanza.items()}
        if fields.get("enabled", "yes").lower() in {"no", "false"} or "deb" not in fields.get("types", "").split():
            continue
        signed_by = fields.get("signed-by", "")
        if "\n" in signed_by:
            signed_by = f"a key within {path}"
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(
                    uri=uri.rstrip("/"),
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                    architectures=tuple(fields.get("architectures", "").split()),
                    signed_by=signed_by,
                    file=path,
                )


def _one_line(text: str, path: str) -> Iterable[Source]:
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match:
            words = (word.partition("=") for word in (match["options"] or "").split())
            options = {name.lower(): value for name, _, value in words}
            yield Source(
                uri=match["uri"].rstrip("/"),
                suite=match["suite"],
                components=tuple(match["components"].split()),
                architectures=tuple(filter(None, options.get("arch", "").split(","))),
                signed_by=options.get("signed-by", ""),
                file=path,
            )
