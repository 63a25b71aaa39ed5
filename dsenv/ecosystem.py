"""The contract between dsenv and an ecosystem: five rooms, each a noun that a user would say.

``spec``      what may a person write?
``resolve``   which exact packages is that today, and what do they need from others?
``pins``      what is locked, how is it written?
``install``   which steps put it in place?
``probe``     what is there now?

An ecosystem is a folder whose package satisfies ``Ecosystem``; ``dsenv.ecosystems.ECOSYSTEMS`` is the one table of
them. The first of the table is the foundation: it also answers ``survey``, and its resolution is what the others
stand on. Ecosystems never import each other: needs and provides pass as the values below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from dsenv.errors import LockFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from pydantic import BaseModel

    from dsenv.builds import Build, Built
    from dsenv.foreign import Adopted, Repack, Translation
    from dsenv.network import Network
    from dsenv.pins import Artifact, Need, Provided, Selection, Target
    from dsenv.progress import Progress
    from dsenv.steps import Place, Recipe
    from dsenv.store import Store
    from dsenv.tree import Tree

Table = dict[str, Any]
"""A TOML table as ``tomllib`` reads it."""


def table_of(document: Table, key: str, filename: str) -> Table:
    """Return a table of a lock file, an empty one where there is none; raise ``LockFormatError`` for anything else."""
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise LockFormatError(f"{filename} is damaged", cause=f"{key} is not a table")
    return value


def inputs_of(document: Table, filename: str) -> Table:
    """Return the recorded inputs of a part: values that have a form in JSON, because a digest covers them."""
    inputs = table_of(document, "inputs", filename)
    if not _is_plain(inputs):
        raise LockFormatError(f"{filename} is damaged", cause="its inputs are not texts, numbers, lists and tables")
    return inputs


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, str | int | float)


class Offer(Protocol):
    """What a target's distribution has on offer, before anything is solved."""

    def candidate(self, name: str) -> str | None:
        """Return the version that a package would be installed in, or ``None`` when there is none."""

    def near(self, name: str) -> tuple[str, ...]:
        """Return names on offer that look like ``name``, the nearest first."""

    def providing(self, soname: str) -> str | None:
        """Return the package that brings a shared library (``libgomp.so.1``), or ``None`` when none is known to."""

    def libraries(self, names: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the packages whose shared libraries are linked when one builds with each (``libgdal-dev``)."""

    @property
    def label(self) -> str:
        """Return the distribution for a person: ``debian bookworm``."""

    @property
    def whole(self) -> bool:
        """Whether it is all that the distribution has, not only what is locked of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What of ``[platform]`` and ``[project]`` every ecosystem may depend on."""

    base: str
    targets: tuple[Target, ...]
    locale: str
    timezone: str
    as_of: date | None = None  # indexes count as they stood at the end of that day, UTC
    after_as_of: tuple[str, ...] = ()  # "pillow==12.3.0": taken although newer


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """Which of an ecosystem's pins are not to be kept."""

    everything: bool = False
    names: frozenset[str] = frozenset()
    security: bool = False  # also those of which the distribution has a mended version

    def releases(self, name: str) -> bool:
        """Say whether a package's version may move although nothing forces it."""
        return self.everything or name in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``resolve`` is given.

    ``provided`` blocks until the foundation has been resolved; an ecosystem that can do without it resolves beside.
    """

    spec: Any  # the ecosystem's own model
    platform: Platform
    previous: Sequence[Any]  # the ecosystem's pins as they are locked, to be preferred; both sides after a merge
    upgrade: Upgrade
    offers: Mapping[Target, Offer]
    needs: Sequence[Need]  # all ecosystems' needs; only the foundation answers them
    provided: Callable[[], Mapping[Target, Mapping[str, Provided]]]
    store: Store
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What ``resolve`` answers."""

    pins: Any  # the ecosystem's own model


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFiles:
    """An ecosystem's share of the locks: its tables in ``dsenv.lock`` and whole files of its own."""

    table: Table
    provenance: Table = field(default_factory=dict)  # what the pins were resolved with: part of no digest
    files: dict[str, str] = field(default_factory=dict)  # by name in the project's directory
    exports: dict[str, str] = field(default_factory=dict)  # the same, for files that nothing reads back


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What ``probe`` says a recipe's programs leave behind.

    Paths are below the place's prefix; in an image below ``/``.
    """

    tree: Tree = field(default_factory=dict)  # files that come from locked artifacts
    # Written by an installer: path -> by whom and why. A path that ends in "/" is all that nobody else brings below it.
    generated: Mapping[str, str] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)  # a known difference: path -> its reason
    inside: Mapping[str, str] = field(default_factory=dict)  # the same, where an image has built it by itself
    owned: tuple[str, ...] = ()  # directories in which nothing else may lie, an image's bytecode aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """The shared libraries that an ecosystem's packages take from elsewhere, and those that they bring themselves."""

    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # package -> sonames that none of them has
    bundled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # soname -> packages with one of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplier:
    """The system package that a shared library comes from."""

    package: str  # the locked one; where none is, what the distribution would call it
    locked: bool = False
    asked_for: bool = False  # by something else than a dependency of a system package
    base: bool = False


class Ecosystem(Protocol):
    """One ecosystem; a package of ``dsenv.ecosystems`` is its implementation."""

    @property
    def name(self) -> str:
        """Its table in dsenv.toml and in dsenv.lock: ``python``."""

    @property
    def title(self) -> str:
        """What a person calls it: ``Python``."""

    @property
    def files(self) -> Sequence[str]:
        """Names of the lock files that are its own: ``pylock.toml``."""

    @property
    def Spec(self) -> type[BaseModel]:  # noqa: N802 - a class, as a package exports it
        """The model of its table in dsenv.toml."""

    def expand(self, spec: Any, directory: Path) -> Any:
        """Return ``spec`` with what other files of the project say, those that it takes over."""

    def unsupported(self, spec: Any, platform: Platform) -> Sequence[tuple[tuple[str | int, ...], str]]:
        """Return what a valid spec asks for that cannot be done, by path below its table, each in a sentence."""

    def inputs(self, spec: Any, platform: Platform) -> Table:
        """Return what of the spec decides the resolution, in canonical form: recorded beside the pins."""

    def network(self, spec: Any | None) -> Network:
        """Return what the tools of this ecosystem know of the way to servers, those of a spec among them."""

    def needs(self, spec: Any, offers: Mapping[Target, Offer], previous: Sequence[Any]) -> tuple[Need, ...]:
        """Return the system packages that are needed whatever the resolution will be.

        Args:
            spec: Its own model.
            offers: What each target's distribution has; of a lock alone where nothing else is to move.
            previous: Its pins as they are locked.

        Raises:
            ResolutionError: There is no such package; or only the distribution, not the lock, can tell.

        """

    def resolve(self, request: Request) -> Resolution:
        """Find the exact packages."""

    def read(self, lock: LockFiles) -> tuple[Any, Table]:
        """Return a lock's pins with their provenance, and the inputs they answer; raise ``LockFormatError``."""

    def check(self, pins: Any, provided: Mapping[Target, Mapping[str, Provided]]) -> None:
        """Hold the pins against the locked system packages that they name; raise ``LockFormatError``."""

    def write(self, pins: Any, inputs: Table) -> LockFiles:
        """Return the pins, and the inputs that they answer, as lock files in canonical form."""

    def revealed(self, pins: Any, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
        """Return the system packages that only the resolution revealed."""

    def versions(self, pins: Any) -> Mapping[str, str]:
        """Return the version of each package, by the name that a person would upgrade it by."""

    def groups(self, pins: Any) -> Sequence[str]:
        """Return the groups that the lock has, by normalized names."""

    def owns(self, filename: str, text: str) -> bool:
        """Say whether a file of its own, or an export, was written by dsenv and by nobody since."""

    def adopt(self, files: Mapping[str, str]) -> Adopted | None:
        """Return what another tool's lock file pins, or ``None``; raise ``LockFormatError`` for a damaged one."""

    def obstacles(self, directory: Path) -> Sequence[str]:
        """Return what in a project's directory stands in the environment's way, each with the way out."""

    def translate(self, filename: str, text: str) -> Translation | None:
        """Return what another tool's lock says, for a first dsenv.toml; ``None`` when it is none of this ecosystem."""

    def repacked(self, pins: Any, which: Artifact | str, store: Store) -> Repack | None:
        """Return what the addresses of an artifact, or of a package by its name, serve now, if that is another file.

        ``None`` as well when it is not one of those that are repacked.
        """

    @property
    def exports(self) -> Sequence[str]:
        """The forms in which other tools read its pins: ``requirements``."""

    def export(self, form: str, pins: Any, selections: Sequence[Selection]) -> str:
        """Return the pins of all selections, one a target, in one of its ``exports``."""

    def canonical(self, pins: Any) -> object:
        """Return what of the pins the lock digest covers: everything but addresses and provenance."""

    def artifacts(self, pins: Any, selection: Selection, place: Place) -> tuple[Artifact, ...]:
        """Return the files that a place needs."""

    def identity(self, pins: Any, selection: Selection) -> object:
        """Return what the environment id covers: the selected artifacts' hashes."""

    def builds(self, pins: Any, selection: Selection, place: Place) -> Sequence[Build]:
        """Return what has to be built of the selection, each after those that it needs; ``place`` is a workshop."""

    def recorded(self, pins: Any, selection: Selection, built: Mapping[str, Built]) -> Any:
        """Return the pins with what came of the builds that are to be recorded, by their names."""

    def delivered(self, pins: Any, directory: Path) -> Any:
        """Return the pins as an image takes them: what a project only leads to is what lies in its directory now."""

    def recipe(
        self,
        pins: Any,
        selection: Selection,
        place: Place,
        store: Store,
        progress: Progress,
        built: Mapping[str, Built],
    ) -> Recipe:
        """Return the steps that put the selected packages in place; their artifacts are in the store.

        ``built`` has what came of its ``builds``, by name.
        """

    def expectation(
        self, pins: Any, selection: Selection, place: Place, store: Store, built: Mapping[str, Built]
    ) -> Expectation:
        """Return the files that the recipe's programs leave behind, read from artifacts checked on the way.

        What a step says by itself (``Unpack``, ``Write``, …) is not repeated here.
        """

    def libraries(self, pins: Any, selection: Selection, store: Store, built: Mapping[str, Built]) -> Libraries:
        """Return which shared libraries the selected packages take from the system; their artifacts are in the store.

        An ecosystem whose packages name all that they need has none to tell.
        """
