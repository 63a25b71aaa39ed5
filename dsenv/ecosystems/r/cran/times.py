"""An old version takes what it needs back to its time.

CRAN declares no upper bounds: dplyr 1.0.10 with the vctrs of a year later satisfies every bound, and ``summarise()``
dies. So what a version needs that is older than its repository's newest is taken as it was when that version came out,
as far as bounds allow; packages that a person has bounded from above, and those that R brings, stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from dsenv.ecosystems.r.cran.solve import Bound, Question, Solution
    from dsenv.progress import Progress

_ROUNDS: Final = 6
_SHOWN: Final = 8


def settle(question: Question, progress: Progress) -> Solution:
    """Solve a question, then again until everything that an old version needs is of its time; say what moved."""
    finder = question.finder
    solution = question.solve()
    causes = _causes(question, solution)
    if not causes:
        return solution
    for _ in range(_ROUNDS):
        times = _spread(question, solution, causes)
        if times == finder.times:
            break
        finder.times = times
        solution = question.solve()
    _tell(solution, finder.times, causes, progress)
    return solution


def _causes(question: Question, solution: Solution) -> dict[str, date]:
    """Return the chosen versions that a bound or a conflict makes older than their repository's newest, with days."""
    finder = question.finder
    found = {}
    for name, candidate in solution.chosen.items():
        if candidate.origin != "archive" or candidate.published is None:
            continue
        newest = finder.newest(name, next((item.repository for item in solution.asked[name] if item.repository), ""))
        if newest is None or newest.version <= candidate.version:
            continue  # the newest that there is for this R
        bounds = question.constraints.get(name, ())
        is_free = all(item.allows(newest.version) for item in solution.asked[name]) and all(
            newest.version.satisfies(operator, bound) for operator, bound in bounds
        )
        is_locked = any(version == candidate.version.text for version, _ in finder.locked.get(name, ()))
        is_late = finder.until is not None and (newest.published is None or newest.published > finder.until)
        if not (is_free and (is_locked or is_late)):
            found[name] = candidate.published
    return found


def _spread(question: Question, solution: Solution, causes: Mapping[str, date]) -> dict[str, date]:
    """Return for each package that an old one needs, directly or not, the earliest of their days."""
    fixed = {
        name for name, items in solution.asked.items() if any(_is_capped(item.bounds) for item in items if item.place)
    }
    fixed |= {name for name, bounds in question.constraints.items() if _is_capped(bounds)}
    fixed |= causes.keys()
    times: dict[str, date] = {}
    for cause, day in causes.items():
        if cause not in solution.chosen:
            continue
        seen: set[str] = set()
        left = [cause]
        while left:
            for name in solution.needs[left.pop()]:
                if name not in seen:
                    seen.add(name)
                    left.append(name)
        for name in seen - fixed:
            if solution.chosen[name].origin in {"index", "archive"}:
                times[name] = min(day, times.get(name, day))
    return times


def _is_capped(bounds: Sequence[Bound]) -> bool:
    return any(operator in {"==", "<", "<="} for operator, _ in bounds)


def _tell(solution: Solution, times: Mapping[str, date], causes: Mapping[str, date], progress: Progress) -> None:
    chosen = solution.chosen
    old = ", ".join(f"{chosen[name]} is of {day}" for name, day in sorted(causes.items()) if name in chosen)
    moved = [name for name in sorted(times) if name in chosen and chosen[name].origin == "archive"]
    if moved:
        progress.say(f"{old}: what it needs is taken as of then, {_listed([str(chosen[name]) for name in moved])}")
    late = [
        name
        for name, day in sorted(times.items())
        if name in chosen and ((published := chosen[name].published) is None or published > day)
    ]
    if late:
        progress.warn(
            f"{old}, and no older version fits of {_listed([str(chosen[name]) for name in late])}: "
            "whether they work together is not known"
        )


def _listed(words: list[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
