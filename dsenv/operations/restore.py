"""``dsenv restore``: rebuild the locked environment in the project's directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsenv import __version__, locks, tree
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import DriftError, writing
from dsenv.ground import GroundCheck
from dsenv.operations import build, libraries, strictness
from dsenv.operations.selection import Selected, host_target, select
from dsenv.outputs import project as output
from dsenv.pins import NO_GROUPS
from dsenv.progress import Silent

if TYPE_CHECKING:
    from dsenv.outputs.project import Environment
    from dsenv.outputs.workshop import Workshop
    from dsenv.pins import Artifact, Groups
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store

_KEPT = 2  # generations: the current one and the one before
_SHOWN = 5  # differences that a warning names


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What restoring would do."""

    selected: Selected
    mode: output.Mode
    misfit: str  # why this cannot be the whole environment, if it cannot
    ground: GroundCheck
    standing: Environment | None  # the environment that is there already, and whole
    missing: tuple[Artifact, ...]  # what has to be downloaded
    workshop: Workshop | None  # where some of it is built from source

    @property
    def builds(self) -> tuple[str, ...]:
        """What has to be built, for a person."""
        return tuple(order.build.title for order in self.workshop.lacking) if self.workshop else ()


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


def plan(
    project: Project,
    spec: Spec,
    store: Store,
    progress: Progress,
    *,
    groups: Groups = NO_GROUPS,
    strict: bool = False,
) -> RestorePlan:
    """Return what restoring would do; nothing is changed.

    Args:
        project: Where the environment comes to lie.
        spec: What the locks must answer.
        store: Where artifacts come from and go to.
        progress: Told what is going on.
        groups: Which groups to install beyond what belongs to none.
        strict: Whether anything else than what is locked is an error.

    """
    held = locks.read_fresh(project.directory, spec)
    selected = select(held, host_target(), groups)
    misfit = FOUNDATION.misfit(selected.ground, selected.selection.target)
    ground = GroundCheck() if misfit else FOUNDATION.check_ground(selected.ground, selected.selection.target)
    if strict:
        strictness.insist(misfit=misfit, ground=ground)
    if misfit:
        progress.warn(f"{misfit}: only the Python packages are restored here, and system packages are only checked")
    mode: output.Mode = "host" if misfit else "project"
    standing = _standing(project, selected, mode, progress)
    if strict and standing:
        strictness.insist(differs=standing.differs)
    place = output.next_place(project, selected.id, mode)
    workshop = None if standing else build.workshop(selected, place, store, progress)
    missing = () if standing else store.missing(selected.artifacts(place))
    return RestorePlan(
        selected=selected,
        mode=mode,
        misfit=misfit,
        ground=ground,
        standing=standing,
        missing=(*missing, *(workshop.missing() if workshop else ())),
        workshop=workshop,
    )


def restore(
    project: Project,
    spec: Spec,
    store: Store,
    progress: Progress,
    *,
    groups: Groups = NO_GROUPS,
    strict: bool = False,
) -> RestoreResult:
    """Make the locked environment the current one; the arguments are those of ``plan``."""
    with project.busy(progress):
        wanted = plan(project, spec, store, progress, groups=groups, strict=strict)
        environment = wanted.standing or _build(project, wanted, store, progress, strict=strict)
        if environment.path != project.current():
            project.make_current(environment.path)
        _sweep(project, keep=_KEPT)
    return RestoreResult(
        environment=environment,
        ground=wanted.ground,
        misfit=wanted.misfit,
        was_there=wanted.standing is not None,
    )


def _standing(project: Project, selected: Selected, mode: output.Mode, progress: Progress) -> Environment | None:
    """Return the environment that is asked for if it is there and whole: the current one, or one from before."""
    current = project.current()
    others = [path for path in output.generations(project) if path != current and output.is_finished(path)]
    for path in [*([current] if current else []), *others]:
        if environment := _whole(path, selected, mode, progress if path == current else Silent()):
            return environment
    return None


def _whole(path: Path, selected: Selected, mode: output.Mode, progress: Progress) -> Environment | None:
    """Return the environment at ``path`` if it is the one that is asked for, and as it was built."""
    try:
        environment = output.read(path)
        if (environment.id, environment.mode) != (selected.id, mode):
            return None
        if environment.made_by != __version__:
            progress.say(f"the environment was made by dsenv {environment.made_by} and is built anew by {__version__}")
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


def _build(project: Project, wanted: RestorePlan, store: Store, progress: Progress, *, strict: bool) -> Environment:
    selected, mode = wanted.selected, wanted.mode
    _sweep(project, keep=_KEPT)
    place = output.next_place(project, selected.id, mode)
    with selected.explaining(store):
        built = build.make(wanted.workshop, selected, place)
        store.fetch(selected.artifacts(place), progress)
    if mode == "project":
        libraries.warn(selected, store, progress, built)
    recipes = selected.recipes(place, store, progress, built)
    differs = [sentence for recipe in recipes for sentence in recipe.differs]
    if strict:
        strictness.insist(differs=differs)
    for sentence in differs:
        progress.warn(sentence)
    path = Path(place.prefix)
    try:
        with writing(path):
            environment = output.build(
                recipes,
                place,
                store,
                progress,
                id=selected.id,
                mode=mode,
                target=str(selected.selection.target),
                groups=list(selected.selection.groups),
                locks=lock_hashes(project.directory),
            )
    except BaseException:
        tree.remove(path)
        raise
    return environment


def lock_hashes(directory: Path) -> dict[str, str]:
    """Return the sha256 of each lock file that is there, by name."""
    return {
        path.name: tree.file_sha256(path)
        for path in sorted(directory / name for name in locks.names())
        if path.exists()
    }


def _sweep(project: Project, *, keep: int) -> None:
    """Delete unfinished environments and all but the newest ``keep``, but none that is in use."""
    current = project.current()
    paths = output.generations(project)
    finished = [path for path in paths if output.is_finished(path) and path != current]
    for path in paths:
        spare = path not in finished or path in finished[keep - 1 :]
        if path != current and spare and not output.in_use(path):
            output.discard(project, path)
