"""Which exact R packages. With ``repositories = ["apt"]``: those of the same apt solve as the system part.

apt and CRAN are never mixed: CRAN declares no upper bounds, so a distribution's older package with CRAN's newest
satisfies every bound and still breaks. The version of a package is read from the DESCRIPTION inside its .deb, since
Debian's own differs (0.8.84 for 0.8-84).
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from dsenv.ecosystem import Offer, Request, Resolution
from dsenv.ecosystems.r import description
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r.spec import RPackageRequest, Spec, parse_request
from dsenv.ecosystems.r.versions import RVersion, is_version_of
from dsenv.errors import IntegrityError, ResolutionError
from dsenv.formats import deb822
from dsenv.pins import Need, Provided, Target, digest
from dsenv.tools import deb
from dsenv.tree import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from dsenv.pins import Artifact
    from dsenv.store import Store

R_PACKAGE: Final = "r-base-core"
_R_ITSELF: Final = (R_PACKAGE, "r-recommended")  # r-base-core only recommends what every R has
_PREFIXES: Final = ("r-cran-", "r-bioc-", "r-other-")
_BASE_DESCRIPTION: Final = re.compile("usr/lib/R/library/base/DESCRIPTION")


def needs(spec: Spec, offers: Mapping[Target, Offer], previous: Sequence[r_pins.Pins]) -> tuple[Need, ...]:
    """Return R itself and the .deb of each requested package.

    Raises:
        ResolutionError: The distribution's R is another one than the spec wants.

    """
    del previous
    for offer in offers.values():
        candidate = offer.candidate(R_PACKAGE) or "none"
        if not is_version_of(candidate, spec.version):
            raise ResolutionError(
                f"{offer.label} has no R {spec.version}: its {R_PACKAGE} is {candidate}",
                hint="Change [r] version, or the base; other builds of R are not supported yet.",
            )
    packages = [Need(_deb_of(request.name), why=f"r:{request.name}") for request in map(parse_request, spec.packages)]
    return (*(Need(name, why="r") for name in _R_ITSELF), *packages)


def resolve(request: Request) -> Resolution:
    """Wait for the system's rows and read what R packages they hold."""
    provided = request.provided()
    artifacts = [row.artifact for rows in provided.values() for row in rows.values() if _is_r(row.name)]
    request.store.fetch(artifacts, request.progress)
    requests = {_deb_of(wanted.name): wanted for wanted in map(parse_request, request.spec.packages)}
    merged: dict[str, r_pins.Package] = {}
    versions: dict[str, str] = {}
    for target, rows in provided.items():
        versions[str(target)] = _r_version(rows, request.store)
        for package in _packages(rows, target, requests, request.store):
            other = merged.get(package.name)
            if other and other.version != package.version:
                raise ResolutionError(
                    f"R package {package.name} is {other.version} for one target and {package.version} for {target}",
                    hint="Lock the targets in projects of their own.",
                )
            both = {**(other.artifacts if other else {}), **package.artifacts}
            merged[package.name] = package.model_copy(update={"artifacts": both})
    if len(set(versions.values())) != 1:
        listed = "\n".join(f"{target}: {version}" for target, version in versions.items())
        raise ResolutionError("R differs between the targets", cause=listed)
    _check_requests(requests.values(), merged)
    return Resolution(
        pins=r_pins.Pins(
            version=next(iter(versions.values())),
            package=R_PACKAGE,
            packages=tuple(merged[name] for name in sorted(merged)),
        )
    )


def _deb_of(name: str) -> str:
    return f"r-cran-{name.lower()}"


def _is_r(name: str) -> bool:
    return name.startswith(_PREFIXES) or name == R_PACKAGE


def _r_version(rows: Mapping[str, Provided], store: Store) -> str:
    """Return R's own version, which its .deb's (``4.2.2.20221110-2``) only resembles."""
    text = _file_of(rows[R_PACKAGE].artifact, _BASE_DESCRIPTION, store)
    if not text:
        raise IntegrityError(f"{rows[R_PACKAGE].artifact.filename} holds no {_BASE_DESCRIPTION.pattern}")
    return deb822.one_stanza(text)["Version"]


def _packages(
    rows: Mapping[str, Provided], target: Target, requests: Mapping[str, RPackageRequest], store: Store
) -> Iterable[r_pins.Package]:
    debs = [row for row in rows.values() if row.name.startswith(_PREFIXES)]
    with ThreadPoolExecutor(WORKERS) as pool:
        texts = list(pool.map(lambda row: _file_of(row.artifact, description.PATH, store), debs))
    stanzas = {
        row.name: deb822.one_stanza(text)
        for row, text in zip(debs, texts, strict=True)
        if text  # else tools around R that hold no R package
    }
    for name, stanza in stanzas.items():
        row = rows[name]
        askers = sorted(other["Package"] for deb_name, other in stanzas.items() if name in rows[deb_name].dependencies)
        why = ("requested",) if name in requests else tuple(askers) or ("r",)
        yield r_pins.Package(
            name=stanza["Package"],
            version=description.version(stanza).text,
            why=why,
            requires=tuple(description.requires(stanza)),
            renv_hash=description.renv_hash(stanza),
            artifacts={str(target): r_pins.DebArtifact(package=row.name, sha256=row.artifact.sha256)},
        )


def _file_of(artifact: Artifact, pattern: re.Pattern[str], store: Store) -> str:
    """Return the text of a package's first file whose path matches, "" when it has none; read once for all locks."""

    def build(path: Path) -> None:
        files = deb.read_files(store.path(artifact), lambda name: bool(pattern.fullmatch(name)), most=1)
        path.write_bytes(next(iter(files.values()), b""))

    key = digest([artifact.sha256, pattern.pattern])
    return store.built(key, "text", build).read_text("utf-8", errors="replace")


def _check_requests(requests: Iterable[RPackageRequest], packages: Mapping[str, r_pins.Package]) -> None:
    """Hold what a person asked for against what the distribution has."""
    wrong = []
    for request in requests:
        package = packages.get(request.name)
        if package is None:
            spelled = next((name for name in packages if name.lower() == request.name.lower()), "another name")
            wrong.append(f"{request} (asked for in [r] packages): the distribution's package holds {spelled}")
        elif not request.allows(RVersion(package.version)):
            wrong.append(f"{request} (asked for in [r] packages), but the distribution has {package.version}")
    if wrong:
        raise ResolutionError(
            "the distribution's R packages do not satisfy [r] packages",
            cause="\n".join(wrong),
            hint="Relax the bound, correct the name (R's are case-sensitive), or choose a newer base.",
        )
