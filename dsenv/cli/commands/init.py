"""``dsenv init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.session import Session


@make("init", short_help="Write a commented first dsenv.toml.")
@click.option("--name", default="", help="The project's name; the directory's by default.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Another tool's lock, whose versions become pins: renv.lock, rv.lock or pak's pkg.lock.",
)
def command(session: Session, *, name: str, source: Path | None) -> Report:
    """Write a commented first dsenv.toml into the directory."""
    from dsenv.operations.init import init  # noqa: PLC0415

    result = init(session.directory, name=name, source=source)
    path, taken = result.path, result.taken
    if taken is None:
        lines = [f"wrote {path}: say what the project needs, then run `dsenv lock`"]
    else:
        lines = [
            f"wrote {path} with the {taken.count} versions of {taken.tool}: look through it, then run `dsenv lock`"
        ]
        lines += [f"could not be kept: {sentence}" for sentence in taken.lost]
    return Report(lines=lines, data={"file": str(path), "lost": list(taken.lost) if taken else []})
