"""``dsenv restore --system``: install what this machine lacks of the locked system packages, by its own apt."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dsenv import locks
from dsenv.ecosystems import FOUNDATION
from dsenv.operations.selection import host_target, select

if TYPE_CHECKING:
    from dsenv.ground import HostPlan
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store


def restore_system(
    project: Project, spec: Spec, store: Store, progress: Progress, *, dry_run: bool = False, trust_lock: bool = False
) -> HostPlan:
    """Install what is missing or older, tell the plan first, and return what was found and done.

    Args:
        project: Whose lock it is.
        spec: What the lock must answer.
        store: Has the locked .debs, for ``trust_lock``.
        progress: Told the plan.
        dry_run: Change nothing; the same as for a user who is not root.
        trust_lock: Take .debs that no signed source of this machine has.

    """
    selected = select(locks.read_fresh(project.directory, spec), host_target())

    def agreed(plan: HostPlan) -> bool:
        if dry_run or not is_administrator():
            return False
        for change in plan.changes:
            progress.say(f"to be installed: {change}")
        return True

    return FOUNDATION.restore_host(
        selected.ground,
        spec.parts[FOUNDATION.name],
        selected.selection.target,
        store,
        progress,
        trust_lock=trust_lock,
        agreed=agreed,
    )


def is_administrator() -> bool:
    """Say whether this user may install packages."""
    return os.geteuid() == 0
