"""``dsenv lock``: find the exact packages of all ecosystems, side by side where they can, and write them down."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dsenv import locks
from dsenv.ecosystem import Request, Upgrade
from dsenv.ecosystems import ECOSYSTEMS, FOUNDATION
from dsenv.errors import DownloadError, ResolutionError, StaleLockError, WrongUseError
from dsenv.operations import build, changes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dsenv.ecosystem import Ecosystem, Offer, Resolution
    from dsenv.locks import Locks, Part
    from dsenv.operations.changes import Change
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
    kept: Mapping[str, str] = field(default_factory=dict)  # another tool's lock files, by the names that they have now
    was_fresh: bool = False  # nothing was resolved, since the lock answers the spec
    moved: tuple[Change, ...] = ()  # which packages came, went or have another version


def lock(
    project: Project,
    spec: Spec,
    store: Store,
    progress: Progress,
    *,
    upgrade: bool = False,
    packages: Sequence[str] = (),
    security: bool = False,
    refresh: bool = False,
    locked: bool = False,
    statuses: Mapping[Target, bytes] | None = None,
) -> LockResult:
    """Bring the locks up to the spec; a part that answers it already stays as it is.

    Args:
        project: Where they lie.
        spec: What they are to answer.
        store: Where artifacts that have to be read come to lie.
        progress: Told what is going on.
        upgrade: Prefer no existing pin.
        packages: Names whose pins are not preferred, with or without their ecosystem: ``pandas``, ``r:dplyr``.
        security: Let go of system packages of which the distribution has a mended version, those of the base included.
        refresh: Ask the indexes again although nothing has changed.
        locked: Fail when the locks would have to change.
        statuses: dpkg's status files of base images that this machine's engine does not have.

    """
    forced = upgrade or refresh or security or bool(packages) or bool(statuses)
    if fresh := _fresh(spec, locks.read_previous(project.directory), forced=forced):
        return fresh
    if locked:
        locks.read_fresh(project.directory, spec)
        raise StaleLockError("the lock would have to change, and --locked forbids it", hint="Run `dsenv lock`.")
    if store.offline:
        raise DownloadError(
            "the lock has to be resolved, and --offline forbids to ask", hint="Run it without --offline."
        )
    with project.busy(progress):
        for row in ECOSYSTEMS:
            for sentence in row.obstacles(project.directory) if spec.parts[row.name] else ():
                progress.warn(sentence)
        if spec.platform.as_of and spec.platform.as_of >= datetime.now(UTC).date():
            progress.warn("the day of `as-of` is not over: what comes until its end, a later lock would take")
        previous = locks.read_previous(project.directory)
        if fresh := _fresh(spec, previous, forced=forced):
            return fresh  # another dsenv has written it meanwhile
        adopted = {name: other for name, other in locks.adoptable(project.directory).items() if spec.parts[name]}
        for other in () if upgrade else adopted.values():
            progress.say(f"{other.filename} was written by {other.tool}: its {other.count} versions are preferred")
        upgrades = _upgrades(previous, packages, everything=upgrade, security=security)
        work = _Work(
            project=project,
            spec=spec,
            store=store,
            progress=progress,
            previous=previous,
            adopted={name: other.pins for name, other in adopted.items()},
            upgrades=upgrades,
            # Where only other packages are let go, the system stands.
            forced=upgrade or refresh or security or bool(statuses) or bool(upgrades[FOUNDATION.name].names),
            statuses=statuses or {},
        )
        found = _carry_over(build.record(work.resolve(), store, progress), previous)
        kept = {other.filename: locks.set_aside(project.directory, other.filename) for other in adopted.values()}
        changed, foreign = locks.write(project.directory, found)
    return LockResult(
        locks=found,
        digest=found.digest(),
        changed=tuple(changed),
        foreign=tuple(foreign),
        kept=kept,
        moved=tuple(changes.between(previous[0] if previous else None, found)),
    )


def _fresh(spec: Spec, previous: Sequence[Locks], *, forced: bool) -> LockResult | None:
    if forced or len(previous) != 1 or locks.differences(spec, previous[0]):
        return None
    return LockResult(locks=previous[0], digest=previous[0].digest(), was_fresh=True)


def _upgrades(
    previous: Sequence[Locks], packages: Sequence[str], *, everything: bool, security: bool
) -> dict[str, Upgrade]:
    """Return what each ecosystem is to upgrade; raise ``WrongUseError`` for a name that no part has locked."""
    names: dict[str, set[str]] = {row.name: set() for row in ECOSYSTEMS}
    locked = {
        row.name: {
            name for held in previous if row.name in held.parts for name in row.versions(held.parts[row.name].pins)
        }
        for row in ECOSYSTEMS
    }
    for package in packages:
        kind, _, name = package.rpartition(":")
        takers = [row.name for row in ECOSYSTEMS if kind in {"", row.name} and name in locked[row.name]]
        if not takers:
            raise WrongUseError(f"no package {package} is locked", hint="Name it as the lock does: pandas, r:dplyr.")
        for taker in takers:
            names[taker].add(name)
    return {
        name: Upgrade(everything=everything, names=frozenset(found), security=security) for name, found in names.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all steps of one resolution need."""

    project: Project
    spec: Spec
    store: Store
    progress: Progress
    previous: Sequence[Locks]
    adopted: Mapping[str, Any]  # another tool's pins, by ecosystem
    upgrades: Mapping[str, Upgrade]
    forced: bool  # whether the system is solved again in any case
    statuses: Mapping[Target, bytes]

    def resolve(self) -> Locks:
        """Resolve what does not answer the spec; only what needs another part's answer waits for it."""
        asked = [row for row in ECOSYSTEMS if self.spec.parts[row.name] is not None]
        parts = self._beside_standing_system(asked) or self._anew(asked)
        return locks.Locks(targets=self.spec.platform.targets, parts=parts)

    def _beside_standing_system(self, asked: Sequence[Ecosystem]) -> dict[str, Part] | None:
        """Resolve the other parts on the locked system, or return ``None`` where that has to be solved again."""
        held = self.previous[0] if len(self.previous) == 1 and not self.forced else None
        standing = held.parts.get(FOUNDATION.name) if held else None
        if held is None or standing is None or self._stale(FOUNDATION, standing):
            return None
        offers = FOUNDATION.offers(standing.pins)
        try:
            needs = self._needs(asked, offers)
        except ResolutionError:
            return None  # the archive may have what the rows lack
        if any(offer.candidate(need.name) is None for offer in offers.values() for need in needs):
            return None
        parts = {row.name: held.parts[row.name] for row in asked if row.name in held.parts}
        stale = [
            row
            for row in asked
            if row.name not in parts or self._stale(row, parts[row.name]) or self.upgrades[row.name].names
        ]
        found = self._side_by_side(stale, offers, needs, lambda: FOUNDATION.provided(standing.pins))
        parts |= found
        revealed = {need for row in asked for need in row.revealed(parts[row.name].pins, offers)}
        return parts if FOUNDATION.answers(standing.pins, [*needs, *revealed]) else None

    def _anew(self, asked: Sequence[Ecosystem]) -> dict[str, Part]:
        part = self.spec.parts[FOUNDATION.name]
        offers = FOUNDATION.survey(
            part, self.spec.platform, self._preferred(FOUNDATION), self.statuses, self.store, self.progress
        )
        needs = self._needs(asked, offers)
        found = self._side_by_side(asked, offers, needs)
        revealed = {row.name: {*row.revealed(found[row.name].pins, offers)} - set(needs) for row in asked}
        if not any(revealed.values()):
            return found
        needs = (*needs, *sorted(set().union(*revealed.values())))
        # What revealed a need has been resolved; it does not have to be again while what it stands on has only grown.
        again = self._side_by_side([row for row in asked if not revealed[row.name]], offers, needs)
        before, after = (FOUNDATION.provided(parts[FOUNDATION.name].pins) for parts in (found, again))
        if all(rows.items() <= after[target].items() for target, rows in before.items()):
            return found | again
        return self._side_by_side(asked, offers, needs)

    def _stale(self, row: Ecosystem, part: Part) -> bool:
        return part.inputs != row.inputs(self.spec.parts[row.name], self.spec.platform)

    def _preferred(self, row: Ecosystem) -> list[Any]:
        """Return the pins that are to stay if they can; beside a dsenv.lock, another tool's are among what is held."""
        held = [lock.parts[row.name].pins for lock in self.previous if row.name in lock.parts]
        return held or [self.adopted[row.name]] if row.name in self.adopted else held

    def _needs(self, asked: Sequence[Ecosystem], offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
        return tuple(
            need for row in asked for need in row.needs(self.spec.parts[row.name], offers, self._preferred(row))
        )

    def _side_by_side(
        self,
        asked: Sequence[Ecosystem],
        offers: Mapping[Target, Offer],
        needs: tuple[Need, ...],
        provided: Callable[[], Any] | None = None,
    ) -> dict[str, Part]:
        """Resolve parts at once; without ``provided`` the foundation is one of them."""
        jobs: dict[str, Future[Resolution]] = {}

        def resolved() -> Any:
            return FOUNDATION.provided(jobs[FOUNDATION.name].result().pins)

        with ThreadPoolExecutor(max(len(asked), 1)) as pool:
            for row in asked:  # the foundation is the first of the table, so its job exists when the others ask for it
                request = Request(
                    spec=self.spec.parts[row.name],
                    platform=self.spec.platform,
                    previous=self._preferred(row),
                    upgrade=self.upgrades[row.name],
                    offers=offers,
                    needs=needs,
                    provided=provided or resolved,
                    store=self.store,
                    progress=self.progress,
                )
                jobs[row.name] = pool.submit(row.resolve, request)
            return {
                row.name: locks.Part(
                    pins=jobs[row.name].result().pins, inputs=row.inputs(self.spec.parts[row.name], self.spec.platform)
                )
                for row in asked
            }


def _carry_over(found: Locks, previous: Sequence[Locks]) -> Locks:
    """Keep a part as it was written where its pins are the same: what was only measured again changes no file."""
    parts = dict(found.parts)
    for held in previous[:1]:
        for row in ECOSYSTEMS:
            old, new = held.parts.get(row.name), found.parts.get(row.name)
            if old and new and old.inputs == new.inputs and row.canonical(old.pins) == row.canonical(new.pins):
                parts[row.name] = old
    return locks.Locks(targets=found.targets, parts=parts)
