"""What moved between two locks: which packages came, went or have another version, and how large the step is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dsenv.ecosystems import ECOSYSTEMS, FOUNDATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsenv.locks import Locks

Step = Literal["new", "gone", "major", "minor", "patch", "back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A package that is locked in another version than before."""

    part: str  # the ecosystem's name
    name: str
    old: str  # "" for one that is new
    new: str  # "" for one that is gone
    step: Step
    source: str = ""  # of a system package: what security reports are about


def between(before: Locks | None, after: Locks) -> Iterator[Change]:
    """Yield what moved, part by part; nothing where there was no lock before."""
    if before is None:
        return
    for row in ECOSYSTEMS:
        was, now = (
            row.versions(held.parts[row.name].pins) if row.name in held.parts else {} for held in (before, after)
        )
        held = [lock.parts[row.name].pins for lock in (before, after) if row.name in lock.parts]
        sources = {name: text for pins in held if row.name == FOUNDATION.name for name, text in _sources(pins)}
        for name in sorted({*was, *now}):
            old, new = was.get(name, ""), now.get(name, "")
            if old != new:
                source = sources.get(name, "")
                yield Change(part=row.name, name=name, old=old, new=new, step=step(old, new), source=source)


def _sources(pins: Any) -> Iterable[tuple[str, str]]:
    return FOUNDATION.source_packages(pins).items()


def step(old: str, new: str) -> Step:
    """Return how far two versions are from each other, by the first number in which they differ."""
    if not old or not new:
        return "gone" if old else "new"
    numbers = [[int(number) for number in re.findall(r"[0-9]+", text.rpartition(":")[2])] for text in (old, new)]
    if numbers[1] < numbers[0]:
        return "back"
    same = next((at for at, (one, other) in enumerate(zip(*numbers, strict=False)) if one != other), 2)
    steps: tuple[Step, ...] = ("major", "minor", "patch")
    return steps[min(same, 2)]
