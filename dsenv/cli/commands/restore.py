"""``dsenv restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.errors import Exit

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.operations.restore import RestoreResult


@make("restore", short_help="Rebuild the locked environment in this project.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Install this group, too; may be repeated.")
def command(session: Session, groups: tuple[str, ...]) -> Report:
    """Rebuild the locked environment in the project's directory, without root and without touching the machine."""
    from dsenv.operations.restore import restore  # noqa: PLC0415

    project = session.project()
    result = restore(project, session.spec(project), session.store(), session.terminal, groups=groups)
    environment = result.environment
    return Report(lines=_lines(result), code=Exit.DONE if result.complete else Exit.INCOMPLETE, data={
        "id": environment.id, "mode": environment.mode, "path": environment.prefix, "unchanged": result.was_there,
        "complete": result.complete, "misfit": result.misfit, "notes": environment.notes,
        "base": {"equal": list(result.ground.equal), "newer": list(result.ground.newer),
                 "older": list(result.ground.older), "missing": list(result.ground.missing)},
    })


def _lines(result: RestoreResult) -> list[str]:
    environment = result.environment
    if result.was_there:
        return [f"environment {environment.id} is there and unchanged: nothing to do"]
    lines = [f"environment {environment.id} ({environment.mode} mode)", *(f"  {title}" for title in environment.titles)]
    if not result.misfit:
        lines.append(f"  the base below, on this machine: {result.ground}")
        for word, rows in (("newer", result.ground.newer), ("older", result.ground.older),
                           ("missing", result.ground.missing)):
            if rows:
                lines.append(f"    {word}: {', '.join(row.partition(' ')[0] for row in rows)} (--json has versions)")
    lines.extend(f"  not provided here: {note}" for note in environment.notes)
    if result.misfit:
        lines.append("the whole environment runs as an image: `dsenv docker`, then `dsenv run --image -- COMMAND`")
    return lines
