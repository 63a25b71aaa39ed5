"""The builds that have to be made, while they are made: as many at once as there are CPUs, the longest way first.

A failure stops only what needs what failed; all are told at the end, with the lines of their logs that matter.
"""

from __future__ import annotations

import json
import os
import re
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dsenv import tree as trees
from dsenv.builds import PLACE, Built
from dsenv.errors import BuildError, DsenvError, IntegrityError
from dsenv.outputs import bench as benches
from dsenv.outputs import build_log
from dsenv.outputs.schedule import Schedule, share
from dsenv.pins import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsenv.builds import Build, Results
    from dsenv.outputs.bench import Bench
    from dsenv.outputs.workshop import Name, Order, Root, Workshop
    from dsenv.steps import Input, Place
    from dsenv.store import Store

_PACE: Final = 50_000  # bytes of source a second: only to guess what takes long, before it was built once
_START: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    order: Order
    trouble: str
    log: Path | None = None
    dropped: tuple[Order, ...] = ()  # what needs it


def make(workshop: Workshop, *, compare: bool = True, meanwhile: Sequence[Artifact] = ()) -> Results:
    """Build what a workshop lacks, and return all its results.

    Args:
        workshop: What is wanted, and what of it is there.
        compare: Whether to hold the results against what the lock says has come out.
        meanwhile: What will be needed next: it is fetched when there is nothing else to fetch.

    Raises:
        BuildError: Something could not be built; all else was, and is kept.
        IntegrityError: A result is another one than the lock says.

    """
    if lacking := workshop.lacking:
        for made, result in _Building(workshop, lacking).run(meanwhile).items():
            workshop.orders[made] = replace(workshop.orders[made], result=result)
    found: dict[str, dict[str, Built]] = {}
    for (ecosystem, name), order in workshop.orders.items():
        assert order.result is not None  # noqa: S101 - else it would not have returned
        found.setdefault(ecosystem, {})[name] = order.result
    if compare:
        _compare(workshop)
    return found


def _compare(workshop: Workshop) -> None:
    """Hold the results against what the lock says has come out."""
    others = [
        (order, order.result)
        for order in workshop.orders.values()
        if order.result and order.build.sha256 not in {"", order.result.sha256}
    ]
    for order, built in others:
        if order.build.pure:
            raise IntegrityError(
                f"{order.build.title}, built from the locked source, is not what the lock says has come out",
                cause=f"the lock: sha256:{order.build.sha256}\nhere: sha256:{built.sha256}",
                hint="It has no compiled parts, so it should be the same everywhere: compare the two.",
            )
    if others:
        named = names([order for order, _ in others])
        workshop.progress.warn(
            f"built from the locked sources, yet not the same files as where they were locked: {named}"
        )


class _Building:
    """The builds that have to be made, while they are made."""

    def __init__(self, workshop: Workshop, lacking: Sequence[Order]) -> None:
        self._workshop = workshop
        self._store = workshop.store
        self._progress = workshop.progress
        self._results = {name: order.result for name, order in workshop.orders.items() if order.result}
        self._orders = {order.name: order for order in lacking}
        self._costs = _Costs(self._store)
        self._schedule = Schedule(
            {name: self._costs.of(order) for name, order in self._orders.items()},
            {name: order.after for name, order in self._orders.items()},
        )
        self._cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._failures: list[_Failure] = []
        self._running: dict[Future[_Failure | Built], Order] = {}
        self._is_over = False

    def run(self, meanwhile: Sequence[Artifact]) -> Mapping[Name, Built]:
        """Build everything that can be built, and return all results, those that were there before among them.

        Args:
            meanwhile: What is fetched when there is nothing else to fetch.

        Raises:
            BuildError: Something could not.
            IntegrityError: A source is not the one that is locked.

        """
        if forbidden := self._workshop.forbidden:
            if self._workshop.demand.misfit:
                raise BuildError(
                    f"{names([*self._orders.values()])} cannot be built from source here",
                    cause=f"no root can be entered ({forbidden}), and {self._workshop.demand.misfit}",
                    hint="Allow unprivileged user namespaces, or run it where the kernel does.",
                )
            self._progress.warn(
                f"no root can be entered here ({forbidden}): what is built also depends on this machine, "
                "and is kept apart"
            )
        self._store.sweep()
        with ThreadPoolExecutor(self._cpus) as workers, ThreadPoolExecutor(2) as carriers:
            made: dict[str, Future[Bench]] = {}
            inputs: dict[Name, Future[None]] = {}
            for name in self._schedule.left():
                order = self._orders[name]
                if order.root.key not in made:
                    made[order.root.key] = carriers.submit(self._bench, order.root)
                inputs[name] = carriers.submit(self._fetch, order)
            carriers.submit(self._store.fetch, meanwhile, self._progress)  # whoever needs it tells what went wrong
            try:
                self._loop(workers, made, inputs)
            except BaseException:
                self._is_over = True
                self._store.stop()
                carriers.shutdown(wait=False, cancel_futures=True)
                workers.shutdown(wait=False, cancel_futures=True)
                raise
        if self._failures:
            raise self._error()
        return self._results

    def _loop(
        self, workers: ThreadPoolExecutor, made: Mapping[str, Future[Bench]], inputs: Mapping[Name, Future[None]]
    ) -> None:
        while self._schedule.left() or self._running:
            self._begin(workers, made, inputs)
            ready = self._schedule.ready()
            waiting: set[Future[Any]] = {*self._running}
            if len(self._running) < self._cpus:
                wanted = [job for name in ready for job in (inputs[name], made[self._orders[name].root.key])]
                waiting.update(job for job in wanted if not job.done())
            if not waiting and not self._schedule.left():
                break
            if not waiting:
                raise AssertionError(f"builds that need each other: {self._schedule.left()}")
            if self._running:
                waits = len(self._schedule.left())
                self._progress.update(
                    f"building {names([*self._running.values()])}" + (f"; {waits} wait" * bool(waits))
                )
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for job in [job for job in self._running if job in done]:
                self._end(self._running.pop(job), job.result())

    def _begin(
        self, workers: ThreadPoolExecutor, made: Mapping[str, Future[Bench]], inputs: Mapping[Name, Future[None]]
    ) -> None:
        """Begin as much as there are CPUs for."""
        benches_of = {name: made[self._orders[name].root.key] for name in self._schedule.ready()}
        ready = [name for name, bench in benches_of.items() if inputs[name].done() and bench.done()]
        for at, name in enumerate(ready):
            if len(self._running) == self._cpus:
                break
            order = self._orders[name]
            self._schedule.begin(name)
            try:
                inputs[name].result()
            except IntegrityError:
                raise  # somebody has changed it: that is for a person to judge before anything goes on
            except DsenvError as error:
                self._end(order, _Failure(order=order, trouble=_told(error)))
            else:
                jobs = share(self._cpus, len(self._running), len(ready) - at)
                self._running[workers.submit(self._build, order, benches_of[name].result(), jobs)] = order

    def _end(self, order: Order, outcome: _Failure | Built) -> None:
        if isinstance(outcome, Built):
            self._results[order.name] = outcome
            self._schedule.finish(order.name)
            return
        self._progress.warn(f"{order.build.title} could not be {order.build.verb}")
        dropped = [self._orders[name] for name in self._schedule.fail(order.name)]
        self._failures.append(replace(outcome, dropped=tuple(dropped)))

    def _bench(self, root: Root) -> Bench:
        self._store.fetch(root.artifacts, self._progress)
        entered = not self._workshop.forbidden
        return benches.lay(root.key, root.recipe, self._store, self._progress, entered=entered)

    def _fetch(self, order: Order) -> None:
        self._store.fetch(
            [item.source for item in order.build.inputs if isinstance(item.source, Artifact)], self._progress
        )

    def _build(self, order: Order, bench: Bench, jobs: int) -> _Failure | Built:
        """Make one thing; another process may be at it, or have made it meanwhile."""
        ecosystem, name = order.name
        word = re.sub(r"[^\w.+-]", "_", f"{ecosystem}-{name}")
        log = self._store.root / "logs" / f"{word}-{order.key[:12]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._store.claimed(f"build-{order.key[:40]}") as directory:
            if made := self._workshop.kept(order.key):
                return made
            log.unlink(missing_ok=True)
            start = time.monotonic()
            build = self._at(order, bench.place(directory))
            after = {other: self._results[ecosystem, other] for other in build.after}
            if self._is_over:
                return _Failure(order=order, trouble="interrupted")
            try:
                cache = self._store.cache("ccache") / word
                ended = benches.perform(bench, build, after, directory, self._store, jobs=jobs, log=log, cache=cache)
            except DsenvError as error:
                return _Failure(order=order, trouble=_told(error))
            if ended.result is None:
                return _Failure(order=order, trouble=ended.trouble, log=log)
            seconds = time.monotonic() - start
            self._workshop.keep(order, ended.result, seconds)
        self._costs.learn(order, seconds)
        self._progress.say(f"{order.build.verb} {order.build.title} in {seconds:.1f} s")
        made = self._workshop.kept(order.key)
        return made or _Failure(order=order, trouble="its result is damaged", log=log)

    def _at(self, order: Order, place: Place) -> Build:
        """Return a build as it is done at a place."""
        if place == PLACE:
            return order.build
        ecosystem, name = order.name
        return next(build for build in self._workshop.demand.builds(place)[ecosystem] if build.name == name)

    def _error(self) -> BuildError:
        count = len(self._failures)
        parts = []
        for failure in self._failures:
            lines = [f"{failure.order.build.title}: {failure.trouble}"]
            if failure.log and failure.log.exists():
                text = failure.log.read_text("utf-8", "replace")
                lines.extend(f"    {line}" for line in build_log.excerpt(text))
                lines.extend(f"  {guess}" for guess in self._guess(text))
                lines.append(f"  the whole log: {failure.log}")
            if failure.dropped:
                lines.append(f"  not built, since they need it: {names(failure.dropped)}")
            parts.append("\n".join(lines))
        return BuildError(
            f"{count} package{'s' if count > 1 else ''} could not be built",
            cause="\n".join(parts),
            hint="What was built is kept: once the cause is gone, run the command again.",
        )

    def _guess(self, text: str) -> list[str]:
        lost = build_log.missing(text)
        if lost is None:
            return []
        package = self._workshop.demand.suggest(lost)
        return [build_log.sentence(lost, package)]


class _Costs:
    """How many seconds builds took: known once they were made, guessed before."""

    def __init__(self, store: Store) -> None:
        self._path = store.cache("builds") / "seconds.json"
        self._store = store
        try:
            self._known = {str(name): float(value) for name, value in json.loads(self._path.read_bytes()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            self._known = {}

    def of(self, order: Order) -> float:
        """Return what a build will take."""
        known = self._known.get(":".join(order.name))
        return _START + sum(map(_size, order.build.inputs)) / _PACE if known is None else known

    def learn(self, order: Order, seconds: float) -> None:
        """Remember what a build took."""
        self._known[":".join(order.name)] = round(seconds, 1)
        trees.replace_file(self._path, json.dumps(self._known).encode())


def _told(error: DsenvError) -> str:
    return "\n".join(filter(None, (error.sentence, error.cause, error.hint)))


def names(orders: Sequence[Order]) -> str:
    """Return builds as a person is told of them."""
    return ", ".join(order.build.title for order in orders)


def _size(item: Input) -> int:
    if isinstance(item.source, str):
        return len(item.source)
    if isinstance(item.source, Artifact):
        return item.source.size or 0
    with suppress(OSError):
        return item.source.stat().st_size
    return 0
