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
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.ecosystems.system.distributions import Distribution

_ONE_LINE: Final = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One archive and one of its suites (sources.list(5))."""

    uri: str  # "http://deb.example/debian", without a slash at its end
    suite: str  # "bookworm-security"
    components: tuple[str, ...]  # ("main",)
    signed_by: str = ""  # a keyring's path, "" for the system's default
    file: str = ""  # where it stands: "/etc/apt/sources.list"

    def __str__(self) -> str:
        return f"{self.uri} {self.suite}"


def host_files() -> dict[str, str]:
    """Return the apt sources of this machine, by path, from where its own apt looks for them."""
    settings = process.run(
        ["apt-config", "shell", "list", "Dir::Etc::sourcelist/f", "parts", "Dir::Etc::sourceparts/d"]
    ).stdout
    places = {name: Path(value) for name, _, value in (word.partition("=") for word in shlex.split(settings))}
    paths = [places["list"]] if "list" in places else []
    if "parts" in places and places["parts"].is_dir():
        paths.extend(sorted(places["parts"].iterdir()))
    return {str(path): path.read_text(errors="replace") for path in paths if path.is_file()}


def parse(files: Mapping[str, str]) -> list[Source]:
    """Return every enabled source of binary packages in ``files``, one for each address and suite."""
    found: list[Source] = []
    for path, text in files.items():
        if path.endswith(".sources"):
            found.extend(_deb822(text, path))
        elif path.endswith(".list"):
            found.extend(_one_line(text, path))
    return found


def select(
    sources: Iterable[Source], distribution: Distribution, codename: str
) -> tuple[list[Source], list[tuple[Source, str]]]:
    """Return the sources of one release, and the others with the reason why they are left out."""
    suites = [suite.format(codename) for suite in distribution.suites]
    chosen: list[Source] = []
    ignored: list[tuple[Source, str]] = []
    for source in sources:
        if source.suite not in suites:
            ignored.append((source, f"it is not of {distribution.name} {codename}"))
        elif source.signed_by and Path(source.signed_by).stem != Path(distribution.keyring).stem:
            ignored.append((source, f"it is signed by {source.signed_by}, not by the distribution's keyring"))
        else:
            same = next((one for one in chosen if (one.uri, one.suite) == (source.uri, source.suite)), None)
            if same:
                chosen.remove(same)
                source = replace(same, components=tuple(dict.fromkeys(same.components + source.components)))  # noqa: PLW2901
            chosen.append(source)
    chosen.sort(key=lambda source: suites.index(source.suite))  # stable: the first address of a suite stays first
    return chosen, ignored


def render(sources: Iterable[Source], keyring: str, architecture: str) -> str:
    """Return sources as deb822 text for an isolated root, all verified under one keyring."""
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\nComponents: {' '.join(source.components)}\n"
        f"Architectures: {architecture}\nSigned-By: {keyring}\n"
        for source in sources
    )


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
                    uri=uri.rstrip("/"), suite=suite, components=tuple(fields.get("components", "").split()),
                    signed_by=signed_by, file=path,
                )


def _one_line(text: str, path: str) -> Iterable[Source]:
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match:
            words = (word.partition("=") for word in (match["options"] or "").split())
            options = {name.lower(): value for name, _, value in words}
            yield Source(
                uri=match["uri"].rstrip("/"), suite=match["suite"], components=tuple(match["components"].split()),
                signed_by=options.get("signed-by", ""), file=path,
            )
