"""``dsenv lock``."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.errors import WrongUseError
from dsenv.pins import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsenv.cli.session import Session
    from dsenv.operations.changes import Change
    from dsenv.operations.lock import LockResult

_SHOWN: Final = 30  # packages of a part that are named


@make("lock", short_help="Pin every Python, R and system package, with hashes.")
@click.option("--upgrade", is_flag=True, help="Prefer no existing pin: take the newest of everything.")
@click.option(
    "--upgrade-package", "packages", multiple=True, metavar="NAME", help="Only this one: pandas, r:dplyr, system:jq."
)
@click.option("--security", is_flag=True, help="Only system packages that the distribution has mended, by source.")
@click.option("--refresh", is_flag=True, help="Ask the indexes again, and keep the pins.")
@click.option(
    "--accept-repack",
    "repacks",
    multiple=True,
    metavar="NAME",
    help="Take what the addresses of this package serve now: r:metafor. Nothing else is done.",
)
@click.option("--locked", is_flag=True, help="Fail if the lock would have to change.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    metavar="TARGET=FILE",
    help="What the base image of a target has installed, where the engine has it for another: its dpkg status file.",
)
def command(
    session: Session,
    *,
    upgrade: bool,
    packages: tuple[str, ...],
    security: bool,
    refresh: bool,
    repacks: tuple[str, ...],
    locked: bool,
    statuses: tuple[str, ...],
) -> Report:
    """Bring the locks up to dsenv.toml; what it does not force to move stays."""
    from dsenv.operations.lock import lock  # noqa: PLC0415

    project = session.project()
    spec = session.spec(project)
    if repacks:
        from dsenv.operations import repack  # noqa: PLC0415

        changed = repack.accept(project, session.store(spec), session.terminal, repacks)
        return Report(lines=[f"wrote {name}" for name in changed], data={"changed": list(changed)})
    result = lock(
        project,
        spec,
        session.store(spec),
        session.terminal,
        upgrade=upgrade,
        packages=packages,
        security=security,
        refresh=refresh,
        locked=locked,
        statuses=dict(map(_status, statuses)),
    )
    return report(result, by_source=security)


def _status(text: str) -> tuple[Target, bytes]:
    """Read ``linux-arm64=status.txt``."""
    name, _, path = text.partition("=")
    try:
        return Target.parse(name), Path(path).read_bytes()
    except ValueError as error:
        raise WrongUseError(f"--status: {error}", hint="Write it as linux-arm64=FILE.") from error
    except OSError as error:
        raise WrongUseError(f"--status: {path or 'no file'} cannot be read", cause=str(error.strerror)) from error


def report(result: LockResult, *, by_source: bool = False) -> Report:
    """Return what locking did, for a person and for a program."""
    lines = [f"lock {result.digest}"]
    if result.was_fresh:
        lines.append("the lock answers dsenv.toml: nothing to do")
    else:
        lines.extend(_by_source(result.moved) if by_source else _table(result.moved))
        lines.extend(f"wrote {name}" for name in result.changed)
        if not result.changed:
            lines.append("every pin is as it was: no file changed")
        lines.extend(f"left alone: {name}, which is not dsenv's" for name in result.foreign)
    lines.extend(f"kept the other tool's {name} as {new}" for name, new in result.kept.items())
    return Report(
        lines=lines,
        data={
            "digest": result.digest,
            "changed": list(result.changed),
            "foreign": list(result.foreign),
            "kept": dict(result.kept),
            "fresh": result.was_fresh,
            "moved": [asdict(change) for change in result.moved],
        },
    )


def _table(moved: Sequence[Change]) -> Iterator[str]:
    """Yield what moved, a line a package; of a part that moved as a whole the first ones only."""
    for part, changes in groupby(moved, key=lambda change: change.part):
        rows = list(changes)
        width = max(len(change.name) for change in rows[:_SHOWN])
        for change in rows[:_SHOWN]:
            versions = " -> ".join(filter(None, (change.old, change.new)))
            yield f"  {part:7} {change.name:{width}}  {change.step:5}  {versions}"
        if len(rows) > _SHOWN:
            yield f"  {part:7} and {len(rows) - _SHOWN} more"


def _by_source(moved: Sequence[Change]) -> Iterator[str]:
    """Yield what moved, a line for each source package and pair of versions, all of them."""
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    for change in moved:
        key = (change.part, change.source or change.name, change.old, change.new, change.step)
        found.setdefault(key, []).append(change.name)
    for (part, source, old, new, step), names in found.items():
        versions = " -> ".join(filter(None, (old, new)))
        yield f"  {part:7} {source}  {step:5}  {versions}  {', '.join(names)}"
