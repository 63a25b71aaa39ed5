"""Which exact Python packages: an engine's answer for all declared targets and every interpreter of the range.

The lock holds for the lowest interpreter's patch release and all later ones of the minor, because other machines and
other tools bring theirs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dsenv.ecosystem import Request, Resolution
from dsenv.ecosystems.python import (
    dates,
    freshness,
    indexes,
    interpreters,
    linking,
    packages,
    pip_config,
    platforms,
    uv,
)
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python.building import lock as building
from dsenv.ecosystems.python.building.inspect import Inspector
from dsenv.ecosystems.python.engines import ENGINES
from dsenv.ecosystems.python.engines.interface import Pin, Question
from dsenv.ecosystems.python.markers import Space
from dsenv.ecosystems.python.origins.gather import Gathered
from dsenv.ecosystems.python.spec import buildable, conflicts, requirements
from dsenv.errors import LockFormatError, ResolutionError, WrongUseError
from dsenv.pins import Need, Selection, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from packaging.version import Version

    from dsenv.ecosystem import Offer, Upgrade
    from dsenv.ecosystems.python.engines.interface import Answer, Engine, Route
    from dsenv.ecosystems.python.interpreters import Choice
    from dsenv.ecosystems.python.pins import Installer, Pins
    from dsenv.ecosystems.python.spec import Spec
    from dsenv.store import Store

_UNKNOWN: Final = "https://unknown.invalid/simple"  # of an adopted pin; engines prefer versions, wherever from


def needs(spec: Spec, offers: Mapping[Target, Offer], previous: Sequence[Pins]) -> tuple[Need, ...]:
    """Return the interpreter's package, for the targets that have a distribution, and what its packages need.

    Of those only what is asked for by name wherever it is installed: what others bring the resolution reveals.
    """
    asked = [requirement for requirement in map(Requirement, requirements(spec)) if not requirement.marker]
    sure = {str(canonicalize_name(requirement.name)) for requirement in asked}
    sure -= {str(canonicalize_name(name)) for name in spec.exclude}
    return (*interpreters.needs(spec, offers, previous), *linking.needs(sure, offers.values()))


def resolve(request: Request) -> Resolution:
    """Resolve the requirements, beside the system packages; what these turn out to be decides the interpreter."""
    spec: Spec = request.spec
    engine = ENGINES[spec.resolver]
    now = datetime.now(UTC)
    held = [pins.cool_down for pins in request.previous]
    cool_down = dates.cool_down(spec.min_age, held, renewed=request.upgrade.everything, now=now)
    before = dates.earliest(request.platform.as_of, cool_down)
    choices = interpreters.offered(spec, request, before)
    space = Space(request.platform.targets, interpreters.lowest(choices, request.previous), alone=engine.one_place)
    question = Question(
        space=space,
        requirements=spec.packages,
        groups={str(canonicalize_name(name)): spec.groups[name] for name in spec.groups},
        conflicts=conflicts(spec),
        constraints=spec.constraints,
        overrides=spec.overrides,
        exclude=spec.exclude,
        prereleases=spec.prereleases,
        preferred=_preferred(request.previous, request.upgrade),
        routes=_routes(spec, request),
        before=before,
        after=request.platform.after_as_of,
        build=sorted(buildable(spec)),
    )
    selections = tuple(_selections(question))
    with ThreadPoolExecutor(2) as pool, request.store.scratch("origins") as directory:
        builds = pool.submit(interpreters.hashed, choices, request.store, request.progress)
        installers = pool.submit(_installers, choices, space, request)
        if engine.one_place:
            question = replace(question, python=interpreters.program(builds.result(), request.store, request.progress))
        if not request.previous:
            pool.submit(freshness.prepare)
        inspector = Inspector(request, question, lambda asked: _ask(engine, asked, request.store))
        gathered = Gathered(request, inspector, directory)
        question = _redirected(question, gathered)
        request.progress.update("resolving the Python packages")
        answer = _ask(engine, question, request.store)
        indexes.check_answer(answer.packages, question.routes)
        stale = pool.submit(freshness.stale, answer.packages, request.store.network, before, request.previous)
        settled = interpreters.settled(choices, builds.result(), request.provided())
        lock, pairs = packages.lock(answer.packages, space, settled, question.groups, gathered.of)
        rows = building.sources(pairs, gathered, inspector, request)
        pins = python_pins.Pins(
            interpreters=settled,
            conflicts=tuple(map(tuple, question.conflicts)),
            installers=installers.result(),
            cool_down=cool_down,
            engine=answer.engine,
            lock=lock,
            sources=tuple(row for row, _ in rows),
            build=building.requirements(rows, space, settled),
        )
    pins = building.carried(pins, request.previous)
    for warning in (*answer.warnings, *stale.result()):
        request.progress.warn(warning)
    for lost in linking.lost(pins, request.offers):
        request.progress.warn(lost)
    for groups in selections:
        _check_every_target(pins, request.platform.targets, groups)
    return Resolution(pins=pins)


def _redirected(question: Question, gathered: Gathered) -> Question:
    """Return the question with what stands for each source that a requirement names; the store has its files then."""
    groups = {name: gathered.redirect(texts) for name, texts in question.groups.items()}
    redirected = replace(
        question,
        requirements=gathered.redirect(question.requirements),
        groups=groups,
        overrides=gathered.redirect(question.overrides),
    )
    routes = [
        replace(route, names=tuple(name for name in route.names if name not in gathered.names))
        for route in question.routes
    ]
    return replace(redirected, routes=routes)


def _routes(spec: Spec, request: Request) -> tuple[Route, ...]:
    """Return which index a package comes from, once pip's own settings leave nothing open."""
    if spec.resolver == "pip-tools":
        return ()  # pip goes by its settings itself
    settings = pip_config.read()
    indexes.tell(settings, request.progress)
    indexes.check_pip(spec, settings, request.store.network)
    return indexes.routes(spec.indexes, request.platform.targets, request.store.network)


def _ask(engine: Engine, question: Question, store: Store) -> Answer:
    with store.scratch("resolve") as directory:
        return engine.resolve(question, directory, store)


def _preferred(previous: Sequence[Pins], upgrade: Upgrade) -> tuple[Pin, ...]:
    """Return the pins that are to stay; where the sides of a merge differ, the newer."""
    found: dict[str, dict[Version, Pin]] = {}
    for pins in previous:
        own: dict[str, dict[Version, Pin]] = {}
        for package in pins.lock.packages:
            if package.version and not package.archive and not upgrade.releases(package.name):
                pin = Pin(name=package.name, version=str(package.version), index=package.index or _UNKNOWN)
                own.setdefault(package.name, {})[package.version] = pin
        for name, versions in own.items():
            if name not in found or max(versions) > max(found[name]):
                found[name] = versions
    return tuple(pin for name in sorted(found) for _, pin in sorted(found[name].items()))


def _installers(choices: Sequence[Choice], space: Space, request: Request) -> tuple[Installer, ...]:
    """Return the wheel of this very uv for each target, as the index lists it."""
    version = uv.version()
    targets = [choice.target for choice in choices]
    for pins in request.previous:
        known: tuple[Installer, ...] = pins.installers
        if [(row.target, row.version) for row in known] == [(str(target), version) for target in targets]:
            return known
    answer = _ask(ENGINES["uv"], Question(space=space, requirements=[f"uv=={version}"]), request.store)
    wheels = [wheel for found in answer.packages for wheel in found.wheels]
    found = []
    for choice in choices:
        target = choice.target
        wheel = platforms.best(wheels, platforms.tags(target, choice.version, choice.libc))
        if wheel is None:
            raise ResolutionError(f"the Python index has no wheel of uv {version} for {target}")
        best = python_pins.artifact(wheel)
        found.append(
            python_pins.Installer(
                target=str(target),
                version=version,
                filename=best.filename,
                sha256=best.sha256,
                size=best.size,
                url=best.urls[0],
            )
        )
    return tuple(found)


def _selections(question: Question) -> Iterable[tuple[str, ...]]:
    """Yield the largest sets of groups that can be installed together."""
    apart = {name for names in question.conflicts for name in names}
    unknown = sorted(apart - question.groups.keys())
    if unknown:
        raise WrongUseError(f"[python] conflicts names {', '.join(unknown)}, which is no group")
    for chosen in product(*question.conflicts):
        yield tuple(sorted(question.groups.keys() - (apart - {*chosen})))


def _check_every_target(pins: Pins, targets: Sequence[Target], groups: tuple[str, ...]) -> None:
    for target in targets:
        try:
            pins.select(Selection(target=target, groups=groups))
        except LockFormatError as error:
            raise ResolutionError(
                f"a Python package has no wheel for {target}",
                cause=error.cause or error.sentence,
                hint=packages.NO_WHEEL,
            ) from error
