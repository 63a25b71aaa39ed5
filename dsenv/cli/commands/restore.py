"""``dsenv restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.errors import Exit, WrongUseError
from dsenv.pins import NO_GROUPS

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.ground import HostPlan
    from dsenv.operations.restore import RestorePlan, RestoreResult
    from dsenv.pins import Groups


@make("restore", short_help="Rebuild the locked environment in this project.")
@group_options
@click.option(
    "--strict", is_flag=True, help="Fail where this machine can only have something else than what is locked."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--system", is_flag=True, help="Install what this machine lacks of the system packages, as root.")
@click.option("--trust-lock", is_flag=True, help="With --system: take packages that no signed source here has.")
def command(session: Session, *, groups: Groups, strict: bool, dry_run: bool, system: bool, trust_lock: bool) -> Report:
    """Rebuild the locked environment in the project's directory, without root and without touching the machine.

    With --system, install the locked system packages on the machine itself instead: nothing is removed, nothing goes
    back to an older version.
    """
    if system:
        return _system(session, groups, dry_run=dry_run, trust_lock=trust_lock)
    if trust_lock:
        raise WrongUseError("--trust-lock is for --system", hint="Anywhere else the lock's hashes decide anyway.")
    from dsenv.operations.restore import plan, restore  # noqa: PLC0415

    project = session.project()
    spec = session.spec(project)
    store = session.store(spec)
    if dry_run:
        return _planned(plan(project, spec, store, session.terminal, groups=groups, strict=strict))
    return report(restore(project, spec, store, session.terminal, groups=groups, strict=strict))


def report(result: RestoreResult) -> Report:
    """Return what restoring did, for a person and for a program."""
    environment = result.environment
    return Report(
        lines=_lines(result),
        code=Exit.DONE if result.complete else Exit.INCOMPLETE,
        data={
            "id": environment.id,
            "mode": environment.mode,
            "path": environment.prefix,
            "unchanged": result.was_there,
            "complete": result.complete,
            "misfit": result.misfit,
            "notes": environment.notes,
            "differs": environment.differs,
            "base": {word: list(rows) for word, rows in result.ground.by_word().items()},
        },
    )


def _system(session: Session, groups: Groups, *, dry_run: bool, trust_lock: bool) -> Report:
    from dsenv.operations.restore_system import is_administrator, restore_system  # noqa: PLC0415

    if groups != NO_GROUPS:
        raise WrongUseError("--group is not for --system", hint="The system packages of all groups are one set.")
    project = session.project()
    spec = session.spec(project)
    plan = restore_system(project, spec, session.store(spec), session.terminal, dry_run=dry_run, trust_lock=trust_lock)
    return system_report(plan, acts=not dry_run and is_administrator(), dry_run=dry_run)


def system_report(plan: HostPlan, *, acts: bool, dry_run: bool) -> Report:
    """Return what became of the machine; older or missing rows are a difference, newer ones are what updates make."""
    lines = [f"the locked system packages on this machine: {plan.after if acts else plan.before}"]
    rows = (plan.after if acts else plan.before).by_word()
    lines.extend(f"  {word}: {row}" for word in ("newer", "older", "replaced", "missing") for row in rows[word])
    lines.extend(f"  {'installed' if acts else 'would be installed'}: {change}" for change in plan.changes)
    lines.extend(f"  left as it is: {reason}" for reason in plan.left)
    differs = bool(plan.after.older or plan.after.missing)
    code = Exit.DRIFT if differs else Exit.DONE
    if dry_run:
        code = Exit.DONE
    elif plan.command and not acts:
        code = Exit.INCOMPLETE
        lines.append(f"an administrator installs them by: {plan.command}")
    return Report(
        lines=lines,
        code=code,
        data={
            "changes": list(plan.changes),
            "done": acts,
            "left": list(plan.left),
            "command": plan.command,
            "before": {word: list(names) for word, names in plan.before.by_word().items()},
            "after": {word: list(names) for word, names in plan.after.by_word().items()},
        },
    )


def _planned(wanted: RestorePlan) -> Report:
    size = sum(artifact.size or 0 for artifact in wanted.missing)
    lines = [f"environment {wanted.selected.id} ({wanted.mode} mode)"]
    if wanted.standing:
        lines.append("  is there and unchanged: nothing to do")
    else:
        lines.append(f"  {len(wanted.missing)} files to download, {size / 1e6:.1f} MB")
        lines.extend(f"  {title} is built from source" for title in wanted.builds)
        lines.append("  then a new environment is built in .dsenv/envs and made the current one")
    return Report(
        lines=lines,
        data={
            "id": wanted.selected.id,
            "mode": wanted.mode,
            "misfit": wanted.misfit,
            "unchanged": wanted.standing is not None,
            "download": [artifact.filename for artifact in wanted.missing],
            "size": size,
            "build": list(wanted.builds),
        },
    )


def _lines(result: RestoreResult) -> list[str]:
    environment = result.environment
    if result.was_there:
        return [f"environment {environment.id} is there and unchanged: nothing to do"]
    lines = [f"environment {environment.id} ({environment.mode} mode)", *(f"  {title}" for title in environment.titles)]
    if not result.misfit:
        lines.append(f"  the base below, on this machine: {result.ground}")
        for word, rows in result.ground.by_word().items():
            if rows and word != "equal":
                lines.append(f"    {word}: {', '.join(row.partition(' ')[0] for row in rows)}")
    lines.extend(f"  not provided here: {note}" for note in environment.notes)
    if result.misfit:
        lines.append("the whole environment runs as an image: `dsenv docker`, then `dsenv run --image -- COMMAND`")
    return lines
