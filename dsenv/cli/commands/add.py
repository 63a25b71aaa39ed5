"""``dsenv add``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.report import Report
    from dsenv.cli.session import Session


@make("add", short_help="Add packages to dsenv.toml, lock and restore.")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@click.option("--group", default="", metavar="NAME", help="Add them to this group.")
@click.option("--no-restore", is_flag=True, help="Only lock.")
def command(session: Session, *, packages: tuple[str, ...], group: str, no_restore: bool) -> Report:
    """Add packages to dsenv.toml, lock and restore; where they cannot be locked, nothing is changed.

    A PACKAGE is written as in dsenv.toml: 'pandas>=2.2', r:dplyr, system:jq. One that is there already is replaced.
    """
    from dsenv import spec_edit  # noqa: PLC0415
    from dsenv.cli.editing import edit  # noqa: PLC0415

    entries = [spec_edit.Entry.parse(text) for text in packages]
    return edit(session, lambda text: spec_edit.add(text, entries, group=group), group=group, restoring=not no_restore)
