"""Which index a package comes from: routes, and whether pip's own settings leave that question open.

A package that is routed to an index comes from nowhere else, whoever asks for it: a name of one's own that a stranger
publishes elsewhere, in a higher version, is never looked at. Patterns are resolved against the index's own list of
projects, since uv routes names only.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dsenv.ecosystems.python import credentials, pip_config, simple, uv
from dsenv.ecosystems.python.engines.interface import Route
from dsenv.ecosystems.python.spec import canonical_pattern, requirements
from dsenv.errors import DownloadError, ResolutionError, WrongUseError
from dsenv.formats import toml_write
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsenv.ecosystems.python.engines.interface import Found
    from dsenv.ecosystems.python.pip_config import Elsewhere, Settings
    from dsenv.ecosystems.python.spec import Index, Spec
    from dsenv.network import Network
    from dsenv.pins import Target
    from dsenv.progress import Progress

_LIST: Final = "Name the packages outright instead of by pattern."


def routes(indexes: Sequence[Index], targets: Sequence[Target], network: Network) -> tuple[Route, ...]:
    """Return the routes of a spec, with their patterns resolved.

    Raises:
        WrongUseError: An address names a variable that is not set.
        DownloadError: An index does not tell which projects it has.

    """
    return tuple(_route(index, targets, network) for index in indexes if index.packages)


def _route(index: Index, targets: Sequence[Target], network: Network) -> Route:
    url = credentials.address(index.url, index.name).url
    patterns = tuple(dict.fromkeys(canonical_pattern(item) for item in index.packages))
    simple.introduce(url, patterns[0].strip("*-"), network)
    names = {pattern for pattern in patterns if "*" not in pattern}
    if any("*" in pattern for pattern in patterns):
        try:
            listed = simple.projects(url, network, flat=index.format == "flat")
        except DownloadError as error:
            error.hint = error.hint or _LIST
            raise
        if not listed:
            raise DownloadError(f"index {index.name} ({url}) lists no projects, which a pattern needs", hint=_LIST)
        names |= {name for name in listed if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    return Route(
        index=index.name,
        url=url,
        flat=index.format == "flat",
        patterns=patterns,
        names=tuple(sorted(names)),
        targets=tuple(target for target in targets if not index.targets or str(target) in index.targets),
    )


def chosen(among: Iterable[Route], name: str, target: Target) -> Route | None:
    """Return the route of a package on a target: a whole name beats a pattern, a longer pattern a shorter one."""
    fitting = [
        (("*" not in pattern, len(pattern), pattern), route)
        for route in among
        if target in route.targets
        for pattern in route.patterns
        if fnmatch.fnmatchcase(name, pattern)
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def check_answer(packages: Sequence[Found], among: Sequence[Route]) -> None:
    """Hold each package's index against its route; raise ``ResolutionError`` naming all that came from elsewhere."""
    strays = set()
    for found in packages:
        for target in {target for places in found.where.values() for target, _ in places}:
            route = chosen(among, found.name, target)
            if route and not found.stub and route.url.rstrip("/") != found.index.rstrip("/"):
                strays.add(
                    f"{found.name} {found.version} was found at {found.index}, and dsenv.toml routes it to index "
                    f"{route.index} ({route.url})"
                )
    if strays:
        raise ResolutionError(
            "a package that is routed to an index would come from another one",
            cause="\n".join(sorted(strays)),
            hint="Publish it on the index that it is routed to, leave it out of that index's patterns, or see who "
            "took its name.",
        )


def check_pip(spec: Spec, settings: Settings, network: Network) -> None:
    """Stop where pip looks at more places than ``dsenv.toml`` and uv's own settings speak of.

    Raises:
        WrongUseError: There is such a place; the cause is what to write into ``dsenv.toml``.

    """
    if origin := pip_config.asks_no_index(settings):
        raise WrongUseError(
            "pip is told to ask no index, and a lock takes packages from indexes alone",
            cause=f"no-index ({origin})",
            hint="Serve the packages as an index, or set PIP_NO_INDEX=0 for dsenv.",
        )
    answered = {_place(credentials.address(index.url, index.name).url) for index in spec.indexes}
    answered |= {_place(listed.url) for listed in uv.indexes()}
    if "index-url" in settings:
        answered.add(_place(settings["index-url"].value))
    places = {_place(place.address): place for place in pip_config.elsewhere(settings) if not place.is_local}
    open_ones = [place for address, place in places.items() if address not in answered]
    if open_ones:
        raise WrongUseError(
            "pip looks at more places than the default index, and dsenv.toml does not say what comes from them",
            cause="\n".join(_entry(place, spec, network) for place in open_ones),
            hint="Add this to dsenv.toml, with what is to come from there and from nowhere else: names, or patterns "
            "such as `acme-*`, or `[]` for nothing.",
        )


def _place(url: str) -> str:
    return without_credentials(url).rstrip("/")


def _entry(place: Elsewhere, spec: Spec, network: Network) -> str:
    """Return what to write for a place: the names that the project asks for and the place has."""
    flat = place.option == "find-links"
    names = sorted({canonicalize_name(Requirement(text).name) for text in requirements(spec)})
    try:
        if flat:
            there = set(simple.projects(place.address, network, flat=True))
        else:
            there = {name for name, files in simple.pages(place.address, names, network).items() if files}
    except DownloadError:
        there = set()
    url = without_credentials(place.address)
    name = re.sub(r"[^a-z0-9]+", "-", url.partition("://")[2].partition("/")[0].lower()).strip("-")
    entry = {"name": name, "url": url, **({"format": "flat"} if flat else {})}
    packages = [name for name in names if name in there]
    return f"# {place}\n" + toml_write.dumps({"python": {"indexes": [{**entry, "packages": packages}]}}).strip()


def tell(settings: Settings, progress: Progress) -> None:
    """Tell what of pip's settings counts here."""
    for sentence in pip_config.told(settings, uv.from_pip(settings)):
        progress.note(sentence)
