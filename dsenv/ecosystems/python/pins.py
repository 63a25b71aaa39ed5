"""What is locked of Python, and how it is written.

The packages stand in ``pylock.toml``, the standard file of PEP 751, for all targets and groups; uv, pip, PDM and
scanners read it. What building some of them takes stands in ``pylock.build.toml``. ``dsenv.lock`` has what these files
have no field for:

    [[python.interpreters]]   the Python of each target
    [[python.installers]]     the uv that installs there: a locked artifact like any other, but part of no digest
    [[python.sources]]        what is built, and how (``building/pins.py``)
    [python.cool-down]        the instant that ``min-age`` stands for until it is renewed
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import Package, PackageWheel, Pylock, PylockSelectError
from packaging.version import InvalidVersion
from pydantic import AfterValidator, ConfigDict, StringConstraints, ValidationError, model_validator

from dsenv.ecosystem import LockFiles, Table, inputs_of, table_of
from dsenv.ecosystems.python import platforms, pylock
from dsenv.ecosystems.python.building import pins as building
from dsenv.ecosystems.python.building.pins import Source
from dsenv.ecosystems.python.dates import CoolDown
from dsenv.ecosystems.python.names import BUILD_FILE, FILE
from dsenv.ecosystems.python.standalone import Build as PythonBuild
from dsenv.errors import LockFormatError, TornLockError, WrongUseError
from dsenv.model import Array, Model, Sha256Text, Size, Text, describe
from dsenv.pins import Artifact, Selection, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.pins import Provided
    from dsenv.steps import Place

CREATED_BY: Final = "dsenv"
PYTHON: Final = "python"  # what the interpreter is called among the packages
LIBC: Final = "libc6"  # the system package whose version says which wheels fit
Version = Annotated[str, StringConstraints(pattern=r"^3\.[0-9]+\.[0-9]+$")]


def _check_target(text: str) -> str:
    return str(Target.parse(text))


TargetName = Annotated[str, AfterValidator(_check_target)]


class Interpreter(Model):
    """The Python of one target."""

    target: TargetName
    version: Version
    package: Text = ""  # the system package that it is
    build: PythonBuild | None = None  # else the build that it is; without either a machine brings its own
    libc: Annotated[str, StringConstraints(pattern=r"^([0-9]+\.[0-9]+)?$")] = ""  # the base's glibc: which wheels fit

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.target.startswith("linux-") and not (self.libc and (self.package or self.build)):
            msg = f"the interpreter of {self.target} has no libc, or is neither a package nor a build"
            raise ValueError(msg)
        return self


class Installer(Model):
    """The uv wheel that installs on one target."""

    target: TargetName
    version: Text
    filename: Annotated[str, StringConstraints(pattern=r"^uv-[A-Za-z0-9._-]+\.whl$")]
    sha256: Sha256Text
    size: Size | None = None  # an index of plain HTML tells none
    url: Text

    def artifact(self) -> Artifact:
        """Return the wheel."""
        return Artifact(filename=self.filename, sha256=self.sha256, size=self.size, urls=(self.url,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A package that a selection installs: from a locked wheel, or from one that is built."""

    package: Package
    name: str
    version: str
    wheel: Artifact | None = None
    source: Source | None = None

    @property
    def is_editable(self) -> bool:
        """Whether a project holds only what leads to it."""
        return bool(self.package.directory and self.package.directory.editable)


class Pins(Model):
    """The Python part of a lock."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    interpreters: Array[Interpreter]
    installers: Array[Installer] = ()
    conflicts: Array[Array[Text]] = ()  # sets of groups, of which one at a time is installed
    cool_down: CoolDown | None = None
    engine: Text = ""  # "uv 0.13.9": provenance
    lock: Pylock
    sources: Array[Source] = ()
    build: Pylock | None = None  # what building takes, in a group for each of them

    def interpreter(self, target: Target) -> Interpreter:
        """Return a target's Python."""
        return _of(self.interpreters, target, "interpreter")

    def installed_on(self, target: Target) -> list[Package]:
        """Return all that a target's environments may hold, whatever groups they take."""
        return self._on(self.lock, target, self.lock.dependency_groups or ())

    def build_packages(self, row: Source) -> list[Package]:
        """Return what building a package takes, on whatever target."""
        found = (
            self._on(self.build, Target.parse(one.target), (row.group,)) for one in self.interpreters if self.build
        )
        return list({id(package): package for packages in found for package in packages}.values())

    def _on(self, lock: Pylock, target: Target, groups: Iterable[str]) -> list[Package]:
        environment = platforms.environment(target, self.interpreter(target).version)
        place: Mapping[str, Any] = {
            **environment,
            "extras": frozenset(),
            "dependency_groups": frozenset(map(str, groups)),
        }
        return [
            package
            for package in lock.packages
            if package.marker is None or package.marker.evaluate(place, context="lock_file")
        ]

    def source(self, package: Package) -> Source | None:
        """Return how a package is built, if it can be."""
        wanted = package.name, building.key(package)
        return next((row for row in self.sources if (row.name, row.source) == wanted), None)

    def has_wheel(self, package: Package, target: Target) -> bool:
        """Say whether an index has a wheel of a package for a target."""
        interpreter = self.interpreter(target)
        accepted = {*platforms.tags(target, interpreter.version, interpreter.libc)}
        return any(platforms.wheel_tags(wheel.filename) & accepted for wheel in package.wheels or ())

    def version(self, package: Package) -> str:
        """Return a package's version; PEP 751 has none for one that comes from a tree of files."""
        row = None if package.version else self.source(package)
        return row.version if row else str(package.version or "")

    def select(self, selection: Selection) -> list[Chosen]:
        """Return what a selection installs, sorted by name.

        Raises:
            WrongUseError: There is no such group.
            LockFormatError: A selected package has no wheel for the target, and nothing says how to build one.

        """
        unknown = set(selection.groups) - set(self.lock.dependency_groups or ())
        if unknown:
            known = ", ".join(self.lock.dependency_groups or ()) or "none"
            raise WrongUseError(f"there is no group {', '.join(sorted(unknown))}", hint=f"Groups of the lock: {known}.")
        for apart in self.conflicts:
            both = sorted({*apart} & {*selection.groups})
            if len(both) > 1:
                raise WrongUseError(
                    f"the groups {' and '.join(both)} are solved apart",
                    hint="Choose one of them, or take one away: --no-group.",
                )
        chosen = self._chosen(self.lock, selection.target, selection.groups)
        nameless = sorted(row.name for row in chosen if not row.version)
        if nameless:
            raise LockFormatError(f"{FILE} has no version of {', '.join(nameless)}")
        lost = sorted(row.name for row in chosen if not (row.wheel or row.source))
        if lost:
            raise LockFormatError(f"{FILE} has no wheel for {selection.target} of {', '.join(lost)}")
        return chosen

    def build_wheels(self, row: Source, target: Target) -> list[Artifact]:
        """Return the wheels that building a package takes; raise ``LockFormatError`` where one is missing."""
        chosen = self._chosen(self.build, target, (row.group,)) if self.build and row.requires else []
        lost = sorted(found.name for found in chosen if not found.wheel)
        if lost:
            raise LockFormatError(f"{BUILD_FILE} has no wheel for {target} of {', '.join(lost)}")
        return [found.wheel for found in chosen if found.wheel]

    def _chosen(self, lock: Pylock, target: Target, groups: Sequence[str]) -> list[Chosen]:
        interpreter = self.interpreter(target)
        accepted = platforms.tags(target, interpreter.version, interpreter.libc)
        environment = platforms.environment(target, interpreter.version)
        filename = FILE if lock is self.lock else BUILD_FILE
        try:
            files = list(lock.select(environment=environment, tags=accepted, dependency_groups=groups))
        except PylockSelectError as error:
            raise LockFormatError(f"{filename} has nothing to install on {target}", cause=str(error)) from error
        except (InvalidVersion, UndefinedComparison, UndefinedEnvironmentName) as error:
            raise LockFormatError(f"{filename} has a marker that cannot be evaluated", cause=str(error)) from error
        found = []
        for package, file in sorted(files, key=lambda item: item[0].name):
            wheel = artifact(file) if isinstance(file, PackageWheel) else building.direct_wheel(package)
            is_direct = wheel is not None and not isinstance(file, PackageWheel)
            if wheel and is_direct and not platforms.wheel_tags(wheel.filename) & {*accepted}:
                raise LockFormatError(f"{filename} has no wheel for {target} of {package.name}", cause=wheel.filename)
            found.append(
                Chosen(
                    package=package,
                    name=str(package.name),
                    version=self.version(package),
                    wheel=wheel,
                    source=None if wheel else self.source(package),
                )
            )
        return found


def artifact(wheel: PackageWheel) -> Artifact:
    """Return a wheel as an artifact."""
    if "sha256" not in wheel.hashes:
        raise LockFormatError(f"{FILE} has no sha256 for {wheel.filename}")
    try:
        return Artifact(
            filename=wheel.filename,
            sha256=wheel.hashes["sha256"],
            size=wheel.size,
            urls=(wheel.url,) if wheel.url else (),
        )
    except ValueError as error:
        raise LockFormatError(f"{FILE} names a wheel that cannot be one", cause=str(error)) from error


def read(lock: LockFiles) -> tuple[Pins, Table]:
    """Return the pins of a lock and the inputs that they answer; raise ``LockFormatError``."""
    if FILE not in lock.files:
        raise TornLockError(f"{FILE} is missing", hint="Get it from version control, or run `dsenv lock`.")
    main, raw = pylock.loads(lock.files[FILE], FILE)
    build, asked = pylock.loads(lock.files.get(BUILD_FILE, _NO_BUILD), BUILD_FILE)
    try:
        pins = Pins.model_validate(
            {**lock.table, "engine": lock.provenance.get("engine", ""), "lock": main, "build": build}
        )
    except ValidationError as error:
        raise LockFormatError("the Python part of dsenv.lock is damaged", cause=describe(error)) from error
    building.check(main.packages)
    groups = table_of(_inputs(asked, BUILD_FILE), "requires", BUILD_FILE)
    if torn := sorted(row.name for row in pins.sources if list(row.requires) != groups.get(row.group)):
        raise TornLockError(
            f"{BUILD_FILE} is missing or another one: it does not say what building {', '.join(torn)} takes",
            hint="Get it from version control, or run `dsenv lock`.",
        )
    return pins if pins.sources else pins.model_copy(update={"build": None}), _inputs(raw, FILE)


def _inputs(raw: Table, filename: str) -> Table:
    return inputs_of(table_of(table_of(raw, "tool", filename), "dsenv", filename), filename)


_NO_BUILD: Final = f'lock-version = "1.0"\ncreated-by = "{CREATED_BY}"\npackages = []\n'


def write(pins: Pins, inputs: Table) -> LockFiles:
    """Return the pins as lock files."""
    table: Table = {
        "interpreters": [row.model_dump(by_alias=True, exclude_defaults=True) for row in pins.interpreters],
        "installers": [row.model_dump(by_alias=True, exclude_none=True) for row in pins.installers],
    }
    if pins.conflicts:
        table = {"conflicts": [list(names) for names in pins.conflicts], **table}
    if pins.cool_down:
        table["cool-down"] = {"min-age": pins.cool_down.min_age, "before": pins.cool_down.before}
    files = {FILE: pylock.dumps(pins.lock, inputs)}
    if pins.build:
        table["sources"] = [row.model_dump(by_alias=True, exclude_defaults=True) for row in pins.sources]
        requires = {row.group: list(row.requires) for row in pins.sources}
        files[BUILD_FILE] = pylock.dumps(pins.build, {"requires": requires})
    return LockFiles(table=table, provenance={"engine": pins.engine}, files=files)


def versions(pins: Pins) -> Mapping[str, str]:
    """Return the version of each package, and of Python where it is a build; where targets differ, all of them."""
    found: dict[str, dict[str, None]] = {}
    for row in pins.interpreters:
        if row.build:
            found.setdefault(PYTHON, {})[row.version] = None
    for package in pins.lock.packages:
        found.setdefault(package.name, {})[pins.version(package)] = None
    return {name: " / ".join(versions) for name, versions in sorted(found.items())}


def groups(pins: Pins) -> Sequence[str]:
    """Return the groups of packages."""
    return tuple(map(str, pins.lock.dependency_groups or ()))


def owns(filename: str, text: str) -> bool:
    """Say whether a ``pylock.toml`` was written by dsenv; any tool may write one."""
    try:
        return filename in {FILE, BUILD_FILE} and tomllib.loads(text).get("created-by") == CREATED_BY
    except (ValueError, RecursionError):
        return False


def artifacts(pins: Pins, selection: Selection, place: Place) -> tuple[Artifact, ...]:
    """Return the wheels that a place needs, the installer, and the interpreter where it is a build.

    What builds take is among their inputs.
    """
    chosen = pins.select(selection)
    editable = [row.source for row in chosen if row.source and row.is_editable and place.project]
    python = pins.interpreter(selection.target).build
    return (
        *(row.wheel for row in chosen if row.wheel),
        *(wheel for source in editable for wheel in pins.build_wheels(source, selection.target)),
        installer(pins, selection.target).artifact(),
        *([python.artifact()] if python else ()),
    )


def installer(pins: Pins, target: Target) -> Installer:
    """Return the uv that installs on a target."""
    return _of(pins.installers, target, "installer")


def check(pins: Pins, provided: Mapping[Target, Mapping[str, Provided]]) -> None:
    """Hold each interpreter against the system package that it is, or stands on; raise ``LockFormatError``."""
    for row in pins.interpreters:
        packages = provided.get(Target.parse(row.target), {})
        said = {name: version for name, version in ((row.package, row.version), (LIBC, row.libc)) if name and version}
        locked = {name: upstream(packages[name].version) if name in packages else "" for name in said}
        if locked != said:
            raise LockFormatError(
                f"dsenv.lock has Python {row.version} on libc {row.libc} for {row.target}, and "
                f"{', '.join(f'{name} {version}' for name, version in locked.items())} among its system packages"
            )


def upstream(version: str) -> str:
    """Return the upstream part of a Debian version: ``3.11.2`` of ``3.11.2-6+deb12u6``."""
    return version.rpartition(":")[2].rpartition("-")[0].partition("+")[0].partition("~")[0]


_Row = TypeVar("_Row", Interpreter, Installer)


def _of(rows: Iterable[_Row], target: Target, what: str) -> _Row:
    for row in rows:
        if row.target == str(target):
            return row
    raise LockFormatError(f"dsenv.lock has no {what} for {target}", hint="Run `dsenv lock`.")
