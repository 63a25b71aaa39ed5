"""``dsenv export``: the pins in another tool's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv import locks
from dsenv.ecosystems import ECOSYSTEMS
from dsenv.errors import WrongUseError
from dsenv.operations.selection import host_target, select
from dsenv.pins import NO_GROUPS

if TYPE_CHECKING:
    from dsenv.pins import Groups, Target
    from dsenv.project import Project
    from dsenv.spec import Spec


def export(project: Project, spec: Spec, form: str, *, target: Target | None = None, groups: Groups = NO_GROUPS) -> str:
    """Return the text of an export.

    Args:
        project: Its locks are read.
        spec: What they must answer.
        form: What the export is called: one of those that the ecosystems know.
        target: For this one alone; else for all, this machine's first.
        groups: With the packages of these groups, too.

    """
    row = next((row for row in ECOSYSTEMS if form in row.exports), None)
    if row is None:
        known = ", ".join(name for row in ECOSYSTEMS for name in row.exports)
        raise WrongUseError(f"there is no export {form}", hint=f"Exports: {known}.")
    held = locks.read_fresh(project.directory, spec)
    if row.name not in held.parts:
        raise WrongUseError(f"the lock has no {row.title} packages", hint=f"Add [{row.name}] to dsenv.toml.")
    targets = [target] if target else sorted(held.targets, key=lambda one: one != host_target())
    selections = [select(held, one, groups).selection for one in targets]
    return row.export(form, held.parts[row.name].pins, selections)
