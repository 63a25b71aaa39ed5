"""The ecosystems, one folder each.

To add one: a folder whose package satisfies ``dsenv.ecosystem.Ecosystem``, and a line in this table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystem import Opened
from dsenv.ecosystems import python, r, system

if TYPE_CHECKING:
    from dsenv.ecosystem import Ecosystem, Foundation

    FOUNDATION: Foundation = system
    ECOSYSTEMS: tuple[Ecosystem, ...] = (system, python, r)
else:
    FOUNDATION, *_ = ECOSYSTEMS = tuple(map(Opened, (system, python, r)))
    """In the order of installation."""
