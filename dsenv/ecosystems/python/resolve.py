"""Which exact Python packages: uv's answer for all declared targets and every interpreter of the range.

The interpreter comes first. Where the distribution's own Python satisfies the spec it is that one, a system package
like any other; the lock then holds for its patch release and all later ones of the minor, because other machines and
other tools bring theirs.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from packaging.markers import Marker
from packaging.pylock import Package, PackageWheel, Pylock
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dsenv.ecosystem import Offer, Request, Resolution
from dsenv.ecosystems.python import freshness, platforms, uv
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python.engines import ENGINES
from dsenv.ecosystems.python.engines.interface import Pin, Question
from dsenv.ecosystems.python.markers import Space
from dsenv.errors import LockFormatError, ResolutionError
from dsenv.pins import Need, Selection, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystems.python.engines.interface import Answer, Engine
    from dsenv.ecosystems.python.pins import Installer, Interpreter, Pins
    from dsenv.ecosystems.python.spec import Spec
    from dsenv.store import Store

_LOCK_VERSION: Final = Version("1.0")
_NO_WHEEL: Final = "Bound it to a version that has one, or leave the target out."


def needs(spec: Spec, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
    """Return the interpreter's package, for the targets that have a distribution.

    Raises:
        ResolutionError: A distribution has another Python than the spec wants.

    """
    for offer in offers.values():
        _own_python(spec, offer)
    return (Need(_package(spec), why="python"),) if offers else ()


def resolve(request: Request) -> Resolution:
    """Resolve the requirements; beside the system packages, which it does not wait for."""
    spec: Spec = request.spec
    interpreters = _interpreters(spec, request)
    engine = ENGINES[spec.resolver]
    lowest = min((row.version for row in interpreters), key=Version)
    space = Space(request.platform.targets, lowest, alone=engine.one_place)
    question = Question(
        space=space,
        requirements=spec.packages,
        groups={str(canonicalize_name(name)): spec.groups[name] for name in spec.groups},
        constraints=spec.constraints,
        overrides=spec.overrides,
        exclude=spec.exclude,
        prereleases=spec.prereleases,
        preferred=_preferred(None if request.upgrade else request.previous),
    )
    request.progress.update("resolving the Python packages")
    with ThreadPoolExecutor(2) as pool:
        installers = pool.submit(_installers, interpreters, space, request)
        answer = _ask(engine, question, request.store)
        stale = pool.submit(freshness.stale, answer.packages)
        pins = python_pins.Pins(
            interpreters=interpreters,
            installers=installers.result(),
            engine=answer.engine,
            lock=_pylock(answer, question, interpreters),
        )
    for warning in (*answer.warnings, *stale.result()):
        request.progress.warn(warning)
    _check_every_target(pins, request.platform.targets, tuple(sorted(question.groups)))
    return Resolution(pins=pins)


def _ask(engine: Engine, question: Question, store: Store) -> Answer:
    with store.scratch("resolve") as directory:
        return engine.resolve(question, directory, store)


def _pylock(answer: Answer, question: Question, interpreters: Sequence[Interpreter]) -> Pylock:
    space = question.space
    clauses = [f"{platforms.clause(target)} and implementation_name == 'cpython'" for target in space.targets]
    lock = Pylock(
        lock_version=_LOCK_VERSION,
        created_by=python_pins.CREATED_BY,
        packages=tuple(_packages(answer, space, interpreters)),
        environments=[Marker(clause) for clause in clauses],
        requires_python=SpecifierSet(space.requires_python),
        dependency_groups=[canonicalize_name(name) for name in sorted(question.groups)] or None,
    )
    lock.validate()
    return lock


def _package(spec: Spec) -> str:
    return "python" + ".".join(spec.version.split(".")[:2])


def _interpreters(spec: Spec, request: Request) -> tuple[Interpreter, ...]:
    """Return each target's Python: the distribution's own, or any patch of the minor elsewhere."""
    rows = []
    for target in request.platform.targets:
        offer = request.offers.get(target)
        if offer is None:
            lowest = spec.version if re.fullmatch(r"\d+\.\d+\.\d+", spec.version) else f"{spec.version}.0"
            rows.append(python_pins.Interpreter(target=str(target), version=lowest))
            continue
        libc = python_pins.upstream(offer.candidate(python_pins.LIBC) or "")
        rows.append(
            python_pins.Interpreter(
                target=str(target), version=_own_python(spec, offer), package=_package(spec), libc=libc
            )
        )
    return tuple(rows)


def _own_python(spec: Spec, offer: Offer) -> str:
    """Return the version of a distribution's own Python, ``3.11.2``, if it is what the spec wants."""
    name = _package(spec)
    candidate = offer.candidate(name)
    version = python_pins.upstream(candidate) if candidate else ""
    if spec.version in {version, version.rpartition(".")[0]}:
        return version
    has = f"its {name} is {version}" if candidate else f"it has {_others(offer)}"
    raise ResolutionError(
        f"{offer.label} has no Python {spec.version}: {has}",
        hint="Change [python] version, or the base; other builds of Python are not supported yet.",
    )


def _others(offer: Offer) -> str:
    names = [f"python3.{minor}" for minor in range(9, 20) if offer.candidate(f"python3.{minor}")]
    return ", ".join(names) or "no python3 package"


def _preferred(previous: Pins | None) -> tuple[Pin, ...]:
    packages = previous.lock.packages if previous else ()
    return tuple(
        Pin(name=package.name, version=str(package.version), index=package.index)
        for package in packages
        if package.version and package.index
    )


def _packages(answer: Answer, space: Space, interpreters: Sequence[Interpreter]) -> Iterable[Package]:
    """Yield an answer's packages in PEP 751's words, sorted, with the wheels of the declared targets only."""
    accepted = {tag for row in interpreters for tag in platforms.tags(Target.parse(row.target), row.version, row.libc)}
    for found in sorted(answer.packages, key=lambda found: (found.name, found.version)):
        fitting = [wheel for wheel in found.wheels if _tags(wheel) & accepted]
        if not fitting:
            raise ResolutionError(
                f"{found.name} {found.version} has no wheel for any of the targets",
                cause="\n".join(wheel.filename for wheel in found.wheels) or "the index lists no wheel of it",
                hint=_NO_WHEEL,
            )
        groups = {name: places for name, places in found.where.items() if name}
        marker = space.marker(found.where.get("", frozenset()), groups)
        yield Package(
            name=canonicalize_name(found.name),
            version=Version(found.version),
            marker=Marker(marker) if marker else None,
            dependencies=list(found.dependencies) or None,
            index=found.index,
            wheels=fitting,
        )


def _tags(wheel: PackageWheel) -> set[Any]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # noqa: PLC0415 - beside its only use

    try:
        return set(parse_wheel_filename(wheel.filename)[3])
    except InvalidWheelFilename:
        return set()


def _installers(interpreters: Sequence[Interpreter], space: Space, request: Request) -> tuple[Installer, ...]:
    """Return the wheel of this very uv for each target, as the index lists it."""
    version = uv.version()
    targets = [Target.parse(row.target) for row in interpreters]
    known = request.previous.installers if request.previous else ()
    if [(row.target, row.version) for row in known] == [(str(target), version) for target in targets]:
        return known
    answer = _ask(ENGINES["uv"], Question(space=space, requirements=[f"uv=={version}"]), request.store)
    wheels = [wheel for found in answer.packages for wheel in found.wheels]
    rows = []
    for row, target in zip(interpreters, targets, strict=True):
        ranks = {tag: rank for rank, tag in enumerate(platforms.tags(target, row.version, row.libc))}
        fitting = [
            (min(ranks[tag] for tag in _tags(wheel) if tag in ranks), wheel)
            for wheel in wheels
            if _tags(wheel) & ranks.keys()
        ]
        if not fitting:
            raise ResolutionError(f"the Python index has no wheel of uv {version} for {target}")
        best = python_pins.artifact(min(fitting, key=lambda pair: pair[0])[1])
        rows.append(
            python_pins.Installer(
                target=str(target),
                version=version,
                filename=best.filename,
                sha256=best.sha256,
                size=best.size,
                url=best.urls[0],
            )
        )
    return tuple(rows)


def _check_every_target(pins: Pins, targets: Sequence[Target], groups: tuple[str, ...]) -> None:
    for target in targets:
        try:
            pins.select(Selection(target=target, groups=groups))
        except LockFormatError as error:
            raise ResolutionError(
                f"a Python package has no wheel for {target}",
                cause=error.cause or error.sentence,
                hint=_NO_WHEEL,
            ) from error
