"""``dsenv remove``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.report import Report
    from dsenv.cli.session import Session


@make("remove", short_help="Take packages out of dsenv.toml, lock and restore.")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option("--group", default="", metavar="NAME", help="Take them out of this group.")
@click.option("--no-restore", is_flag=True, help="Only lock.")
def command(session: Session, *, packages: tuple[str, ...], group: str, no_restore: bool) -> Report:
    """Take packages out of dsenv.toml, lock and restore: pandas, r:dplyr, system:jq."""
    from dsenv import spec_edit  # noqa: PLC0415
    from dsenv.cli.editing import edit  # noqa: PLC0415

    entries = [spec_edit.Entry.parse(text) for text in packages]
    return edit(
        session, lambda text: spec_edit.remove(text, entries, group=group), group=group, restoring=not no_restore
    )
