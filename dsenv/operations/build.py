"""What of a selection has to be built from source is built, before anything is installed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dsenv.builds import PLACE
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import BuildError
from dsenv.operations.selection import host_target, select
from dsenv.pins import NO_GROUPS, Artifact, Groups, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.builds import Build, Results
    from dsenv.locks import Locks
    from dsenv.operations.selection import Selected
    from dsenv.outputs.inside import Job
    from dsenv.outputs.workshop import Root, Workshop
    from dsenv.progress import Progress
    from dsenv.steps import Place, Recipe
    from dsenv.store import Store


def workshop(
    selected: Selected, place: Place, store: Store, progress: Progress, *, record: bool = False, leave: bool = False
) -> Workshop | None:
    """Return the workshop in which a selection's builds are made, or ``None`` when it has none.

    Args:
        selected: What is to be installed.
        place: Where that will be. Who brings nothing to it needs nothing built for it.
        store: Where artifacts come from, and results go to.
        progress: Told what is going on.
        record: Whether only those builds count whose results are to be written into the lock.
        leave: Whether those do not count that an image can make by itself.

    """
    pins, selection = selected.ground, selected.selection
    takers = [
        (ecosystem, own)
        for ecosystem, own in selected.parts()
        if place.kind != "host" or ecosystem.artifacts(own, selection, place)
    ]

    def builds(at: Place) -> dict[str, Sequence[Build]]:
        found = {ecosystem.name: ecosystem.builds(own, selection, at) for ecosystem, own in takers}
        if leave:
            found = {name: [build for build in all_ if not build.in_image] for name, all_ in found.items()}
        return {name: _recorded(all_) if record else all_ for name, all_ in found.items()}

    if not any(builds(PLACE).values()):
        return None
    from dsenv.outputs.workshop import Demand, Workshop  # noqa: PLC0415 - most projects build nothing

    def root(names: Sequence[str]) -> Root:
        return _root(selected, names, store, progress)

    return Workshop(
        Demand(
            root=root if FOUNDATION.workshop(pins, selection) is not None else None,
            misfit=FOUNDATION.misfit(pins, selection.target),
            builds=builds,
            suggest=lambda lost: FOUNDATION.bringing(pins, selection.target, lost.kind, lost.name),
        ),
        store,
        progress,
    )


def _root(selected: Selected, names: Sequence[str], store: Store, progress: Progress) -> Root:
    """Return the root for builds that see the system packages of these names."""
    from dsenv.outputs.workshop import Root  # noqa: PLC0415

    selection = selected.selection
    rows = FOUNDATION.seen(selected.ground, selection, names)
    return Root(
        key=digest(FOUNDATION.workshop(rows, selection)),
        artifacts=FOUNDATION.artifacts(rows, selection, PLACE),
        recipe=lambda at: FOUNDATION.recipe(rows, selection, at, store, progress, {}),
    )


def inside(selected: Selected, recipes: Sequence[Recipe], store: Store, progress: Progress) -> list[Job]:
    """Return what an image has to build by itself, since its recipes wait for it.

    Args:
        selected: What it holds.
        recipes: The steps that put that in place, and what they wait for.
        store: The packages that are needed to build come into it.
        progress: Told what is going on.

    """
    if not any(recipe.pending for recipe in recipes):
        return []
    from dsenv.outputs.inside import Job  # noqa: PLC0415

    jobs: list[Job] = []
    roots: dict[tuple[str, ...], Recipe] = {}
    for (ecosystem, pins), recipe in zip(selected.parts(), recipes, strict=True):
        wanted = {item.build: item.name for item in recipe.pending}
        for build in ecosystem.builds(pins, selected.selection, PLACE) if wanted else ():
            if build.sees not in roots:
                root = _root(selected, build.sees, store, progress)
                store.fetch(root.artifacts, progress)
                roots[build.sees] = root.recipe(PLACE)
            jobs.append(Job(recipe=recipe.name, build=build, root=roots[build.sees], result=wanted[build.name]))
    store.fetch(
        [item.source for job in jobs for item in job.build.inputs if isinstance(item.source, Artifact)], progress
    )
    return jobs


def perform(selected: Selected, place: Place, store: Store, progress: Progress) -> Results:
    """Build what has to be built of a selection for a place, and return all results; raise as ``make`` does."""
    return make(workshop(selected, place, store, progress), selected, place)


def make(found: Workshop | None, selected: Selected, place: Place) -> Results:
    """Return what comes of a selection's workshop, if it has one, for a place.

    Raises:
        BuildError: Something could not be built, or this machine is of another kind.

    """
    if found is None:
        return {}
    from dsenv.outputs import building  # noqa: PLC0415 - most projects build nothing

    target = selected.selection.target
    if found.lacking and target != host_target():
        names = ", ".join(order.build.title for order in found.lacking)
        raise BuildError(
            f"{names}: this machine is {host_target()}, and cannot build them from source for {target}",
            hint=f"Run it on a machine of the kind {target}.",
        )
    return building.make(found, meanwhile=selected.artifacts(place))


def record(held: Locks, store: Store, progress: Progress) -> Locks:
    """Return a lock with what came of the builds that are to be recorded, as far as they can be made here.

    Args:
        held: The lock.
        store: Where artifacts come from, and results go to.
        progress: Told what is going on.

    """
    target = host_target()
    if target not in held.targets:
        return held
    names = sorted({name for row, pins in select(held, target).parts() for name in row.groups(pins)})
    for chosen in (NO_GROUPS, *(Groups(named=(name,)) for name in names)):
        selected = select(held, target, chosen)
        found = workshop(selected, PLACE, store, progress, record=True)
        if found is None:
            continue
        from dsenv.outputs import building  # noqa: PLC0415 - as above

        if found.lacking and found.forbidden:
            progress.say(f"what has to be built is not recorded: no root can be entered here ({found.forbidden})")
            break
        try:
            built = building.make(found, compare=False)
        except BuildError as error:
            progress.warn(f"{error.sentence}: `dsenv restore` will fail, too")
            for line in error.cause.splitlines():
                progress.say(f"  {line}")
            break
        parts = dict(held.parts)
        for ecosystem, pins in selected.parts():
            if results := built.get(ecosystem.name):
                learned = ecosystem.recorded(pins, selected.selection, results)
                parts[ecosystem.name] = replace(parts[ecosystem.name], pins=learned)
        held = replace(held, parts=parts)
    return held


def _recorded(builds: Sequence[Build]) -> list[Build]:
    """Return the builds that are to be recorded, and those that they need."""
    wanted: set[str] = set()
    for build in reversed(builds):
        if build.record or build.name in wanted:
            wanted.update((build.name, *build.after))
    return [build for build in builds if build.name in wanted]
