"""``dsenv docker``: write the Dockerfile with its context, and build the image."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dsenv import locks, tree
from dsenv.ecosystems import ECOSYSTEMS
from dsenv.errors import WrongUseError, writing
from dsenv.operations import build as building
from dsenv.operations import libraries
from dsenv.operations.selection import host_target, select
from dsenv.operations.trust import check_root
from dsenv.outputs import image
from dsenv.pins import NO_GROUPS
from dsenv.tools import engine as engines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.builds import Results
    from dsenv.locks import Locks
    from dsenv.operations.selection import Selected
    from dsenv.pins import Groups, Target
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.steps import Recipe
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerResult:
    """What was made."""

    context: Path
    tag: str
    environment_id: str
    image_id: str = ""  # empty when nothing was built
    learned: bool = False  # whether the lock now holds the system layer's digest


def docker(
    project: Project,
    spec: Spec,
    store: Store,
    progress: Progress,
    target: Target,
    *,
    groups: Groups = NO_GROUPS,
    build: bool = True,
    frozen: bool = False,
    plain: Path | None = None,
    trust_lock: bool = False,
) -> DockerResult:
    """Make an image of the locked environment, or only what it is built from.

    What has to be built from source is built here and copied. An image does it by itself where that cannot be, as this
    machine is of another kind, and where its reader has nothing from here.

    Args:
        project: Its ``.dsenv/image`` is made anew.
        spec: What the locks must answer, and what the image has beyond the environment.
        store: Where artifacts come from.
        progress: Told what is going on.
        target: For which machine.
        groups: Which groups to install beyond what belongs to none.
        build: Whether to build it, or only to write the Dockerfile and its context.
        frozen: Write nothing into the lock, not even a digest that was not known before.
        plain: Write the context into this directory, and leave artifacts to the build to fetch; it is not built here.
        trust_lock: As root, run scripts of packages that no signed file lists, too.

    """
    held = locks.read_fresh(project.directory, spec)
    selected = select(held, target, groups).delivered(project.directory)
    for name in spec.image.copy_:
        image.check_copy(project.directory, name)  # before minutes of work
    place = image.PLACE if plain is None else image.ALONE
    context = project.home / "image" if plain is None else _own(plain)
    with engines.connect() if build and plain is None else nullcontext() as engine, project.busy(progress):
        if engine and engine.architecture != target.architecture:
            raise WrongUseError(
                f"the engine builds for linux-{engine.architecture}, not for {target}",
                hint="Write the context with --no-build, and build it where the engine is of that kind.",
            )
        with selected.explaining(store):
            made = _made(selected, store, progress, inside=plain is not None)
            store.fetch(selected.artifacts(place), progress)
        libraries.warn(selected, store, progress, made)
        if not trust_lock:
            check_root(selected, spec, place, store, progress)
        recipes = selected.recipes(place, store, progress, made)
        jobs = building.inside(selected, recipes, store, progress)
        held, learned = (held, False) if frozen else _learn(project, held, selected, recipes)
        wanted = about(
            project, spec, replace(selected, locks=held).delivered(project.directory), recipes, inside=bool(jobs)
        )
        progress.update("writing the context")
        tree.remove(context)
        with writing(context):
            context.mkdir(parents=True)
            image.write_context(context, recipes, wanted, project.directory, store, jobs, plain=plain is not None)
        tag = image.tag(spec.project.name, selected.id)
        built = ""
        if engine:
            built = engine.build(context, tag=tag, labels=wanted.labels(), on_line=progress.say)
    return DockerResult(context=context, tag=tag, environment_id=selected.id, image_id=built, learned=learned)


def _own(directory: Path) -> Path:
    """Return a directory that may be made anew; raise ``WrongUseError`` when it holds what somebody else wrote."""
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    if names and not (image.is_ours(directory) and names <= {*image.NAMES, *(row.name for row in ECOSYSTEMS)}):
        raise WrongUseError(f"{directory} holds files that dsenv has not written", hint="Name a directory of its own.")
    return directory


def _made(selected: Selected, store: Store, progress: Progress, *, inside: bool) -> Results:
    """Return what was built, here and now or before; what an image builds by itself is left out.

    Args:
        selected: What the image holds.
        store: Where results are kept.
        progress: Told what is going on.
        inside: Whether it builds all that it can.

    """
    whole = None if inside else building.workshop(selected, image.PLACE, store, progress)
    inside = inside or bool(whole and whole.lacking and selected.selection.target != host_target())
    found = building.workshop(selected, image.PLACE, store, progress, leave=True) if inside else whole
    return building.make(found, selected, image.PLACE)


def _learn(project: Project, held: Locks, selected: Selected, recipes: Sequence[Recipe]) -> tuple[Locks, bool]:
    """Write into the lock what only making the inputs could tell: the digest of the system layer."""
    parts = dict(held.parts)
    for (ecosystem, _), recipe in zip(selected.parts(), recipes, strict=True):
        if recipe.learned is not None:
            parts[ecosystem.name] = replace(parts[ecosystem.name], pins=recipe.learned)
    if parts == held.parts:
        return held, False
    wiser = replace(held, parts=parts)
    locks.write(project.directory, wiser)
    return wiser, True


def about(project: Project, spec: Spec, selected: Selected, recipes: Sequence[Recipe], *, inside: bool) -> image.About:
    """Return what an image is called and what it holds beyond the environment."""
    files, _ = locks.render(selected.locks)
    return image.About(
        name=spec.project.name,
        id=selected.id,
        digest=selected.locks.digest(),
        base=spec.platform.base,
        epoch=max(recipe.epoch for recipe in recipes),
        command=spec.image.command,
        ports=spec.image.ports,
        copy=spec.image.copy_,
        inside=inside,
        locks={**files, project.spec.name: project.spec.read_text("utf-8")},
    )
