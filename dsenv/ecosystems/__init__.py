"""The ecosystems, one folder each.

To add one: a folder whose package satisfies ``dsenv.ecosystem.Ecosystem``, and its name in this table.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dsenv.ecosystems import python, r, system

if TYPE_CHECKING:
    from types import ModuleType

    from dsenv.ecosystem import Ecosystem
    from dsenv.foundation import Foundation


class Opened:
    """An ecosystem's package with its rooms behind doors: each is imported when the first of its doors is used.

    Most commands need few rooms, and all of them together take a tenth of a second.

    Args:
        package: Its ``DOORS`` say which room answers what: one of its own, or another module. The rest is its own.

    """

    def __init__(self, package: ModuleType) -> None:
        self._package = package
        self._rooms = {door: room for room, doors in package.DOORS.items() for door in doors}

    def __getattr__(self, name: str) -> Any:
        if name not in self._rooms:
            return getattr(self._package, name)
        where = self._rooms[name]
        room = importlib.import_module(where if where.startswith("dsenv.") else f"{self._package.__name__}.{where}")
        self.__dict__[name] = getattr(room, name)  # so that it is looked up once
        return self.__dict__[name]


if TYPE_CHECKING:
    FOUNDATION: Foundation = system
    ECOSYSTEMS: tuple[Ecosystem, ...] = (system, python, r)
else:
    FOUNDATION, *_ = ECOSYSTEMS = tuple(map(Opened, (system, python, r)))
    """In the order of installation."""
