"""In which order things are built, and how many CPUs each gets. Nothing here builds anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

K = TypeVar("K")


class Schedule(Generic[K]):
    """What is to be done, that with the longest way to the end first.

    Args:
        costs: What is to be done, each after what it needs, and the seconds that it will take.
        after: What has to be done before; what is not among ``costs`` is done already.

    """

    def __init__(self, costs: dict[K, float], after: Mapping[K, Iterable[K]]) -> None:
        self._before = {key: {other for other in after.get(key, ()) if other in costs} for key in costs}
        self._waiting = dict.fromkeys(sorted(costs, key=_ways(costs, self._before).__getitem__, reverse=True))

    def ready(self) -> list[K]:
        """Return what can begin now, the most urgent first."""
        return [key for key in self._waiting if not self._before[key]]

    def left(self) -> list[K]:
        """Return what has not begun, the most urgent first."""
        return list(self._waiting)

    def begin(self, key: K) -> None:
        """Take a key that is ready."""
        del self._waiting[key]

    def finish(self, key: K) -> None:
        """Note that a key is done."""
        for others in self._before.values():
            others.discard(key)

    def fail(self, key: K) -> list[K]:
        """Note that a key failed; drop what needs it and return that."""
        dropped = [other for other in self._waiting if key in self._before[other]]
        for other in dropped:
            self._waiting.pop(other, None)
        return [*dropped, *(further for other in dropped for further in self.fail(other))]


def _ways(costs: dict[K, float], before: Mapping[K, Iterable[K]]) -> dict[K, float]:
    """Return for each key the seconds from its beginning to the end of all that waits for it."""
    followers: dict[K, list[K]] = {key: [] for key in costs}
    for key, others in before.items():
        for other in others:
            followers[other].append(key)
    ways: dict[K, float] = {}
    for key in reversed(costs):
        ways[key] = costs[key] + max((ways.get(other, 0.0) for other in followers[key]), default=0.0)
    return ways


def share(cpus: int, running: int, ready: int) -> int:
    """Return with how many jobs the next one may run, given how many run and are ready, itself included."""
    return max(1, cpus // max(1, min(cpus, running + ready)))
