"""Which exact R packages: from the distribution, or from repositories in CRAN's form. Never from both.

CRAN declares no upper bounds, so a distribution's older package with CRAN's newest satisfies every bound and still
breaks. With ``repositories = ["apt"]`` the packages are those of the same apt solve as the system part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystem import Offer, Request, Resolution
from dsenv.ecosystems.r import distribution
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r.spec import Spec, requested
from dsenv.ecosystems.r.versions import RVersion, is_version_of
from dsenv.errors import ResolutionError
from dsenv.pins import Need, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystems.r.requests import RPackageRequest


def needs(spec: Spec, offers: Mapping[Target, Offer], previous: Sequence[r_pins.Pins]) -> tuple[Need, ...]:
    """Return R itself, and with ``["apt"]`` the .deb of each requested package.

    Raises:
        ResolutionError: The distribution's R is another one than the spec wants.

    """
    del previous
    if spec.archive:
        return ()
    for offer in offers.values():
        candidate = offer.candidate(distribution.PACKAGE) or "none"
        if not is_version_of(candidate, spec.version):
            raise ResolutionError(
                f"{offer.label} has no R {spec.version}: its {distribution.PACKAGE} is {candidate}",
                hint="Change [r] version, or the base, or name a build of R that runs anywhere: "
                '[r] archive = "https://…/R-4.4.3-manylinux_2_34.tar.gz".',
            )
    wanted = [request for _, request in requested(spec)] if spec.from_apt else []
    packages = [Need(distribution.deb_of(request.name), why=f"r:{request.name}") for request in wanted]
    return (*(Need(name, why="r") for name in distribution.ITSELF), *packages)


def resolve(request: Request) -> Resolution:
    """Wait for the system's rows, and find the packages."""
    if request.spec.archive:
        from dsenv.ecosystems.r import portable  # noqa: PLC0415 - as below
        from dsenv.ecosystems.r.cran import route  # noqa: PLC0415

        own, archives = portable.read(request)
        pins = route.resolve(request, own)
        return Resolution(pins=pins.model_copy(update={"package": "", "archives": archives}))
    found = distribution.read(request)
    if not request.spec.from_apt:
        from dsenv.ecosystems.r.cran import route  # noqa: PLC0415 - the solver is for whoever needs it

        return Resolution(pins=route.resolve(request, found))
    requests = {wanted.name: wanted for _, wanted in requested(request.spec)}
    asked = {distribution.deb_of(name) for name in requests}
    packages = {}
    for name, package in found.packages.items():
        by_person = not asked.isdisjoint(package.names)
        packages[name] = distribution.pin(package, ("requested",) if by_person else package.askers or ("r",))
    _check_requests(requests.values(), packages)
    return Resolution(
        pins=r_pins.Pins(
            version=found.version,
            package=distribution.PACKAGE,
            packages=tuple(packages[name] for name in sorted(packages)),
        )
    )


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
