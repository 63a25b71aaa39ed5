"""Which of several packages serves a shared name, such as ``libblas.so.3``: part of the lock, as results differ.

Maintainer scripts register the choices with update-alternatives(1), and the highest priority wins. dsenv reads those
calls from the scripts of the locked packages and never runs them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system.distributions import SHARED_NAMES
from dsenv.ecosystems.system.packages import relations
from dsenv.errors import ResolutionError
from dsenv.tools import deb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dsenv.ecosystems.system.pins import Pins
    from dsenv.formats.deb822 import Stanza
    from dsenv.progress import Progress
    from dsenv.store import Store

_ENDS: Final = re.compile(r"[();<>|&]+|if|then|elif|else|while|do|!|\{")  # after it, a command begins
_ASSIGNMENT: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_UNKNOWN: Final = re.compile(r"[$`]")  # what only a running shell could tell
_LOWEST: Final = -(1 << 31)
_PRIORITY: Final = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True, order=True)
class Alternative:
    """One choice for a shared name."""

    priority: int
    link: str  # "/usr/lib/x86_64-linux-gnu/libblas.so.3"
    path: str  # "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3"
    slaves: tuple[tuple[str, str], ...] = ()  # other links, and the files that they lead to while this one is chosen


def parse(script: str, *, vague: bool = False) -> list[Alternative]:
    """Return the alternatives that a maintainer script registers in words whose values the script itself says.

    With ``vague`` also those whose priority only a running shell could know, as if it were the lowest.
    """
    found = []
    for link, _, path, priority, *rest in _calls(script):
        is_known = _PRIORITY.fullmatch(priority)
        if not _UNKNOWN.search(link + path) and (is_known or (vague and _UNKNOWN.search(priority))):
            found.append(Alternative(int(priority) if is_known else _LOWEST, link, path, tuple(_slaves(rest))))
    return found


def _slaves(words: list[str]) -> Iterator[tuple[str, str]]:
    for at, word in enumerate(words):
        if word == "--slave" and len(words) > at + 3:
            link, path = words[at + 1], words[at + 3]
            if not _UNKNOWN.search(link + path):
                yield link, path


def links(script: str) -> set[str]:
    """Return all that a maintainer script registers, also what only a running shell could know: ``/usr/bin/$i``."""
    return {link for link, *_ in _calls(script)}


def winners(choices: Iterable[Alternative]) -> dict[str, str]:
    """Return the file that each shared name leads to: the one of the highest priority."""
    return {choice.link: choice.path for choice in sorted(choices)}


def whole(choices: Iterable[Alternative], locked: Mapping[str, str]) -> dict[str, str]:
    """Return the file that each link leads to, slaves among them: of the choices the locked one, else the highest."""
    chosen: dict[str, Alternative] = {}
    for choice in sorted(choices):
        if choice.path == locked.get(choice.link, choice.path):
            chosen[choice.link] = choice
    slaves = {link: path for choice in chosen.values() for link, path in choice.slaves}
    return {**slaves, **winners(chosen.values()), **locked}


def providers(stanzas: Mapping[str, Stanza]) -> dict[str, set[str]]:
    """Return the packages that serve shared names on which results depend, each with those names."""
    served = {
        name: {*relations.names(stanza.get("Provides", ""))} & {*SHARED_NAMES} for name, stanza in stanzas.items()
    }
    return {name: shared for name, shared in served.items() if shared}


def select(pins: Pins, providers: Mapping[str, Mapping[str, set[str]]], store: Store, progress: Progress) -> Pins:
    """Return ``pins`` with the selected alternatives, given the packages that serve some, by target.

    Raises:
        ResolutionError: A package serves a shared name, and its maintainer script does not say in which file.

    """
    roots = {}
    for target, root in pins.roots.items():
        artifacts = {row.name: pins.artifact(row) for row in root.installed if row.name in providers[target]}
        store.fetch(artifacts.values(), progress)
        choices = []
        for name, artifact in artifacts.items():
            registered = parse(deb.script(store.path(artifact), "postinst"))
            check(name, providers[target][name], registered)
            choices.extend(registered)
        roots[target] = root.model_copy(update={"alternatives": winners(choices)})
    return pins.model_copy(update={"roots": roots})


def check(package: str, shared: Iterable[str], registered: Iterable[Alternative]) -> None:
    """Refuse a package that serves a shared name in a file that cannot be read from its script."""
    known = {choice.link.rpartition("/")[2] for choice in registered}
    unread = sorted(set(shared) - known)
    if unread:
        raise ResolutionError(
            f"{package} serves {', '.join(unread)}, and dsenv cannot read from its maintainer script how",
            hint="Name another package that provides it in [system] packages, such as libopenblas0-pthread.",
        )


def _calls(script: str) -> Iterator[list[str]]:
    """Yield the link, name, path and priority of each ``update-alternatives --install``, and the words after them.

    The script's own assignments are filled in where they are literal and say one thing, and its loops over literal
    words are run; what is left has its ``$``.
    """
    values: dict[str, str | None] = {}
    loops: dict[str, list[str]] = {}
    for line in script.replace("\\\n", " ").split("\n"):
        for command in _commands(line):
            assigned = _ASSIGNMENT.fullmatch(command[0])
            if command[0] == "for":
                name, *words = command[1:]
                values[name] = None
                loops[name] = " ".join(_filled(word, values) for word in words[1:]).split()
            elif assigned and len(command) == 1:
                value = _filled(assigned[2], values)
                is_plain = not _UNKNOWN.search(value) and values.get(assigned[1], value) == value
                values[assigned[1]] = value if is_plain else None
            elif command[0] == "update-alternatives" and "--install" in command:
                at = command.index("--install")
                for known in _passes(command, loops):
                    words = [_filled(word, {**values, **known}) for word in command[at + 1 :]]
                    if len(words) >= 4:  # noqa: PLR2004
                        yield words


def _passes(command: list[str], loops: Mapping[str, list[str]]) -> list[dict[str, str]]:
    """Return the values of a loop's variable that a command is run with: one pass without any outside of loops."""
    used = {match[1] or match[2] for word in command for match in _VARIABLE.finditer(word)}
    for name in used & loops.keys():
        if loops[name] and not any(_UNKNOWN.search(word) for word in loops[name]):
            return [{name: word} for word in loops[name]]
    return [{}]


def _commands(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line of shell, each as its words; none of a line that ends within quotes."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        for word in lexer:
            if not _ENDS.fullmatch(word):
                command.append(word)
            elif command:
                yield command
                command = []
    except ValueError:
        return
    if command:
        yield command


def _filled(text: str, values: Mapping[str, str | None]) -> str:
    """Return a word with the variables whose value is known filled in."""
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2]) or match[0], text)
