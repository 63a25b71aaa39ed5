"""The command ``dsenv``: its subcommands, and the one place that decides how an error ends it."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Final

import click

from dsenv import __version__
from dsenv.cli import report
from dsenv.errors import DsenvError, Exit, InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    "init",
    "add",
    "remove",
    "lock",
    "restore",
    "run",
    "status",
    "verify",
    "docker",
    "export",
    "store",
    "schema",
)
"""In the order of the help; each is a module of ``dsenv.cli.commands`` with a ``command`` in it."""

_OS_HINTS: Final = {
    errno.ENOSPC: "Make room on that disk, then run it again; nothing that was there is lost.",
    errno.EACCES: "Give this user the right to write there, or choose another directory (DSENV_STORE for the store).",
    errno.EPERM: "Give this user the right to write there, or choose another directory (DSENV_STORE for the store).",
    errno.EROFS: "Choose a directory on a disk that can be written (DSENV_STORE for the store).",
}


class _Commands(click.Group):
    """Subcommands that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dsenv.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dsenv %(version)s")
def cli() -> None:
    """Lock, restore, image and prove the environment of a data-science project.

    dsenv.toml says which Python, R and system packages the project needs.

    Exit codes: 0 done; 1 failed; 2 wrong use or wrong file; 3 the lock does not answer dsenv.toml; 4 the environment
    differs from the lock; 5 done except for what an administrator or another mode must do; 130 interrupted.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    context = cli.make_context("dsenv", [], resilient_parsing=True)
    try:
        with cli.make_context("dsenv", list(sys.argv[1:] if argv is None else argv)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = Exit.WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        code = _end(context, InterruptedByUserError("interrupted"))
    except DsenvError as error:
        code = _end(context, error)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        code = Exit.FAILED
    except OSError as error:
        code = _end(context, _of_system(error))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug in dsenv
        code = _end(
            context,
            DsenvError(
                f"dsenv itself failed: {type(error).__name__}: {error}",
                hint="Please report it, with what --debug shows.",
            ),
        )
    sys.exit(code or 0)


def _interrupt(_number: int, _frame: object) -> None:
    """End the programs that threads are waiting for, then this one."""
    if process := sys.modules.get("dsenv.tools.process"):
        process.end_all()
    raise KeyboardInterrupt


def _end(context: click.Context, error: DsenvError) -> int:
    """Tell an error and return the exit code."""
    session, debug = context.find_root().obj or (None, "--debug" in sys.argv)
    terminal = session.terminal if session else report.Terminal()
    terminal.clear()
    if debug:
        traceback.print_exc()
    terminal.error(error)
    if session and session.as_json:
        report.show_error(session.command, error)
    return error.exit_code


def _of_system(error: OSError) -> DsenvError:
    """Return what the operating system refused, in a sentence."""
    place = error.filename2 or error.filename
    sentence = f"{place}: {error.strerror}" if place else str(error.strerror or error)
    return DsenvError(sentence, hint=_OS_HINTS.get(error.errno or 0, ""))
