"""Which exact Python packages: uv's answer for all declared targets and every interpreter of the range.

The interpreter comes first. Where the distribution's own Python satisfies the spec it is that one, a system package
like any other; the lock then holds for its patch release and all later ones of the minor, because other machines and
other tools bring theirs.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from packaging.markers import Marker
from packaging.pylock import Package, PackageWheel, Pylock
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dsenv.ecosystem import Offer, Request, Resolution
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import platforms, uv
from dsenv.ecosystems.python.markers import Space
from dsenv.errors import LockFormatError, ResolutionError
from dsenv.pins import Need, Selection, Target, without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsenv.ecosystems.python.pins import Installer, Interpreter, Pins
    from dsenv.ecosystems.python.spec import Spec

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
    lowest = min((row.version for row in interpreters), key=Version)
    space = Space(request.platform.targets, lowest)
    preferred = "" if request.upgrade or request.previous is None else _preferences(request.previous)
    request.progress.update("resolving the Python packages")
    with ThreadPoolExecutor(2) as pool, request.store.scratch("uv") as scratch:
        installers = pool.submit(_installers, interpreters, request.previous, scratch / "installer")
        groups = {str(canonicalize_name(name)): spec.groups[name] for name in sorted(spec.groups)}
        locked = _lock(spec, groups, space, scratch / "project", preferred)
        for warning in locked.warnings:
            request.progress.warn(warning)
        packages = tuple(_packages(locked, space, interpreters))
        pins = python_pins.Pins(
            interpreters=interpreters,
            installers=installers.result(),
            engine=f"uv {locked.version}",
            lock=Pylock(
                lock_version=_LOCK_VERSION,
                created_by=python_pins.CREATED_BY,
                packages=packages,
                environments=[
                    Marker(f"{platforms.clause(target)} and implementation_name == 'cpython'")
                    for target in space.targets
                ],
                requires_python=SpecifierSet(space.requires_python),
                dependency_groups=sorted(groups) or None,
            ),
        )
    pins.lock.validate()
    _check_every_target(pins, request.platform.targets, tuple(sorted(groups)))
    return Resolution(pins=pins)


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


def _lock(spec: Spec, groups: Mapping[str, Sequence[str]], space: Space, directory: Path, preferred: str) -> uv.Locked:
    bounds = " and ".join(
        f"python_full_version {text[: -len(text.lstrip('<>='))]} '{text.lstrip('<>=')}'"
        for text in space.requires_python.split(",")
    )
    environments = [
        f"{platforms.clause(target)} and implementation_name == 'cpython' and {bounds}" for target in space.targets
    ]
    settings: dict[str, Any] = {
        "constraint-dependencies": list(spec.constraints),
        "override-dependencies": list(spec.overrides),
        "exclude-dependencies": list(spec.exclude),
    }
    options = {"prerelease": "if-necessary", "prerelease-package": dict.fromkeys(spec.prereleases, "allow")}
    directory.mkdir()
    pyproject = uv.project(
        requirements=spec.packages,
        groups=groups,
        environments=environments,
        settings={key: value for key, value in settings.items() if value},
    )
    return uv.lock(directory, pyproject, options=options, preferred=preferred, groups=sorted(groups))


def _preferences(previous: Pins) -> str:
    return uv.preferences(
        [
            (package.name, str(package.version), package.index)
            for package in previous.lock.packages
            if package.version and package.index
        ]
    )


def _packages(locked: uv.Locked, space: Space, interpreters: Sequence[Interpreter]) -> list[Package]:
    """Return the packages of uv's lock in PEP 751's words, for the declared targets only."""
    accepted = {tag for row in interpreters for tag in platforms.tags(Target.parse(row.target), row.version, row.libc)}
    markers = _markers(locked, space)
    found = []
    for package in locked.lock.get("package", []):
        key = (package["name"], package.get("version", ""))
        if key not in markers:
            continue
        marker = markers[key]
        wheels = [_wheel(wheel) for wheel in package.get("wheels", [])]
        fitting = [wheel for wheel in wheels if _tags(wheel) & accepted]
        if not fitting:
            raise ResolutionError(
                f"{package['name']} {package['version']} has no wheel for any of the targets",
                cause="\n".join(wheel.filename for wheel in wheels) or "the index lists no wheel of it",
                hint=_NO_WHEEL,
            )
        found.append(
            Package(
                name=canonicalize_name(package["name"]),
                version=Version(package["version"]),
                marker=Marker(marker) if marker else None,
                dependencies=_dependencies(package) or None,
                index=without_credentials(package["source"]["registry"]),
                wheels=fitting,
            )
        )
    return sorted(found, key=lambda package: (package.name, str(package.version)))


def _markers(locked: uv.Locked, space: Space) -> dict[tuple[str, str], str]:
    """Return the marker of each package, by name and version, from who exports it where."""
    where: dict[tuple[str, str], dict[str, Any]] = {}
    for group, packages in locked.exports.items():
        for package in packages:
            key = (package["name"], package.get("version", ""))
            places = space.where(package.get("marker", ""))
            where.setdefault(key, {})[group] = where.get(key, {}).get(group, frozenset()) | places
    return {
        key: space.marker(groups.get("", frozenset()), {name: places for name, places in groups.items() if name})
        for key, groups in where.items()
        if any(groups.values())
    }


def _dependencies(package: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = [
        {"name": row["name"], **({"version": row["version"]} if "version" in row else {})}
        for row in package.get("dependencies", [])
    ]
    unique = {tuple(sorted(row.items())): row for row in rows}
    return [unique[key] for key in sorted(unique)]


def _wheel(row: Mapping[str, Any]) -> PackageWheel:
    if "url" not in row:
        raise ResolutionError(
            f"{row.get('path', 'a wheel')} lies in a local directory, which no other machine has",
            hint="Leave find-links out of uv's configuration.",
        )
    algorithm, _, value = row.get("hash", "").partition(":")
    if algorithm != "sha256":
        raise ResolutionError(
            f"the Python index gives no sha256 for {without_credentials(row['url'])}",
            hint="Take the package from an index that lists sha256 hashes.",
        )
    uploaded = row.get("upload-time")
    return PackageWheel(
        url=without_credentials(row["url"]),
        size=row.get("size"),
        upload_time=datetime.fromisoformat(uploaded).replace(microsecond=0) if uploaded else None,
        hashes={algorithm: value},
    )


def _tags(wheel: PackageWheel) -> set[Any]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # noqa: PLC0415 - beside its only use

    try:
        return set(parse_wheel_filename(wheel.filename)[3])
    except InvalidWheelFilename:
        return set()


def _installers(interpreters: Sequence[Interpreter], previous: Pins | None, directory: Path) -> tuple[Installer, ...]:
    """Return the wheel of this very uv for each target, as the index lists it."""
    version = uv.version()
    targets = [Target.parse(row.target) for row in interpreters]
    if previous and [(row.target, row.version) for row in previous.installers] == [(str(t), version) for t in targets]:
        return previous.installers
    directory.mkdir()
    pyproject = uv.project(
        requirements=[f"uv=={version}"],
        groups={},
        environments=[platforms.clause(target) for target in targets],
        settings={},
    )
    locked = uv.lock(directory, pyproject)
    wheels = [
        _wheel(wheel) for package in locked.lock["package"] if package["name"] == "uv" for wheel in package["wheels"]
    ]
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
