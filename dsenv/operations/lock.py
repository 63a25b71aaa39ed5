"""``dsenv lock``: find the exact packages of all ecosystems, side by side where they can, and write them down."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsenv import locks
from dsenv.ecosystem import Request
from dsenv.ecosystems import ECOSYSTEMS, FOUNDATION
from dsenv.errors import DownloadError, StaleLockError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.ecosystem import Ecosystem, Offer, Resolution
    from dsenv.locks import Locks, Part
    from dsenv.pins import Need, Target
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class LockResult:
    """What locking did."""

    locks: Locks
    digest: str
    changed: tuple[str, ...] = ()  # names of files that were written
    foreign: tuple[str, ...] = ()  # names of exports that are somebody else's
    was_fresh: bool = False  # nothing was resolved, since the lock answers the spec


def lock(
    project: Project, spec: Spec, store: Store, progress: Progress, *, upgrade: bool = False, locked: bool = False
) -> LockResult:
    """Bring the locks up to the spec.

    Args:
        project: Where they lie.
        spec: What they are to answer.
        store: Where artifacts that have to be read come to lie.
        progress: Told what is going on.
        upgrade: Prefer no existing pin.
        locked: Fail when the locks would have to change.

    """
    previous = locks.read_previous(project.directory)
    if fresh := _fresh(spec, previous, upgrade=upgrade):
        return fresh
    if locked:
        if previous:
            locks.check_fresh(spec, previous)
        raise StaleLockError("the lock would have to change, and --locked forbids it", hint="Run `dsenv lock`.")
    if store.offline:
        raise DownloadError(
            "the lock has to be resolved, and --offline forbids to ask", hint="Run it without --offline."
        )
    with project.busy(progress):
        previous = locks.read_previous(project.directory)
        if fresh := _fresh(spec, previous, upgrade=upgrade):
            return fresh  # another dsenv has written it meanwhile
        found = _carry_over(_resolve(project, spec, store, progress, previous, upgrade=upgrade), previous)
        changed, foreign = locks.write(project.directory, found)
    return LockResult(locks=found, digest=found.digest(), changed=tuple(changed), foreign=tuple(foreign))


def _fresh(spec: Spec, previous: Locks | None, *, upgrade: bool) -> LockResult | None:
    if previous is None or upgrade or locks.differences(spec, previous):
        return None
    return LockResult(locks=previous, digest=previous.digest(), was_fresh=True)


def _resolve(
    project: Project, spec: Spec, store: Store, progress: Progress, previous: Locks | None, *, upgrade: bool
) -> Locks:
    """Resolve all parts at once; only what needs another part's answer waits for it."""
    asked = [ecosystem for ecosystem in ECOSYSTEMS if spec.parts[ecosystem.name] is not None]
    offers = FOUNDATION.survey(spec.parts[FOUNDATION.name], spec.platform, project.directory, store, progress)
    needs = tuple(need for row in asked for need in row.needs(spec.parts[row.name], offers))
    resolutions = _side_by_side(asked, spec, store, progress, previous, offers, needs, upgrade=upgrade)
    revealed = {need for resolution in resolutions.values() for need in resolution.needs} - set(needs)
    if revealed:
        resolutions = _side_by_side(
            asked, spec, store, progress, previous, offers, (*needs, *sorted(revealed)), upgrade=upgrade
        )
    return locks.Locks(
        targets=spec.platform.targets,
        parts={
            row.name: locks.Part(
                pins=resolutions[row.name].pins, inputs=row.inputs(spec.parts[row.name], spec.platform)
            )
            for row in asked
        },
    )


def _side_by_side(
    asked: list[Ecosystem],
    spec: Spec,
    store: Store,
    progress: Progress,
    previous: Locks | None,
    offers: Mapping[Target, Offer],
    needs: tuple[Need, ...],
    *,
    upgrade: bool,
) -> dict[str, Resolution]:
    with ThreadPoolExecutor(len(asked)) as pool:
        jobs: dict[str, Future[Resolution]] = {}

        def provided() -> Any:
            return FOUNDATION.provided(jobs[FOUNDATION.name].result().pins)

        for row in asked:  # the foundation is the first of the table, so its job exists when the others ask for it
            part: Part | None = previous.parts.get(row.name) if previous else None
            jobs[row.name] = pool.submit(
                row.resolve,
                Request(
                    spec=spec.parts[row.name],
                    platform=spec.platform,
                    previous=part.pins if part else None,
                    upgrade=upgrade,
                    offers=offers,
                    needs=needs,
                    provided=provided,
                    store=store,
                    progress=progress,
                ),
            )
        return {name: job.result() for name, job in jobs.items()}


def _carry_over(found: Locks, previous: Locks | None) -> Locks:
    """Keep a part as it was written where its pins are the same: what was only measured again changes no file."""
    if previous is None:
        return found
    parts = dict(found.parts)
    for row in ECOSYSTEMS:
        old, new = previous.parts.get(row.name), found.parts.get(row.name)
        if old and new and old.inputs == new.inputs and row.canonical(old.pins) == row.canonical(new.pins):
            parts[row.name] = old
    return locks.Locks(targets=found.targets, parts=parts)
