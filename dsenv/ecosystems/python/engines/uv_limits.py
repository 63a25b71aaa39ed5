"""What limits uv's answer to some indexes and to a date: how that is said to uv, and what uv says of it.

uv routes packages by name (``sources``), and those that only other packages ask for by way of a constraint; the
constraint needs a bound, else uv forgets where it came from.
https://docs.astral.sh/uv/concepts/indexes/#pinning-a-package-to-an-index
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dsenv import addresses
from dsenv.ecosystems.python import credentials, dates, indexes, pip_config, platforms, simple, uv
from dsenv.errors import DownloadError
from dsenv.formats.toml_write import Inline
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystems.python.engines.interface import Question
    from dsenv.network import Network
    from dsenv.pins import Target

_REFUSED: Final = (401, 403)
_WHO: Final = (
    "Give user and password to uv as UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD (NAME being the index's, in "
    "capitals), as ${VARIABLES} in the index's address, in ~/.netrc, or to the keyring program."
)
_ANY: Final = ">=0.dev0"  # every version
_YANKED: Final = re.compile(r"^warning: `([A-Za-z0-9._-]+)==[^`]*` is yanked", re.MULTILINE)
_UNDATED: Final = re.compile(r"warning: `?(?P<name>[A-Za-z0-9._-]+?)-\d[^ ]* is missing an upload date")


def tables(question: Question) -> dict[str, Any]:
    """Return the keys of ``[tool.uv]`` that route packages."""
    found = [
        {"name": route.index, "url": route.url, "explicit": True, **({"format": "flat"} if route.flat else {})}
        for route in question.routes
    ]
    sources = {name: [Inline(row) for row in rows] for name, rows in _sources(question).items()}
    return {"index": found, "sources": sources}


def constraints(question: Question) -> list[str]:
    """Return what a question bounds, and a constraint that bounds nothing for each routed package."""
    return [*question.constraints, *question.after, *(f"{name}{_ANY}" for name in _sources(question))]


def options(question: Question) -> dict[str, Any]:
    """Return the keys of uv's settings that keep a date."""
    if question.before is None:
        return {}
    free = {canonicalize_name(Requirement(text).name): False for text in question.after}
    until = dates.rfc3339(question.before)
    return {"exclude-newer": until, **({"exclude-newer-package": free} if free else {})}


def environment(question: Question, network: Network) -> dict[str, str]:
    """Return the variables that tell uv who one is at the indexes: nobody else can read them there."""
    found: dict[str, str] = {}
    for route in question.routes:
        if who := network.credentials(route.url):
            found.update(zip(credentials.variables(route.index), who, strict=True))
    default = uv.from_pip(pip_config.read()).get("UV_DEFAULT_INDEX", "")
    if default and not credentials.split(default).whole and process.find("keyring"):  # pip would ask it, uv does not
        url = credentials.split(default).url
        if who := simple.introduce(url, "pip", network):
            found["UV_DEFAULT_INDEX"] = addresses.joined(url, who)
    return found


def _sources(question: Question) -> Mapping[str, Sequence[Mapping[str, str]]]:
    """Return where uv is to take the routed packages from, by name."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for name in sorted({name for route in question.routes for name in route.names}):
        targets: dict[str, list[Target]] = {}
        for target in question.space.targets:
            if route := indexes.chosen(question.routes, name, target):
                targets.setdefault(route.index, []).append(target)
        everywhere = [list(question.space.targets)] == list(targets.values())
        rows: list[Mapping[str, str]] = [
            {"index": index} if everywhere else {"index": index, "marker": _where(on)}
            for index, on in sorted(targets.items())
        ]
        if rows:
            found[name] = rows
    return found


def _where(targets: Sequence[Target]) -> str:
    return " or ".join(f"({platforms.clause(target)})" for target in targets)


def withdrawn(stderr: str, question: Question) -> set[str]:
    """Return the locked packages that their index has withdrawn since, and that nobody insists on.

    uv takes a locked version whatever has become of it, and says so.
    """
    return set(_YANKED.findall(stderr)).intersection(pin.name for pin in question.preferred) - question.by_hand


def undated(stderr: str, question: Question, network: Network) -> Mapping[str, Sequence[str]]:
    """Return the indexes that do not tell when files were uploaded, each with the projects for which that matters."""
    names = sorted({canonicalize_name(match["name"]) for match in map(_UNDATED.match, stderr.splitlines()) if match})
    if not names:
        return {}
    places = {*(route.url for route in question.routes), *_default_indexes()}
    found: dict[str, list[str]] = {}
    for index in sorted(places):
        for name, files in simple.pages(index, names, network).items():
            if any(file.uploaded is None for file in files):
                found.setdefault(index, []).append(name)
    return found or {"of uv's settings": names}


def left_out(found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a warning for each index of ``undated``."""
    return [
        f"index {index} does not tell when all its files were uploaded, and a date is to be kept: such files of "
        f"{', '.join(names)} are left out"
        for index, names in found.items()
    ]


def is_undated(line: str) -> bool:
    """Say whether a line of uv's speaks of one file without a date: there may be thousands."""
    return bool(_UNDATED.match(line))


def refused(text: str, question: Question, network: Network) -> DownloadError | None:
    """Return the error for an index that has turned us away, if that is why a package was not found.

    uv goes on as if such an index had nothing, and says nothing of it.
    """
    names = _named(text, {name for route in question.routes for name in route.names})
    places = {route.url: name for route in question.routes for name in names if name in route.names}
    asked = [canonicalize_name(Requirement(text).name) for text in question.requirements]
    places |= {url: name for url in _default_indexes() for name in _named(text, asked)}
    for url, name in sorted(places.items()):
        if (status := simple.knock(url, name, network)) in _REFUSED:
            return DownloadError(f"index {url} refuses who asks", cause=f"it answered {status}", hint=_WHO)
    return None


def _default_indexes() -> set[str]:
    """Return the addresses of the indexes that are asked for whatever is not routed, as far as they are known."""
    urls = [*(listed.url for listed in uv.indexes()), uv.environment().get("UV_DEFAULT_INDEX", "")]
    return {credentials.split(url).url for url in urls if url}


def _named(text: str, names: Iterable[str]) -> list[str]:
    """Return the packages that a text of uv's speaks of."""
    words = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", text))
    return sorted(name for name in names if name in words or any(word.startswith(f"{name}-") for word in words))


def looked_for(text: str, question: Question) -> list[str]:
    """Return a sentence for each routed package that a text speaks of: where it is looked for."""
    return [
        f"{name} is looked for on index {route.index} ({route.url}) alone"
        for route in question.routes
        for name in _named(text, route.names)
    ]
