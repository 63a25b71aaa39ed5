"""``dsenv lock``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.session import Session


@make("lock", short_help="Pin every Python, R and system package, with hashes.")
@click.option("--upgrade", is_flag=True, help="Prefer no existing pin: take the newest of everything.")
@click.option("--locked", is_flag=True, help="Fail if the lock would have to change.")
def command(session: Session, *, upgrade: bool, locked: bool) -> Report:
    """Bring the locks up to dsenv.toml; what it does not force to move stays."""
    from dsenv.operations.lock import lock  # noqa: PLC0415

    project = session.project()
    result = lock(project, session.spec(project), session.store(), session.terminal, upgrade=upgrade, locked=locked)
    lines = [f"lock {result.digest}"]
    if result.was_fresh:
        lines.append("the lock answers dsenv.toml: nothing to do")
    else:
        lines.extend(f"wrote {name}" for name in result.changed)
        if not result.changed:
            lines.append("every pin is as it was: no file changed")
        lines.extend(f"left alone: {name}, which is not dsenv's" for name in result.foreign)
    return Report(
        lines=lines,
        data={
            "digest": result.digest,
            "changed": list(result.changed),
            "foreign": list(result.foreign),
            "fresh": result.was_fresh,
        },
    )
