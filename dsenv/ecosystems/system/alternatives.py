"""Which of several packages serves a shared name, such as ``libblas.so.3``: part of the lock, as results differ.

Maintainer scripts register the choices with update-alternatives(1), and the highest priority wins. dsenv reads those
calls from the scripts of the locked packages and never runs them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsenv.ecosystems.system import relations
from dsenv.ecosystems.system.distributions import SHARED_NAMES
from dsenv.tools import deb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dsenv.ecosystems.system.pins import Pins
    from dsenv.formats.deb822 import Stanza
    from dsenv.progress import Progress
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, order=True)
class Alternative:
    """One choice for a shared name."""

    priority: int
    link: str  # "/usr/lib/x86_64-linux-gnu/libblas.so.3"
    path: str  # "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3"


def parse(script: str) -> list[Alternative]:
    """Return the alternatives that a maintainer script registers in so many words."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        match = re.match(r"\s*update-alternatives\s+(.*--install\s.*)", line)
        words = _words(match[1]) if match else []
        if "--install" in words:
            at = words.index("--install")
            arguments = words[at + 1:at + 5]
            if len(arguments) == 4 and arguments[3].isdigit() and "$" not in "".join(arguments):  # noqa: PLR2004
                found.append(Alternative(int(arguments[3]), arguments[0], arguments[2]))
    return found


def winners(choices: Iterable[Alternative]) -> dict[str, str]:
    """Return the file that each shared name leads to: the one of the highest priority."""
    return {choice.link: choice.path for choice in sorted(choices)}


def providers(stanzas: Mapping[str, Stanza]) -> set[str]:
    """Return the packages that serve one of the shared names on which results depend."""
    return {
        name for name, stanza in stanzas.items() if set(relations.names(stanza.get("Provides", ""))) & {*SHARED_NAMES}
    }


def select(pins: Pins, providers: Mapping[str, Collection[str]], store: Store, progress: Progress) -> Pins:
    """Return ``pins`` with the selected alternatives, given the packages that register some, by target."""
    roots = {}
    for target, root in pins.roots.items():
        artifacts = [pins.artifact(package) for package in root.packages if package.name in providers[target]]
        store.fetch(artifacts, progress)
        choices = [choice for artifact in artifacts for choice in parse(deb.script(store.path(artifact), "postinst"))]
        roots[target] = root.model_copy(update={"alternatives": winners(choices)})
    return pins.model_copy(update={"roots": roots})


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return []
