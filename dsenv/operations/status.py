"""``dsenv status``: how the spec, the lock and the environment stand to each other. Nothing is changed or hashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dsenv import locks
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import DriftError, StaleLockError
from dsenv.operations.selection import host_target, select
from dsenv.outputs import project as output
from dsenv.pins import NO_GROUPS, Groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.ground import GroundCheck
    from dsenv.project import Project
    from dsenv.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The three and their relations."""

    lock: Literal["fresh", "stale", "missing"]
    differences: Sequence[str] = ()  # what the spec asks for and the lock does not answer
    digest: str = ""  # the lock digest
    environment: Literal["current", "outdated", "damaged", "missing"]
    environment_id: str = ""  # of the environment that is there
    locked_id: str = ""  # of the one that `restore` would make here
    mode: str = ""  # "project", "host"
    titles: Sequence[str] = ()
    notes: Sequence[str] = ()
    differs: Sequence[str] = ()  # what it has in place of what is locked
    misfit: str = ""  # why `restore` cannot make the whole environment here
    base: GroundCheck | None = None  # how the base rows compare with this machine
    trouble: str = ""  # what is wrong with a damaged environment


def status(project: Project, spec: Spec) -> Status:
    """Return how a project stands on this machine."""
    trouble = ""
    try:
        environment = output.current(project)
    except DriftError as error:
        environment, trouble = None, error.sentence
    about: dict[str, Any] = (
        {
            "environment_id": environment.id,
            "mode": environment.mode,
            "titles": environment.titles,
            "notes": environment.notes,
            "differs": environment.differs,
        }
        if environment
        else {}
    )
    state: Literal["current", "outdated", "damaged", "missing"]
    state = "outdated" if environment else "damaged" if trouble else "missing"
    try:
        held = locks.read(project.directory)
    except StaleLockError:
        return Status(lock="missing", environment=state, trouble=trouble, **about)
    differences = locks.differences(spec, held)
    locked_id = misfit = ""
    base = None
    target = host_target()
    if target in held.targets:
        selected = select(held, target, Groups(named=tuple(environment.groups)) if environment else NO_GROUPS)
        locked_id = selected.id
        misfit = FOUNDATION.misfit(selected.ground, target)
        base = None if misfit else FOUNDATION.check_ground(selected.ground, target)
        if environment and environment.id == locked_id and environment.mode == ("host" if misfit else "project"):
            state = "current"
    else:
        misfit = f"the lock has no target {target}"
    return Status(
        lock="stale" if differences else "fresh",
        differences=differences,
        digest=held.digest(),
        environment=state,
        locked_id=locked_id,
        misfit=misfit,
        base=base,
        trouble=trouble,
        **about,
    )
