"""What every command shares: its common options, and the project, spec and store that they lead to."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsenv.cli import report
from dsenv.pins import Groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsenv.cli.report import Report
    from dsenv.network import Network
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of one command."""

    command: str
    directory: Path
    as_json: bool
    offline: bool
    quiet: bool
    terminal: report.Terminal

    def project(self) -> Project:
        """Return the project that the command is about."""
        from dsenv import project  # noqa: PLC0415 - `--help` needs none of it

        return project.find(self.directory)

    def spec(self, project: Project) -> Spec:
        """Return what the project's author asks for."""
        from dsenv import spec  # noqa: PLC0415

        return spec.load(project.spec)

    def store(self, spec: Spec) -> Store:
        """Return the store of this user, which knows the way to the servers of a spec."""
        from dsenv import network, project, store  # noqa: PLC0415
        from dsenv.ecosystems import ECOSYSTEMS  # noqa: PLC0415

        def known() -> Network:  # most commands reach no server, and apt alone takes as long to ask as to read a lock
            return network.joined(row.network(spec.parts[row.name]) for row in ECOSYSTEMS)

        return store.Store(project.store_path(), offline=self.offline, network=known)


def command(name: str, **settings: Any) -> Callable[[Callable[..., Report]], click.Command]:
    """Make a subcommand of a function that takes a ``Session`` and the subcommand's own options."""

    def decorate(function: Callable[..., Report]) -> click.Command:
        @functools.wraps(function)
        @click.pass_context
        def wrapped(context: click.Context, /, **options: Any) -> None:
            session = _session(name, context, options)
            answer = function(session, **options)
            session.terminal.clear()
            if session.as_json or not session.quiet:
                report.show(name, answer, as_json=session.as_json)
            context.exit(answer.code)

        decorated: Callable[..., None] = wrapped
        for option in reversed(_COMMON):
            decorated = option(decorated)
        return click.command(name, click.Command, **settings)(decorated)

    return decorate


def group_options(function: Callable[..., Report]) -> Callable[..., Report]:
    """Give a command the options that choose groups, and hand it what they say as ``groups``."""

    @functools.wraps(function)
    def collected(
        session: Session, *, groups: tuple[str, ...], all_groups: bool, no_groups: tuple[str, ...], **options: Any
    ) -> Report:
        return function(session, groups=Groups(named=groups, everything=all_groups, without=no_groups), **options)

    decorated: Callable[..., Report] = collected
    for option in reversed(_GROUPS):
        decorated = option(decorated)
    return decorated


_GROUPS = (
    click.option("--group", "groups", multiple=True, metavar="NAME", help="With this group, too; may be repeated."),
    click.option("--all-groups", is_flag=True, help="With every group."),
    click.option(
        "--no-group", "no_groups", multiple=True, metavar="NAME", help="Without this one, whatever else is asked for."
    ),
)
_COMMON = (
    click.option(
        "-C",
        "--project",
        "directory",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        default=".",
        help="The project's directory, or one below it.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Answer as JSON."),
    click.option("--offline", is_flag=True, help="Use only what the store has."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors."),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Show the commands that are run, and what was taken from the machine's settings.",
    ),
    click.option("--no-color", is_flag=True, help="Use no colours; NO_COLOR does the same."),
    click.option("--debug", is_flag=True, help="Show a traceback when dsenv itself fails."),
)


def _session(name: str, context: click.Context, options: dict[str, Any]) -> Session:
    """Take the common options out of a command's and act on them."""
    quiet = options.pop("quiet")
    verbose = options.pop("verbose")
    terminal = report.Terminal(quiet=quiet, color=not options.pop("no_color"), verbose=verbose)
    session = Session(
        command=name,
        directory=options.pop("directory"),
        as_json=options.pop("as_json"),
        offline=options.pop("offline"),
        quiet=quiet,
        terminal=terminal,
    )
    debug = options.pop("debug")
    if verbose:
        from dsenv.tools import process  # noqa: PLC0415

        process.trace = lambda line: terminal.say(f"+ {line}")
    context.find_root().obj = (session, debug)
    return session
