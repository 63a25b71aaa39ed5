"""``dsenv restore``: rebuild the locked environment in the project's directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsenv import locks, tree
from dsenv.ecosystem import GroundCheck
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import DriftError
from dsenv.operations.selection import Selected, host_target, select
from dsenv.outputs import project as output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.outputs.project import Environment
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store

_KEPT = 2  # generations: the current one and the one before
_SHOWN = 5  # differences that a warning names


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreResult:
    """What restoring did."""

    environment: Environment
    ground: GroundCheck
    misfit: str = ""  # why this is not the whole environment, if it is not
    was_there: bool = False  # nothing had to be done

    @property
    def complete(self) -> bool:
        """Whether the environment is all that the lock promises for a project."""
        return not self.misfit and not self.ground.missing


def restore(
    project: Project, spec: Spec, store: Store, progress: Progress, *, groups: Sequence[str] = ()
) -> RestoreResult:
    """Make the locked environment the current one.

    Args:
        project: Where it comes to lie.
        spec: What the locks must answer.
        store: Where artifacts come from and go to.
        progress: Told what is going on.
        groups: Which groups to install beyond what belongs to none.

    """
    held = locks.read(project.directory)
    locks.check_fresh(spec, held)
    selected = select(held, host_target(), groups)
    misfit = FOUNDATION.misfit(selected.ground, selected.selection.target)
    if misfit:
        progress.warn(f"{misfit}: only the Python packages are restored here, and system packages are only checked")
    mode: output.Mode = "host" if misfit else "project"
    ground = GroundCheck() if misfit else FOUNDATION.check_ground(selected.ground, selected.selection.target)
    with project.busy(progress):
        environment = _standing(project, selected, mode, progress)
        was_there = environment is not None
        if environment is None:
            environment = _build(project, selected, mode, store, progress)
    return RestoreResult(environment=environment, ground=ground, misfit=misfit, was_there=was_there)


def _standing(project: Project, selected: Selected, mode: output.Mode, progress: Progress) -> Environment | None:
    """Return the current environment if it is the one that is asked for, and whole."""
    try:
        environment = output.current(project)
        if environment is None or (environment.id, environment.mode) != (selected.id, mode):
            return None
        differences = output.changed(environment)
    except DriftError as error:
        progress.warn(f"{error.sentence}; it is built anew")
        return None
    if differences:
        named = ", ".join(f"{item.path} ({item.what})" for item in differences[:_SHOWN])
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        progress.warn(f"the environment was changed by hand and is built anew: {named}{more}")
        return None
    return environment


def _build(
    project: Project, selected: Selected, mode: output.Mode, store: Store, progress: Progress
) -> Environment:
    _sweep(project, keep=_KEPT)
    place = output.next_place(project, selected.id, mode)
    store.fetch(selected.artifacts(place), progress)
    recipes = selected.recipes(place, store, progress)
    environment = output.build(
        recipes, place, store, progress, id=selected.id, mode=mode, target=str(selected.selection.target),
        groups=list(selected.selection.groups), locks=lock_hashes(project.directory),
    )
    project.make_current(environment.path)
    _sweep(project, keep=_KEPT)
    return environment


def lock_hashes(directory: Path) -> dict[str, str]:
    """Return the sha256 of each lock file that is there, by name."""
    return {
        path.name: tree.file_sha256(path) for path in sorted((directory / locks.FILE, *directory.glob("pylock*.toml")))
        if path.exists()
    }


def _sweep(project: Project, *, keep: int) -> None:
    """Delete unfinished environments and all but the newest ``keep``, but none that is in use."""
    current = project.current()
    if not project.environments.is_dir():
        return
    paths = sorted(project.environments.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    finished = [path for path in paths if output.is_finished(path) and path != current]
    for path in paths:
        spare = path not in finished or path in finished[keep - 1:]
        if path != current and spare and not output.in_use(path):
            tree.remove(path)
