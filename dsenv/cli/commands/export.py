"""``dsenv export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.pins import TARGETS, Target

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.pins import Groups


@make("export", short_help="Print the pins in another tool's form.")
@click.argument("form")
@group_options
@click.option("--target", type=click.Choice(TARGETS), help="For this kind of machine.  [default: as this one]")
def command(session: Session, *, form: str, groups: Groups, target: str | None) -> Report:
    """Print the pins in another tool's form.

    FORM is requirements, a requirements.txt with hashes for pip and uv; or uv-constraints, a table for pyproject.toml
    that holds uv to the locked versions.
    """
    from dsenv.operations.export import export  # noqa: PLC0415

    project = session.project()
    named = Target.parse(target) if target else None
    text = export(project, session.spec(project), form, target=named, groups=groups)
    return Report(lines=text.splitlines(), data={"form": form, "text": text})
