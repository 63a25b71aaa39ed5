"""What packages say about each other in their stanzas: their sources and their dependencies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsenv.formats.deb822 import Stanza

_SOURCE: Final = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_RELATION: Final = re.compile(r"\s*([a-z0-9][a-z0-9+.-]+)")


def source(stanza: Stanza) -> tuple[str, str]:
    """Return the source package and its version; both default to the package's own (deb-control(5))."""
    match = _SOURCE.fullmatch(stanza.get("Source", stanza["Package"]))
    if match is None:
        return stanza["Package"], stanza["Version"]
    return match[1], match[2] or stanza["Version"]


def families(stanzas: Iterable[Stanza]) -> dict[str, list[str]]:
    """Return the versions of packages by what apt's preferences call their source package: ``src:curl``."""
    found: dict[str, set[str]] = {}
    for stanza in stanzas:
        found.setdefault(f"src:{source(stanza)[0]}", set()).add(stanza["Version"])
    return {name: sorted(versions) for name, versions in found.items()}


def graph(stanzas: Mapping[str, Stanza]) -> dict[str, list[str]]:
    """Return for each package the packages of the set that satisfy its dependencies, sorted."""
    providers: dict[str, list[str]] = {}
    for name, stanza in sorted(stanzas.items()):
        for virtual in names(stanza.get("Provides", "")):
            providers.setdefault(virtual, []).append(name)
    edges: dict[str, list[str]] = {}
    for name, stanza in stanzas.items():
        found: set[str] = set()
        for clause in f"{stanza.get('Pre-Depends', '')},{stanza.get('Depends', '')}".split(","):
            found.update(_satisfying(names(clause), stanzas, providers))
        edges[name] = sorted(found - {name})
    return edges


def names(relation: str) -> list[str]:
    """Return the package names in a relation field, or in one clause of it, without versions and architectures."""
    return [match[1] for word in re.split(r"[,|]", relation) if (match := _RELATION.match(word))]


def _satisfying(choices: list[str], stanzas: Mapping[str, Stanza], providers: Mapping[str, list[str]]) -> list[str]:
    """Return who satisfies one clause: the first real alternative of the set, else the first that provides one."""
    real = next((name for name in choices if name in stanzas), None)
    if real:
        return [real]
    return next((providers[name][:1] for name in choices if name in providers), [])
