"""What the commands that change ``dsenv.toml`` share: the edit, then the lock, then the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.cli.commands.lock import report as lock_report
from dsenv.cli.commands.restore import report as restore_report
from dsenv.cli.report import Report
from dsenv.operations.edit import edited
from dsenv.operations.lock import lock
from dsenv.operations.restore import restore
from dsenv.operations.selection import host_target
from dsenv.outputs import project as output
from dsenv.pins import Groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsenv.cli.session import Session


def edit(session: Session, change: Callable[[str], str], *, group: str, restoring: bool) -> Report:
    """Change ``dsenv.toml``, lock, and restore with the groups that the environment has, and ``group``."""
    project = session.project()
    with edited(project, change) as spec:
        store = session.store(spec)
        locked = lock_report(lock(project, spec, store, session.terminal))
    if not restoring or host_target() not in spec.platform.targets:
        return Report(lines=locked.lines, data={"lock": locked.data, "restore": None})
    environment = output.current(project)
    groups = Groups(named=(*(environment.groups if environment else ()), *([group] if group else ())))
    restored = restore_report(restore(project, spec, store, session.terminal, groups=groups))
    return Report(
        lines=[*locked.lines, *restored.lines],
        code=restored.code,
        data={"lock": locked.data, "restore": restored.data},
    )
