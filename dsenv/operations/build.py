"""What of a selection has to be built from source is built, before anything is installed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dsenv.builds import PLACE
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import BuildError
from dsenv.operations.selection import host_target, select
from dsenv.pins import NO_GROUPS, Groups, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.builds import Build, Results
    from dsenv.locks import Locks
    from dsenv.operations.selection import Selected
    from dsenv.outputs.workshop import Workshop
    from dsenv.progress import Progress
    from dsenv.steps import Place
    from dsenv.store import Store


def workshop(
    selected: Selected, place: Place, store: Store, progress: Progress, *, record: bool = False
) -> Workshop | None:
    """Return the workshop in which a selection's builds are made, or ``None`` when it has none.

    Args:
        selected: What is to be installed.
        place: Where that will be. Who brings nothing to it needs nothing built for it.
        store: Where artifacts come from, and results go to.
        progress: Told what is going on.
        record: Whether only those builds count whose results are to be written into the lock.

    """
    pins, selection = selected.ground, selected.selection
    takers = [
        (ecosystem, own)
        for ecosystem, own in selected.parts()
        if place.kind != "host" or ecosystem.artifacts(own, selection, place)
    ]

    def builds(at: Place) -> dict[str, Sequence[Build]]:
        found = {ecosystem.name: ecosystem.builds(own, selection, at) for ecosystem, own in takers}
        return {name: _recorded(all_) if record else all_ for name, all_ in found.items()}

    if not any(builds(PLACE).values()):
        return None
    from dsenv.outputs.workshop import Demand, Root, Workshop  # noqa: PLC0415 - most projects build nothing

    def root(names: Sequence[str]) -> Root:
        rows = FOUNDATION.seen(pins, selection, names)
        return Root(
            key=digest(FOUNDATION.workshop(rows, selection)),
            artifacts=FOUNDATION.artifacts(rows, selection, PLACE),
            recipe=lambda at: FOUNDATION.recipe(rows, selection, at, store, progress, {}),
        )

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
    target = selected.selection.target
    if found.lacking and target != host_target():
        names = ", ".join(order.build.title for order in found.lacking)
        raise BuildError(
            f"{names}: this machine is {host_target()}, and cannot build them from source for {target}",
            hint=f"Run it on a machine of the kind {target}.",
        )
    return found.make(meanwhile=selected.artifacts(place))


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
        if found.lacking and found.forbidden:
            progress.say(f"what has to be built is not recorded: no root can be entered here ({found.forbidden})")
            break
        try:
            built = found.make(compare=False)
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
