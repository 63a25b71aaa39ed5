"""``dsenv run``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dsenv.cli.commands.docker import require_image, target_option
from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.pins import Groups


@make(
    "run",
    short_help="Run a command in the environment.",
    context_settings={"allow_interspersed_args": False},  # what follows the command is the command's
)
@click.option("--image", is_flag=True, help="Run it in a new container of the project's image instead.")
@click.option("--enter", is_flag=True, help="Lay the environment's files over /usr for it: all paths are true.")
@group_options
@target_option
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT ...]")
def command(
    session: Session, *, image: bool, enter: bool, groups: Groups, target: str | None, argv: tuple[str, ...]
) -> Report:
    """Run a command in the environment; its exit code becomes that of dsenv."""
    from dsenv.operations import run  # noqa: PLC0415

    project = session.project()
    if not image:
        require_image(groups, target)
        run.run(project, argv, session.terminal, enter=enter)
    if enter:
        raise WrongUseError("--enter and --image exclude each other", hint="In an image all paths are true anyway.")
    from dsenv import locks  # noqa: PLC0415
    from dsenv.operations.selection import image_target, select  # noqa: PLC0415
    from dsenv.outputs.image import tag  # noqa: PLC0415

    spec = session.spec(project)
    selected = select(locks.read(project.directory), image_target(target), groups).delivered(project.directory)

    def write(piece: bytes, from_stderr: bool) -> None:  # noqa: FBT001
        stream = sys.stderr.buffer if from_stderr else sys.stdout.buffer
        stream.write(piece)
        stream.flush()

    code = run.run_in_image(
        project,
        argv,
        session.directory,
        tag=tag(spec.project.name, selected.id),
        stdin=sys.stdin.buffer if sys.stdin and not sys.stdin.isatty() else None,
        write=write,
    )
    return Report(lines=[], code=code)
