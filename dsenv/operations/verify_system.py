"""``dsenv verify --system``: hold a machine, or a root file system, against the locked system packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dsenv import locks
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import WrongUseError
from dsenv.operations.selection import host_target, select

if TYPE_CHECKING:
    from dsenv.ground import MachineCheck
    from dsenv.project import Project
    from dsenv.spec import Spec


def verify_system(project: Project, spec: Spec, root: str = "") -> MachineCheck:
    """Compare all locked system packages, their files, and what was chosen with this machine, or with ``root``.

    Raises:
        WrongUseError: There is no root file system of packages.

    """
    place = str(Path(root).resolve()) if root else ""
    if not Path(f"{place}/var/lib/dpkg/status").is_file():
        raise WrongUseError(f"{place or 'this machine'} has no packages of the apt family (/var/lib/dpkg/status)")
    selected = select(locks.read_fresh(project.directory, spec), host_target())
    return FOUNDATION.check_machine(selected.ground, selected.selection.target, "" if place == "/" else place)


def differs(found: MachineCheck, *, strict: bool = False) -> bool:
    """Say whether a machine differs from the lock.

    Unless one is strict, newer packages, edited settings and its locale don't count.
    """
    packages = found.packages
    if strict and (packages.newer or packages.replaced or found.configuration or found.settings):
        return True
    return bool(packages.older or packages.missing or found.changed or found.alternatives)
