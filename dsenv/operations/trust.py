"""Who vouches for what is locked: asked by ``dsenv verify --trust``, and before a package's scripts run as root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv import locks
from dsenv.ecosystems import FOUNDATION

if TYPE_CHECKING:
    from dsenv.operations.selection import Selected
    from dsenv.pins import Vouched
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.steps import Place
    from dsenv.store import Store


def trust(project: Project, spec: Spec, store: Store) -> list[Vouched]:
    """Return for each locked system package the signed file that leads to it, or why there is none."""
    held = locks.read_fresh(project.directory, spec)
    return list(FOUNDATION.vouched(held.parts[FOUNDATION.name].pins, spec.parts[FOUNDATION.name], store))


def check_root(selected: Selected, spec: Spec, place: Place, store: Store, progress: Progress) -> None:
    """Refuse to let scripts of packages that nobody vouches for run as root of this machine."""
    part = spec.parts[FOUNDATION.name]
    FOUNDATION.check_root(selected.ground, part, spec.platform, selected.selection, place, store, progress)
