"""Which package has what a build looked for in vain: a header, a library to link, a program."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

from dsenv.ecosystems.system import building
from dsenv.pins import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.ecosystems.system.pins import Pins
    from dsenv.pins import Target


def bringing(pins: Pins, target: Target, kind: str, name: str) -> str:
    """Return the package to add, or nothing when none is known to have it, or every build sees the one that has.

    Args:
        pins: The lock's system part.
        target: For which machine.
        kind: What is missing: ``header``, ``library``, ``program``, or ``package`` for one that is named already.
        name: ``curl/curl.h``; ``curl`` for ``-lcurl``; ``cmake``.

    """
    package = name if kind == "package" else _known(kind, name)
    root = building.seen(pins, Selection(target=target), ()).root(target)
    seen = {row.name for row in root.packages} if root else set()
    return "" if package in seen else package


def _known(kind: str, name: str) -> str:
    table: Mapping[str, Mapping[str, str]] = tomllib.loads(
        resources.files(__package__).joinpath("development.toml").read_text("utf-8")
    )
    if kind == "header" and re.fullmatch(r"(?:python[\d.]*/)?Python\.h", name):
        return "python3-dev"
    rows = table.get(kind, {})
    fitting = [key for key in rows if key == name or (key.endswith("/") and name.startswith(key))]
    if fitting:
        return rows[max(fitting, key=len)]
    return f"lib{name.lower().removeprefix('lib')}-dev" if kind == "library" else ""
