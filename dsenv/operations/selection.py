"""What a command is about: this machine's target in the locks, the place for it, and each ecosystem's share."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dsenv.download import MismatchError
from dsenv.ecosystems import ECOSYSTEMS, FOUNDATION
from dsenv.errors import WrongUseError
from dsenv.pins import NO_GROUPS, Selection, Target, normal_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dsenv.builds import Results
    from dsenv.ecosystem import Ecosystem
    from dsenv.locks import Locks
    from dsenv.pins import Artifact, Groups
    from dsenv.progress import Progress
    from dsenv.steps import Place, Recipe
    from dsenv.store import Store

_OS = {"linux": "linux", "darwin": "macos", "win32": "windows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A selection of a lock, with each ecosystem's pins for it."""

    locks: Locks
    selection: Selection

    @property
    def id(self) -> str:
        """The environment id."""
        return self.locks.environment_id(self.selection)

    def parts(self) -> Iterator[tuple[Ecosystem, Any]]:
        """Yield each ecosystem of the lock and its pins, in the order of installation."""
        for ecosystem in ECOSYSTEMS:
            if ecosystem.name in self.locks.parts:
                yield ecosystem, self.locks.parts[ecosystem.name].pins

    def delivered(self, directory: Path) -> Selected:
        """Return it as an image of the project in a directory takes it."""
        held = self.locks
        parts = {
            ecosystem.name: replace(held.parts[ecosystem.name], pins=ecosystem.delivered(pins, directory))
            for ecosystem, pins in self.parts()
        }
        return replace(self, locks=replace(held, parts=parts))

    @property
    def ground(self) -> Any:
        """The foundation's pins."""
        return self.locks.parts[FOUNDATION.name].pins

    def artifacts(self, place: Place) -> list[Artifact]:
        """Return all files that a place needs."""
        return [item for ecosystem, pins in self.parts() for item in ecosystem.artifacts(pins, self.selection, place)]

    @contextlib.contextmanager
    def explaining(self, store: Store) -> Iterator[None]:
        """Say more of a file that is served in other bytes than those that are locked, if its ecosystem knows more."""
        try:
            yield
        except MismatchError as error:
            for ecosystem, pins in self.parts():
                if found := ecosystem.repacked(pins, error.artifact, store):
                    raise found.error from error
            raise

    def recipes(self, place: Place, store: Store, progress: Progress, built: Results) -> list[Recipe]:
        """Return all steps for a place; its artifacts are in the store."""
        return [
            ecosystem.recipe(pins, self.selection, place, store, progress, built.get(ecosystem.name, {}))
            for ecosystem, pins in self.parts()
        ]


def select(locks: Locks, target: Target, groups: Groups = NO_GROUPS) -> Selected:
    """Return a selection of ``locks``.

    Raises:
        WrongUseError: The locks have no such target, or no group of a name.

    """
    if target not in locks.targets:
        raise WrongUseError(
            f"the lock has no target {target}",
            cause=f"It is for {', '.join(map(str, locks.targets))}.",
            hint="Add it to [platform] targets and run `dsenv lock`.",
        )
    known = {name for row in ECOSYSTEMS if row.name in locks.parts for name in row.groups(locks.parts[row.name].pins)}
    unknown = {normal_group(name) for name in (*groups.named, *groups.without)} - known
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise WrongUseError(f"there is no group {', '.join(sorted(unknown))}", hint=f"Groups of the lock: {listed}.")
    return Selected(locks=locks, selection=Selection(target=target, groups=groups.of(known)))


def host_target() -> Target:
    """Return this machine's target, whether or not it is one that can be locked."""
    import platform  # noqa: PLC0415

    words = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
    machine = platform.machine()
    return Target(_OS.get(sys.platform, sys.platform), words.get(machine, machine))


def image_target(named: str | None) -> Target:
    """Return the target of an image: the one that is named, or else this machine's, where engines always run Linux."""
    return Target.parse(named) if named else Target("linux", host_target().architecture)
