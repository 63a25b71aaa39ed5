"""``dsenv verify --trust``: who vouches for what is locked, from kept files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv import locks
from dsenv.ecosystems import FOUNDATION

if TYPE_CHECKING:
    from dsenv.pins import Vouched
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store


def trust(project: Project, spec: Spec, store: Store) -> list[Vouched]:
    """Return for each locked system package the signed file that leads to it, or why there is none."""
    held = locks.read_fresh(project.directory, spec)
    return list(FOUNDATION.vouched(held.parts[FOUNDATION.name].pins, spec.parts[FOUNDATION.name], store))
