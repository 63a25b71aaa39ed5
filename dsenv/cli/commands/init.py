"""``dsenv init``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.session import Session


@make("init", short_help="Write a commented first dsenv.toml.")
@click.option("--name", default="", help="The project's name; the directory's by default.")
def command(session: Session, name: str) -> Report:
    """Write a commented first dsenv.toml into the directory."""
    from dsenv.operations.init import init  # noqa: PLC0415

    path = init(session.directory, name=name)
    return Report(lines=[f"wrote {path}: say what the project needs, then run `dsenv lock`"], data={"file": str(path)})
