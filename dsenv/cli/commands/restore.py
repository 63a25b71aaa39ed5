"""``dsenv restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.errors import Exit

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.operations.restore import RestorePlan, RestoreResult
    from dsenv.pins import Groups


@make("restore", short_help="Rebuild the locked environment in this project.")
@group_options
@click.option(
    "--strict", is_flag=True, help="Fail where this machine can only have something else than what is locked."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def command(session: Session, *, groups: Groups, strict: bool, dry_run: bool) -> Report:
    """Rebuild the locked environment in the project's directory, without root and without touching the machine."""
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
