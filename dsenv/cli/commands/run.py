"""``dsenv run``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.session import Session


@make("run", short_help="Run a command in the environment.", context_settings={
    "ignore_unknown_options": True, "allow_interspersed_args": False,
})
@click.option("--image", is_flag=True, help="Run it in a new container of the project's image instead.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT ...]")
def command(session: Session, *, image: bool, argv: tuple[str, ...]) -> Report:
    """Run a command in the environment; its exit code becomes that of dsenv."""
    from dsenv.operations import run  # noqa: PLC0415

    project = session.project()
    if not image:
        run.run(project, argv, session.terminal)
    from dsenv import locks  # noqa: PLC0415
    from dsenv.operations.selection import host_target, select  # noqa: PLC0415
    from dsenv.outputs.image import tag  # noqa: PLC0415

    spec = session.spec(project)
    selected = select(locks.read(project.directory), host_target())

    def write(piece: bytes, from_stderr: bool) -> None:  # noqa: FBT001
        stream = sys.stderr.buffer if from_stderr else sys.stdout.buffer
        stream.write(piece)
        stream.flush()

    code = run.run_in_image(project, argv, tag=tag(spec.project.name, selected.id), write=write)
    return Report(lines=[], code=code)
