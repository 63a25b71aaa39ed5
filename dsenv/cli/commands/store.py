"""``dsenv store``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.pins import TARGETS

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.operations.handover import Way
    from dsenv.pins import Groups


@make("store", short_help="Hand packages that were built from source to another store.")
@click.argument("way", type=click.Choice(["export", "import"]))
@click.argument("place", metavar="DIRECTORY", type=click.Path(path_type=Path, file_okay=False))
@group_options
@click.option(
    "--target",
    type=click.Choice([name for name in TARGETS if name.startswith("linux")]),
    help="Built for this kind of machine.  [default: as this one]",
)
def command(session: Session, *, way: str, place: Path, groups: Groups, target: str | None) -> Report:
    """Hand packages that were built from source to another store.

    With export, what the lock wants built and the store has is written into DIRECTORY, from where any web server or
    a disk may carry it on. With import, it is taken from there, checked, and need not be built: whoever can write into
    that directory decides what you get.
    """
    from dsenv.operations.handover import hand_over  # noqa: PLC0415
    from dsenv.operations.selection import image_target  # noqa: PLC0415

    project = session.project()
    spec = session.spec(project)
    result = hand_over(
        project,
        spec,
        session.store(spec),
        session.terminal,
        cast("Way", way),
        place,
        target=image_target(target),
        groups=groups,
    )
    verb = "written to" if way == "export" else "taken from"
    lines = [f"{len(result.handed)} packages {verb} {place}"]
    if result.lacking:
        lines.append(f"  not built yet: {', '.join(result.lacking)}")
    return Report(lines=lines, data={"handed": list(result.handed), "lacking": list(result.lacking)})
