"""The way from what a person asked for to pins: repositories, solution, tarballs, each judged before it is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.download import MismatchError
from dsenv.ecosystems.r import description, distribution, renv, sysreqs
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r.cran import binaries, places, remotes, repositories, times
from dsenv.ecosystems.r.cran.candidates import Archived, Candidate, Finder
from dsenv.ecosystems.r.cran.solve import Question, Requirement
from dsenv.ecosystems.r.cran.tarballs import fetched
from dsenv.ecosystems.r.repacks import repacked
from dsenv.ecosystems.r.requests import parse_request
from dsenv.ecosystems.r.spec import requested
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import ResolutionError
from dsenv.pins import Artifact, normal_group, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.r.cran.remotes import Remotes
    from dsenv.ecosystems.r.cran.repositories import Repository
    from dsenv.ecosystems.r.cran.solve import Bound, Solution
    from dsenv.ecosystems.r.cran.tarballs import Tarball
    from dsenv.ecosystems.r.distribution import Distribution
    from dsenv.ecosystems.r.spec import Spec
    from dsenv.formats.deb822 import Stanza

_SHOWN: Final = 5
_COMMIT: Final = 40  # digits of a commit's hash


def resolve(request: Request, found: Distribution) -> r_pins.Pins:
    """Return the pins for packages of repositories.

    Args:
        request: What is asked.
        found: R itself, as the system's rows have it.

    """
    try:
        return _resolve(request, found)
    except MismatchError as error:
        for pins in request.previous:
            if known := repacked(pins, error.artifact, request.store):
                raise known.error from error
        raise


def _resolve(request: Request, found: Distribution) -> r_pins.Pins:
    _check_unmixed(found)
    where = repositories.load(places.places(request, found.profile, found.version), request.store)
    until = _until(request, where)
    others = remotes.read(request)
    question = _question(request, found, where, others)
    question.finder.until = until
    question.finder.exceptions = frozenset(_exception(text) for text in request.platform.after_as_of)
    request.progress.update("resolving the R packages")
    solution = times.settle(question, request.progress)
    _tell_unused(request, solution)
    tarballs = fetched(solution.chosen.values(), request)
    return _pins(request, found, where, solution, tarballs, others)


def _tell_unused(request: Request, solution: Solution) -> None:
    """Point out what dsenv.toml says of packages that are not there."""
    spec: Spec = request.spec
    said = (
        ("suggests", spec.suggests),
        ("from-source", spec.from_source),
        ("system-requirements", spec.system_requirements),
    )
    for key, names in said:
        unused = sorted({*names} - solution.chosen.keys())
        if unused:
            request.progress.warn(f"[r] {key} names {', '.join(unused)}, which nothing needs")


def _check_unmixed(found: Distribution) -> None:
    others = sorted(name for name, package in found.packages.items() if not package.with_r)
    if others:
        debs = sorted({deb for name in others for deb in found.packages[name].names})
        raise ResolutionError(
            f"R packages of the distribution ({', '.join(debs[:_SHOWN])}) and of other repositories break each other",
            hint='Take them out of [system] packages, or write `repositories = ["apt"]` in [r].',
        )


def _until(request: Request, where: Sequence[Repository]) -> date | None:
    """Return the day that repositories without dated states are taken back to, by what they say of their files.

    Raises:
        WrongUseError: One cannot be taken back.

    """
    day = request.platform.as_of
    present = [one for one in where if not one.place.dated]
    if day is None or not present:
        return None
    for one in present:
        one.check_archive(day)
    names = ", ".join(one.name for one in present)
    request.progress.warn(
        f"the state of {names} on {day} is put together from its index and its Archive of today: "
        "packages that were withdrawn since are missing"
    )
    return day


def _exception(text: str) -> tuple[str, str]:
    name, _, version = text.partition("==")
    return name, version


def _question(request: Request, found: Distribution, where: Sequence[Repository], others: Remotes) -> Question:
    spec: Spec = request.spec
    previous: list[r_pins.Package] = [row for pins in request.previous for row in pins.packages]
    held = [row for row in previous if not request.upgrade.releases(row.name)]
    locked: dict[str, list[tuple[str, str]]] = {}
    known: dict[tuple[str, str, str], Artifact] = {}
    for row in held:
        repository = row.source.repository if row.source else ""
        locked.setdefault(row.name, []).append((row.version, repository))
        if row.source and repository:
            known[repository, row.name, row.version] = row.source.artifact()
    finder = Finder(
        r_version=RVersion(found.version),
        with_r={
            name: Candidate(
                name=name,
                version=description.version(package.description),
                origin="r",
                fields=package.description,
            )
            for name, package in found.packages.items()
        },
        remotes=others.candidates,
        repositories=where,
        locked=locked,
        archive=Archived(request.store, known, request.progress),
    )
    constraints: dict[str, list[Bound]] = {}
    for text in spec.constraints:
        wanted = parse_request(text)
        constraints.setdefault(wanted.name, []).extend(wanted.bounds)
    return Question(
        finder=finder, roots=list(_roots(spec, others)), constraints=constraints, suggests=frozenset(spec.suggests)
    )


def _roots(spec: Spec, others: Remotes) -> Iterator[Requirement]:
    for group, wanted in requested(spec):
        place = f"[r.groups] {group}" if group else "[r] packages"
        yield Requirement(others.name(wanted), wanted.bounds, wanted.repository, place=place)


def _pins(
    request: Request,
    found: Distribution,
    where: Sequence[Repository],
    solution: Solution,
    tarballs: Mapping[str, Tarball],
    others: Remotes,
) -> r_pins.Pins:
    groups = _groups(request.spec, solution, others)
    packages = {name: distribution.pin(package, ("r",)) for name, package in found.packages.items() if package.with_r}
    for name, candidate in solution.chosen.items():
        if candidate.origin == "r":
            continue
        askers = sorted({item.asker.name for item in solution.asked[name] if item.asker})
        by_person = any(item.place for item in solution.asked[name])
        pin = _pin(
            tarballs[name],
            others.sources.get(name) or _source(candidate, tarballs[name]),
            why=("requested", *askers) if by_person else tuple(askers),
            groups=groups[name],
            targets=[str(target) for target in request.platform.targets],
        )
        packages[name] = _as_held(pin, request)
    packages |= _with_needs(packages, request)
    built = binaries.with_binaries(packages, where, request, found.version)
    packages = built.packages
    return r_pins.Pins(
        version=found.version,
        package=distribution.PACKAGE,
        groups=tuple(sorted(map(normal_group, request.spec.groups))),
        packages=tuple(packages[name] for name in sorted(packages)),
        provenance=r_pins.Provenance(
            repositories=tuple(
                r_pins.Repository(name=one.name, url=without_credentials(one.place.url), index=one.file.sha256)
                for one in where
            ),
            binaries=built.provenance(),
        ),
    )


def _renv_hash(stanza: Stanza, source: r_pins.Source) -> str:
    if source.kind == "repository":
        has_commit = len(stanza.get("RemoteSha", "")) >= _COMMIT  # of a universe: renv keeps these, and only these
        fields = {key: value for key, value in stanza.items() if has_commit and key.startswith("Remote")}
        return description.renv_hash(stanza, fields)
    return description.renv_hash(stanza, renv.remote(source.kind, source.remote.model_dump())[1])


def _with_needs(packages: Mapping[str, r_pins.Package], request: Request) -> dict[str, r_pins.Package]:
    """Return the packages that are built from sources with what they need of the system."""
    texts = {name: row.system_requirements for name, row in packages.items() if row.source}
    found = sysreqs.wanted(texts, request.spec.system_requirements, request.offers.values())
    if sentence := sysreqs.talk({name: wanted.missing for name, wanted in found.items() if wanted.missing}):
        request.progress.warn(sentence)
    return {
        name: packages[name].model_copy(update={"needs": wanted.run, "build_needs": wanted.build})
        for name, wanted in found.items()
    }


def _as_held(pin: r_pins.Package, request: Request) -> r_pins.Package:
    """Return a pin with what the locked one says of its file: of several accepted ones, each machine has another."""
    for pins in request.previous:
        for row in pins.packages:
            if row.source and pin.source and (row.name, row.source.sha256) == (pin.name, pin.source.sha256):
                source = pin.source.model_copy(update={"size": row.source.size})
                return pin.model_copy(update={"renv_hash": row.renv_hash, "source": source})
    return pin


def _groups(spec: Spec, solution: Solution, others: Remotes) -> Mapping[str, tuple[str, ...]]:
    """Return for each package the groups that it is installed with; none for one that is always installed."""
    found: dict[str, set[str]] = {name: set() for name in solution.chosen}
    for group, wanted in requested(spec):
        for name in _closure([others.name(wanted)], solution):
            found[name].add(normal_group(group))
    return {name: () if "" in groups else tuple(sorted(groups)) for name, groups in found.items()}


def _closure(names: Iterable[str], solution: Solution) -> set[str]:
    seen = set(names)
    left = list(seen)
    while left:
        new = {*solution.needs[left.pop()]} - seen
        seen |= new
        left.extend(new)
    return seen


def _pin(
    tarball: Tarball, source: r_pins.Source, *, why: tuple[str, ...], groups: tuple[str, ...], targets: Iterable[str]
) -> r_pins.Package:
    examined = tarball.examined
    stanza = examined.description
    return r_pins.Package(
        name=stanza["Package"],
        version=stanza["Version"],
        why=why,
        groups=groups,
        requires=tuple(description.requires(stanza)),
        linking_to=tuple(sorted({item.name for item in description.dependencies(stanza, ("LinkingTo",))})),
        compiles=examined.compiles,
        system_requirements=" ".join(stanza.get("SystemRequirements", "").split()),
        renv_hash=_renv_hash(stanza, source),
        source=source,
        artifacts={target: r_pins.SourceArtifact() for target in targets},
    )


def _source(candidate: Candidate, tarball: Tarball) -> r_pins.Source:
    return r_pins.Source(
        kind="repository",
        repository=candidate.repository,
        filename=tarball.artifact.filename,
        sha256=tarball.artifact.hashes,
        size=tarball.artifact.size or 1,
        content=tarball.examined.content,
        urls=tuple(without_credentials(url) for url in candidate.urls),
    )
