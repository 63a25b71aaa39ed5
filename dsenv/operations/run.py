"""``dsenv run``: run a command in the environment, or in the image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dsenv.errors import DriftError, DsenvError, WrongUseError
from dsenv.outputs import project as output
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsenv.outputs.project import Environment
    from dsenv.progress import Progress
    from dsenv.project import Project


def run(project: Project, argv: Sequence[str], progress: Progress) -> None:
    """Become ``argv`` in the project's environment; return only by raising.

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
    os.set_inheritable(output.use(environment.path), True)  # noqa: FBT003 - in use until the command ends
    process.replace_process(argv, environment.process_environment(os.environ))


def _answers(project: Project, environment: Environment) -> bool:
    """Say whether locks whose files changed still ask for this environment; reading them takes its time."""
    from dsenv import locks  # noqa: PLC0415
    from dsenv.operations.selection import select  # noqa: PLC0415
    from dsenv.pins import Target  # noqa: PLC0415

    try:
        selected = select(locks.read(project.directory), Target.parse(environment.target), environment.groups)
    except DsenvError:
        return False
    return selected.id == environment.id


def run_in_image(
    project: Project, argv: Sequence[str], *, tag: str, write: Callable[[bytes, bool], None]
) -> int:
    """Run ``argv`` in a new container of the project's image and return its exit code.

    The project's directory is mounted as the working directory; files are written as this user.
    """
    from dsenv.tools import engine as engines  # noqa: PLC0415

    engine = engines.connect()
    if engine.image(tag) is None:
        raise WrongUseError(f"the engine has no image {tag}", hint="Build it with `dsenv docker`.")
    user = f"{os.getuid()}:{os.getgid()}"
    return engine.run(
        tag, argv, mount=(project.directory, "/work"), user=user, env={"HOME": "/tmp"}, write=write  # noqa: S108
    )
