"""``dsenv run``: run a command in the environment, or in the image."""

from __future__ import annotations

import os
import shutil
from typing import IO, TYPE_CHECKING, Final

from dsenv.errors import DriftError, DsenvError, WrongUseError
from dsenv.outputs import project as output
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dsenv.outputs.project import Environment
    from dsenv.progress import Progress
    from dsenv.project import Project

_BELOW: Final = ("/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/")


def run(project: Project, argv: Sequence[str], progress: Progress, *, enter: bool = False) -> None:
    """Become ``argv`` in the project's environment; return only by raising.

    With ``enter``, and for programs that need it, the environment's tree lies over the machine's meanwhile.

    Raises:
        DriftError: There is no environment, or it is damaged.
        ToolError: The command cannot be started.

    """
    from dsenv.operations.restore import lock_hashes  # noqa: PLC0415

    environment = output.current(project)
    if environment is None:
        raise DriftError("there is no environment yet", hint="Run `dsenv restore`.")
    if environment.locks != lock_hashes(project.directory) and not _answers(project, environment):
        progress.warn("this environment is not that of the lock: `dsenv restore` brings it up to date")
    variables = environment.process_environment(os.environ)
    if stranger := _stranger(argv[0], environment, variables["PATH"]):
        progress.warn(f"{argv[0]} is not of this environment: {stranger} runs")
    _enter(argv[0], environment, progress, asked=enter)
    os.set_inheritable(output.use(environment.path), True)  # noqa: FBT003 - in use until the command ends
    process.replace_process(argv, variables)


def _enter(program: str, environment: Environment, progress: Progress, *, asked: bool) -> None:
    """Lay the environment's tree over the machine's if that is asked for, or needed by a program."""
    name = program.rpartition("/")[2]
    why = environment.true_paths.get(name, "")
    if not (asked or why):
        return
    from dsenv.outputs.overlay import lay_over  # noqa: PLC0415

    if environment.mode != "project":
        refusal = "this environment has no tree of system packages"
    else:
        refusal = lay_over(environment.path / "root")
    if refusal and asked:
        raise DsenvError(
            "the environment's tree cannot be laid over /usr here",
            cause=refusal,
            hint="It takes user namespaces, which some machines forbid; an image has true paths, too: `dsenv docker`.",
        )
    if refusal:
        progress.warn(f"{name} may fail: {why}, and the environment's tree cannot be laid over that here ({refusal})")


def _stranger(name: str, environment: Environment, path: str) -> str:
    """Return the program that a name stands for if it is neither of the environment nor of the system below."""
    found = "" if "/" in name else shutil.which(name, path=path) or ""
    return "" if found.startswith((f"{environment.prefix}/", *_BELOW)) else found


def _answers(project: Project, environment: Environment) -> bool:
    """Say whether locks whose files changed still ask for this environment; reading them takes its time."""
    from dsenv import locks  # noqa: PLC0415
    from dsenv.operations.selection import select  # noqa: PLC0415
    from dsenv.pins import Groups, Target  # noqa: PLC0415

    try:
        selected = select(
            locks.read(project.directory), Target.parse(environment.target), Groups(named=tuple(environment.groups))
        )
    except DsenvError:
        return False
    return selected.id == environment.id


def run_in_image(
    project: Project,
    argv: Sequence[str],
    directory: Path,
    *,
    tag: str,
    stdin: IO[bytes] | None,
    write: Callable[[bytes, bool], None],
) -> int:
    """Run ``argv`` in a new container of the project's image and return its exit code.

    The project's directory is mounted; files are written as this user.

    Args:
        project: Whose image it is.
        argv: The command.
        directory: The working directory, in the project.
        tag: The image's name.
        stdin: What the command reads.
        write: Given each piece of output, and whether it is from stderr.

    """
    from dsenv.outputs.image import WORKDIR  # noqa: PLC0415
    from dsenv.tools import engine as engines  # noqa: PLC0415

    with engines.connect() as engine:
        if engine.image(tag) is None:
            raise WrongUseError(f"the engine has no image {tag}", hint="Build it with `dsenv docker`.")
        return engine.run(
            tag,
            argv,
            mount=(project.directory, WORKDIR),
            directory=f"{WORKDIR}/{directory.resolve().relative_to(project.directory)}",
            user=f"{os.getuid()}:{os.getgid()}",
            env={"HOME": "/tmp"},  # noqa: S108 - in the container, where the user of this machine has no home
            stdin=stdin,
            write=write,
        )
