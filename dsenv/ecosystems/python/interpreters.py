"""Which Python: the distribution's own where it satisfies the spec, a system package like any other; else a build.

The lock holds a build by its hash (``standalone.py``). A target without a distribution gets one as well; where none is
listed for it, it takes whatever Python of that minor a machine has.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import platforms, standalone
from dsenv.errors import ResolutionError
from dsenv.pins import Need, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from dsenv.ecosystem import Offer, Request
    from dsenv.ecosystems.python.pins import Interpreter, Pins
    from dsenv.ecosystems.python.spec import Spec
    from dsenv.ecosystems.python.standalone import Build, Listed
    from dsenv.pins import Provided
    from dsenv.progress import Progress
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A target's Python as it is on offer, before the system packages are known."""

    target: Target
    version: str  # "3.11.2"
    libc: str = ""  # the base's
    package: str = ""  # the system package that it is
    build: Build | Listed | None = None  # else the build, of which the hash may have to be asked for


def needs(spec: Spec, offers: Mapping[Target, Offer], previous: Sequence[Pins]) -> tuple[Need, ...]:
    """Return the interpreter's package, for the targets that have a distribution with the Python that is asked for.

    Raises:
        ResolutionError: Nothing that is locked is that, and only the archive can tell whether there is a package.

    """
    if _own(spec, offers):
        return (Need(_package(spec), why="python"),)
    builds = {
        row.target for pins in previous for row in pins.interpreters if row.build and _satisfies(row.version, spec)
    }
    if not all(offer.whole or str(target) in builds for target, offer in offers.items()):
        raise ResolutionError(f"no locked package is Python {spec.version}")
    return ()


def offered(spec: Spec, request: Request, before: datetime | None) -> tuple[Choice, ...]:
    """Return each target's Python as it is on offer.

    Args:
        spec: Says which.
        request: Has the targets and what they offer, and the builds that are locked so far: those stay if they can.
        before: When a build must have been made, if that counts.

    Raises:
        ResolutionError: A distribution has another one, and no build is listed.
        DownloadError: The list of builds cannot be read.

    """
    own = _own(spec, request.offers)
    found = {target: Choice(target=target, version=own[target], package=_package(spec)) for target in own}
    for target in request.platform.targets:
        if target not in found and (held := _held(spec, target, request, before)):
            found[target] = held
    rest = [target for target in request.platform.targets if target not in found]
    if rest:
        found |= _listed(spec, rest, [choice.version for choice in found.values() if choice.build], request, before)
    libc = {target: offer.candidate(python_pins.LIBC) or "" for target, offer in request.offers.items()}
    return tuple(
        replace(found[target], libc=python_pins.upstream(libc.get(target, ""))) for target in request.platform.targets
    )


def lowest(choices: Sequence[Choice], previous: Sequence[Pins]) -> str:
    """Return the lowest version that an interpreter may turn out to have: locked packages stay if they can."""
    versions = [choice.version for choice in choices]
    minor = versions[0].rpartition(".")[0]
    locked = [row.version for pins in previous for row in pins.interpreters if row.package]
    if any(choice.package for choice in choices):
        versions += [version for version in locked if version.rpartition(".")[0] == minor]
    return min(versions, key=Version)


def hashed(choices: Sequence[Choice], store: Store, progress: Progress) -> Mapping[Target, Build]:
    """Return the builds among the choices, with their hashes; raise as ``standalone.locked`` does."""
    builds = {choice.target: choice.build for choice in choices if choice.build}
    with ThreadPoolExecutor(max(len(builds), 1)) as pool:
        jobs = {
            target: pool.submit(standalone.locked, build, store, progress)
            for target, build in builds.items()
            if isinstance(build, standalone.Listed)
        }
        known = {target: build for target, build in builds.items() if isinstance(build, standalone.Build)}
        return known | {target: job.result() for target, job in jobs.items()}


def program(builds: Mapping[Target, Build], store: Store, progress: Progress) -> str:
    """Return the program of the one target's build as the store has it, or nothing where it is no build."""
    for target, build in builds.items():
        store.fetch([build.artifact()], progress)
        _, files = build.unpacked(store)
        return str(next(files.glob(platforms.program(target, "3.*[0-9]"))))
    return ""


def settled(
    choices: Sequence[Choice],
    builds: Mapping[Target, Build],
    provided: Mapping[Target, Mapping[str, Provided]],
) -> tuple[Interpreter, ...]:
    """Return each target's Python on the system packages as they have turned out to be."""
    found = []
    for choice in choices:
        packages = provided.get(choice.target, {})
        upstream = {name: python_pins.upstream(packages[name].version) for name in packages}
        found.append(
            python_pins.Interpreter(
                target=str(choice.target),
                version=upstream[choice.package] if choice.package else choice.version,
                package=choice.package,
                libc=upstream.get(python_pins.LIBC, ""),
                build=builds.get(choice.target),
            )
        )
    return tuple(found)


def _package(spec: Spec) -> str:
    return f"python{_minor(spec)}"


def _minor(spec: Spec) -> str:
    return ".".join(spec.version.split(".")[:2])


def _satisfies(version: str, spec: Spec) -> bool:
    return spec.version in {version, version.rpartition(".")[0]}


def _own(spec: Spec, offers: Mapping[Target, Offer]) -> dict[Target, str]:
    """Return the version of each distribution's own Python, if all of them have what the spec wants."""
    found = {target: python_pins.upstream(offer.candidate(_package(spec)) or "") for target, offer in offers.items()}
    return found if all(_satisfies(version, spec) for version in found.values()) else {}


def _held(spec: Spec, target: Target, request: Request, before: datetime | None) -> Choice | None:
    """Return the build that is locked for a target; the newest one where the sides of a merge differ."""
    rows = [row for pins in request.previous for row in pins.interpreters if row.target == str(target) and row.build]
    for row in sorted(rows, key=lambda row: Version(row.version), reverse=True):
        if (
            row.build
            and _satisfies(row.version, spec)
            and not request.upgrade.releases(python_pins.PYTHON)
            and standalone.was_there(row.build.date, before)
        ):
            return Choice(target=target, version=row.version, build=row.build)
    return None


def _listed(
    spec: Spec, targets: Sequence[Target], held: Sequence[str], request: Request, before: datetime | None
) -> dict[Target, Choice]:
    """Return the newest build for each target: of one version for all of them if there is one, first of those held."""
    everything = standalone.listed(_minor(spec), targets, request.store.network)
    fitting = {
        target: [row for row in rows if _satisfies(row.version, spec) and standalone.was_there(row.date, before)]
        for target, rows in everything.items()
    }
    versions = [{row.version for row in rows} for rows in fitting.values() if rows]
    common = set.intersection(*versions) if versions else set()
    found = {}
    for target, rows in fitting.items():
        preferred = [*(row for row in rows if row.version in held), *(row for row in rows if row.version in common)]
        if rows:
            build = (preferred or rows)[0]
            found[target] = Choice(target=target, version=build.version, build=build)
        elif offer := request.offers.get(target):
            raise _none(spec, target, offer, everything[target], before)
        else:
            request.progress.warn(
                f"no build of Python {spec.version}{_until(before)} is listed for {target}: a restore there takes any"
            )
            patch = spec.version.removeprefix(_minor(spec)) or ".0"
            found[target] = Choice(target=target, version=f"{_minor(spec)}{patch}")
    return found


def _none(
    spec: Spec, target: Target, offer: Offer, listed: Sequence[Listed], before: datetime | None
) -> ResolutionError:
    candidate = offer.candidate(_package(spec))
    has = f"its {_package(spec)} is {python_pins.upstream(candidate)}" if candidate else f"it has {_others(offer)}"
    return ResolutionError(
        f"{offer.label} has no Python {spec.version}: {has}, and no build{_until(before)} is listed for {target}",
        cause=", ".join(f"{row.version} of {row.date or 'an unknown day'}" for row in listed),
        hint="Change [python] version, or the base.",
    )


def _until(before: datetime | None) -> str:
    return f" made before {before:%Y-%m-%d}" if before else ""


def _others(offer: Offer) -> str:
    names: Iterator[str] = (f"python3.{minor}" for minor in range(9, 20) if offer.candidate(f"python3.{minor}"))
    return ", ".join(names) or "no python3 package"
