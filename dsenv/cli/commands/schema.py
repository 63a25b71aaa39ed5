"""``dsenv schema``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dsenv.cli.report import Report
from dsenv.cli.session import command as make

if TYPE_CHECKING:
    from dsenv.cli.session import Session


@make("schema", short_help="Print the JSON schema of dsenv.toml.")
def command(session: Session) -> Report:
    """Print the JSON schema of dsenv.toml, from which editors complete."""
    del session
    from dsenv.spec import schema  # noqa: PLC0415

    found = schema()
    return Report(lines=[json.dumps(found, indent=2)], data=found)
