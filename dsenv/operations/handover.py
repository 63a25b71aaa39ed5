"""``dsenv store``: hand what was built from source to another store, and take it from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dsenv import locks
from dsenv.builds import PLACE
from dsenv.errors import WrongUseError
from dsenv.operations import build
from dsenv.operations.selection import select
from dsenv.outputs import handover
from dsenv.pins import NO_GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.outputs.workshop import Order
    from dsenv.pins import Groups, Target
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store

Way = Literal["export", "import"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverResult:
    """What was handed over."""

    handed: Sequence[str]  # for a person: "dplyr 1.1.4"
    lacking: Sequence[str]  # what the lock wants built and this side still does not have


def hand_over(
    project: Project,
    spec: Spec,
    store: Store,
    progress: Progress,
    way: Way,
    directory: Path,
    *,
    target: Target,
    groups: Groups = NO_GROUPS,
) -> HandoverResult:
    """Write what the lock wants built into a directory, as far as it was, or take it from there.

    Args:
        project: The one whose lock it is about.
        spec: What that must answer.
        store: The one that has it, or is to have it.
        progress: Told what is going on.
        way: Which of both.
        directory: Where the files are.
        target: For which machine.
        groups: Which groups of packages beyond what belongs to none are asked for.

    """
    if way == "import" and not directory.is_dir():
        raise WrongUseError(f"there is no directory {directory}")
    selected = select(locks.read_fresh(project.directory, spec), target, groups)
    workshop = build.workshop(selected, PLACE, store, progress)
    if workshop is None:
        return HandoverResult(handed=(), lacking=())
    handed = (handover.export if way == "export" else handover.take)(workshop, directory)
    del workshop.orders  # as it is now
    return HandoverResult(handed=_titles(handed), lacking=_titles(workshop.lacking))


def _titles(orders: Sequence[Order]) -> tuple[str, ...]:
    return tuple(order.build.title for order in orders)
