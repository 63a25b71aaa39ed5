"""Where the repositories of a lock are: as R has them set, as dsenv.toml names them, as they stood on a day.

Bioconductor is five repositories of one release, and a release goes with one minor version of R.
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dsenv import addresses
from dsenv.download import LostError, Unhashed
from dsenv.ecosystems.r import binary, r_config
from dsenv.ecosystems.r.cran.repositories import Place
from dsenv.ecosystems.r.spec import BIOC, CRAN, requested
from dsenv.ecosystems.r.versions import RVersion, minor
from dsenv.errors import ResolutionError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import date

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.r.r_config import Configured
    from dsenv.ecosystems.r.spec import Spec

_PARTS: Final = {  # below packages/RELEASE; only the first has to be there
    BIOC: "bioc",
    f"{BIOC}/annotation": "data/annotation",
    f"{BIOC}/experiment": "data/experiment",
    f"{BIOC}/workflows": "workflows",
    f"{BIOC}/books": "books",
}
_RELEASES: Final = {  # of Bioconductor: the last one for each R
    "3.6": "3.10",
    "4.0": "3.12",
    "4.1": "3.14",
    "4.2": "3.16",
    "4.3": "3.18",
    "4.4": "3.20",
    "4.5": "3.22",
}


def places(request: Request, profile: str, r_version: str) -> list[Place]:
    """Return where the repositories are, in order.

    Args:
        request: What is asked.
        profile: The text of the locked R's own site profile.
        r_version: The locked R's.

    Raises:
        WrongUseError: R is told of none, or an address has a variable that is not set.

    """
    spec: Spec = request.spec

    @functools.cache  # asking R runs its user's profile, and is for whom it concerns
    def told() -> Configured:
        return r_config.read(profile)

    found = [replace(place, binary=built) for place, built in _with_binaries(request, told, r_version)]
    if any(wanted.repository == BIOC for _, wanted in requested(spec)) or spec.bioconductor.url:
        found += _bioconductor(request, told, r_version)
    return found


def _with_binaries(
    request: Request, told: Callable[[], Configured], r_version: str
) -> Iterator[tuple[Place, Mapping[str, str]]]:
    """Yield each listed place, and by target where its built packages are."""
    named = {item.name: item for item in request.spec.repositories if not isinstance(item, str)}
    for place in _listed(request.spec, told, request.platform.as_of):
        found = {}
        for target in request.platform.targets:
            template = named[place.name].binary_for(str(target)) if place.name in named else ""
            if template:
                words = {"r": minor(r_version), "arch": binary.architecture(target)}
                words["date"] = str(request.platform.as_of or "")
                for word, value in words.items():
                    template = template.replace(f"{{{word}}}", value)
                found[str(target)] = addresses.filled(template, f"repository {place.name}").url.rstrip("/")
        yield place, found


def _listed(spec: Spec, told: Callable[[], Configured], day: date | None) -> Iterator[Place]:
    for item in spec.repositories:
        if not isinstance(item, str):
            template = item.as_of_url if day and item.as_of_url else ""
            today = (addresses.filled(item.url, f"repository {item.name}").url,) if template else ()
            yield _place(item.name, template or item.url, day if template else None, today)
        elif day and spec.as_of_url:
            yield _place(
                CRAN, spec.as_of_url, day, tuple(url for name, url in told().repositories.items() if name == CRAN)
            )
        elif told().repositories:
            yield from (Place(name=name, url=url) for name, url in told().repositories.items())
        else:
            raise WrongUseError(
                "no repository of R packages is configured on this machine",
                hint='Name one in dsenv.toml: [r] repositories = [{ name = "CRAN", url = "https://…" }], '
                "or set R's option `repos`.",
            )


def _place(name: str, template: str, day: date | None, today: tuple[str, ...] = ()) -> Place:
    text = template.replace("{date}", day.isoformat()) if day else template
    url = addresses.filled(text, f"repository {name}").url.rstrip("/")
    return Place(name=name, url=url, dated=day is not None, today=tuple(other.rstrip("/") for other in today))


def _bioconductor(request: Request, told: Callable[[], Configured], r_version: str) -> Iterator[Place]:
    spec: Spec = request.spec
    mirror = spec.bioconductor.url or told().bioc_mirror
    if not mirror:
        raise WrongUseError(
            "nothing says where Bioconductor is",
            hint='Write its address into dsenv.toml: [r] bioconductor = { url = "https://…" }, '
            "or set R's option `BioC_mirror`.",
        )
    root = addresses.filled(mirror, "Bioconductor").url.rstrip("/")
    release = spec.bioconductor.version or _RELEASES.get(minor(r_version)) or _asked(request, root, minor(r_version))
    for name, path in _PARTS.items():
        # A release stands still once the next one is out: it is what it was on any day after that.
        yield Place(name=name, url=f"{root}/packages/{release}/{path}", dated=True, optional=name != BIOC)


def _asked(request: Request, root: str, r_minor: str) -> str:
    """Return the newest release for an R that is newer than this dsenv, as Bioconductor itself says it."""
    wanted = Unhashed(filename="config.yaml", urls=(f"{root}/config.yaml",), fresh=True)
    try:
        text = request.store.path(request.store.learn([wanted])[0]).read_text("utf-8", "replace")
    except LostError:
        text = ""
    section = re.search(r"(?ms)^r_ver_for_bioc_ver:[ ]*\n((?:[ ]+.*\n)*)", text)
    rows = re.findall(r"[\"']?([0-9]+\.[0-9]+)[\"']?\s*:\s*[\"']?([0-9.]+)", section[1]) if section else []
    fitting = [release for release, r in rows if r == r_minor]
    if not fitting:
        raise ResolutionError(
            f"which release of Bioconductor goes with R {r_minor} is not known",
            hint='Write it into dsenv.toml: [r] bioconductor = { version = "…" }.',
        )
    return str(max(map(RVersion, fitting)))
