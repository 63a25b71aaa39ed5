"""``dsenv lock --accept-repack``: take what the addresses of a package serve now, instead of what is locked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dsenv import locks
from dsenv.ecosystems import ECOSYSTEMS
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.foreign import Repack
    from dsenv.locks import Locks
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.store import Store


def accept(project: Project, store: Store, progress: Progress, packages: Sequence[str]) -> tuple[str, ...]:
    """Accept other bytes of packages, by their names with or without their ecosystem, and return the files written."""
    with project.busy(progress):
        held = locks.read(project.directory)
        for package in packages:
            kind, _, name = package.rpartition(":")
            held = _accepted(held, kind, name, store, progress)
        changed, _ = locks.write(project.directory, held)
    return tuple(changed)


def _accepted(held: Locks, kind: str, name: str, store: Store, progress: Progress) -> Locks:
    for row in ECOSYSTEMS:
        if kind in {"", row.name} and row.name in held.parts:
            part = held.parts[row.name]
            if name not in row.versions(part.pins):
                continue
            found: Repack | None = row.repacked(part.pins, name, store)
            if found is None:
                progress.say(f"{name} is served as it is locked: there is nothing to accept")
                return held
            if not found.harmless:
                progress.warn(f"{found.error.sentence}\n{found.error.cause}")
            return replace(held, parts={**held.parts, row.name: replace(part, pins=found.pins)})
    raise WrongUseError(f"no package {name} is locked", hint="Name it as the lock does: r:dplyr.")
