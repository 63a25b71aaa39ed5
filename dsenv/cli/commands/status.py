"""``dsenv status``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.errors import Exit

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.operations.status import Status

_LOCK = {
    "fresh": "answers dsenv.toml",
    "stale": "does not answer dsenv.toml: run `dsenv lock`",
    "missing": "there is none yet: run `dsenv lock`",
}
_ENVIRONMENT = {
    "current": "is that of the lock",
    "outdated": "is not that of the lock: run `dsenv restore`",
    "damaged": "is damaged: run `dsenv restore`",
    "missing": "there is none yet: run `dsenv restore`",
}


@make("status", short_help="Say how dsenv.toml, the lock and the environment stand to each other.")
def command(session: Session) -> Report:
    """Say how dsenv.toml, the lock and the environment stand to each other; nothing is changed."""
    from dsenv.operations.status import status  # noqa: PLC0415

    project = session.project()
    found = status(project, session.spec(project))
    code = Exit.DONE
    if found.lock != "fresh":
        code = Exit.STALE_LOCK
    elif found.environment != "current":
        code = Exit.DRIFT
    return Report(lines=_lines(found), data=asdict(found), code=code)


def _lines(found: Status) -> list[str]:
    lines = [" ".join(filter(None, ("lock        ", found.digest[:16], _LOCK[found.lock])))]
    lines.extend(f"               {difference}" for difference in found.differences)
    lines.append(" ".join(filter(None, ("environment ", found.environment_id[:16], _ENVIRONMENT[found.environment]))))
    if found.trouble:
        lines.append(f"               {found.trouble}")
    lines.extend(f"               {title}" for title in found.titles)
    lines.extend(f"               {sentence}" for sentence in found.differs)
    lines.extend(f"               not provided here: {note}" for note in found.notes)
    if found.mode:
        lines.append(f"mode         {found.mode}")
    if found.base and sum(map(len, found.base.by_word().values())):
        lines.append(f"base         on this machine: {found.base}")
    if found.misfit:
        lines.append(f"here         {found.misfit}")
    return lines
