"""One set of versions that satisfies everybody, found by resolvelib with backtracking; a conflict names the chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver

from dsenv.ecosystems.r.cran.candidates import needs_of
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from resolvelib.structs import RequirementInformation

    from dsenv.ecosystems.r.cran.candidates import Candidate, Finder

_ROUNDS: Final = 20_000
_SHOWN: Final = 12  # lines of a conflict
_NEWEST: Final = 3  # versions that are named of what there is
_SOFT: Final = ("Suggests",)

Bound = tuple[str, RVersion]


@dataclass(frozen=True, slots=True, eq=False)
class Requirement:
    """A package that somebody asked for."""

    name: str
    bounds: tuple[Bound, ...] = ()
    repository: str = ""  # the only one that it may come from
    asker: Candidate | None = None
    place: str = ""  # where a person asked for it: "[r] packages"

    def allows(self, version: RVersion) -> bool:
        """Say whether a version will do."""
        return all(version.satisfies(operator, bound) for operator, bound in self.bounds)

    def __str__(self) -> str:
        bounds = ", ".join(f"{operator} {bound}" for operator, bound in self.bounds)
        return f"{self.name} ({bounds})" if bounds else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A set of versions that satisfies everybody."""

    chosen: Mapping[str, Candidate]  # by name
    asked: Mapping[str, Sequence[Requirement]]  # by name: everything that was asked of it
    needs: Mapping[str, tuple[str, ...]]  # by name: what it asked for, wanted Suggests among them


@dataclass(slots=True, kw_only=True)
class Question:
    """What is to be solved."""

    finder: Finder
    roots: Sequence[Requirement]
    constraints: Mapping[str, Sequence[Bound]] = field(default_factory=dict)  # by name: for whoever asks
    suggests: frozenset[str] = frozenset()  # packages whose Suggests are wanted

    def solve(self) -> Solution:
        """Return the solution that the finder's order prefers.

        Raises:
            ResolutionError: There is none; the cause names who asked for what.

        """
        provider = _Provider(self)
        try:
            result = Resolver(provider, BaseReporter()).resolve(self.roots, max_rounds=_ROUNDS)
        except ResolutionImpossible as error:
            raise _conflict(provider, error.causes) from error
        except ResolutionTooDeep as error:
            raise ResolutionError(
                "no set of R packages was found in reasonable time", hint="Write more bounds."
            ) from error
        chosen = result.mapping
        asked: dict[str, list[Requirement]] = {name: [] for name in chosen}
        for requirement in (*self.roots, *(each for one in chosen.values() for each in provider.needs(one))):
            asked[requirement.name].append(requirement)
        needs = {name: tuple(sorted({each.name for each in provider.needs(one)})) for name, one in chosen.items()}
        return Solution(chosen=dict(chosen), asked=asked, needs=needs)


class _Lazy:
    """What an iterator yields, kept: it may be read again and again and is driven no further than somebody reads."""

    def __init__(self, source: Iterator[Candidate]) -> None:
        self._source = source
        self._kept: list[Candidate] = []

    def __iter__(self) -> Iterator[Candidate]:
        position = 0
        while True:
            if position == len(self._kept):
                try:
                    self._kept.append(next(self._source))
                except StopIteration:
                    return
            yield self._kept[position]
            position += 1


class _Provider(AbstractProvider[Requirement, "Candidate", str]):
    """What resolvelib asks of us."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.first: dict[str, Requirement] = {}  # by name: who asked first
        self._needs: dict[Candidate, list[Requirement]] = {}
        self._found: dict[tuple[Any, ...], _Lazy] = {}
        for root in question.roots:
            self.first.setdefault(root.name, root)

    def identify(self, requirement_or_candidate: Requirement | Candidate) -> str:
        return requirement_or_candidate.name

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[RequirementInformation[Requirement, Candidate]]],
        backtrack_causes: Sequence[RequirementInformation[Requirement, Candidate]],
    ) -> Any:
        """Take first what leaves the least choice; the name decides the rest, so that the answer is always the same."""
        del resolutions, candidates
        asked = [item.requirement for item in information[identifier]]
        bounds = [bound for item in asked for bound in item.bounds]
        bounds += self.question.constraints.get(identifier, ())
        is_exact = any(operator == "==" for operator, _ in bounds)
        is_cause = any(cause.requirement.name == identifier for cause in backtrack_causes)
        return not is_exact, not is_cause, all(operator in {">=", ">"} for operator, _ in bounds), identifier

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Requirement]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> Callable[[], Iterable[Candidate]]:
        wrong = set(incompatibilities[identifier])
        asked = list(requirements[identifier])
        bounds = {bound for item in asked for bound in item.bounds} | {*self.question.constraints.get(identifier, ())}
        places = sorted({item.repository for item in asked} - {""})
        key = (identifier, frozenset((operator, bound.text) for operator, bound in bounds), *places)
        if key not in self._found:

            def allows(version: RVersion) -> bool:
                return all(version.satisfies(operator, bound) for operator, bound in bounds)

            exact = [bound.text for operator, bound in bounds if operator == "=="]
            finder, place = self.question.finder, places[0] if places else ""
            found = finder.find(identifier, allows, place, exact) if len(places) < 2 else iter(())  # noqa: PLR2004
            self._found[key] = _Lazy(found)
        offered = self._found[key]
        return lambda: (candidate for candidate in offered if candidate not in wrong)

    def is_satisfied_by(self, requirement: Requirement, candidate: Candidate) -> bool:
        here = requirement.repository in {"", candidate.repository, candidate.repository.partition("/")[0]}
        return here and requirement.allows(candidate.version)

    def get_dependencies(self, candidate: Candidate) -> Iterable[Requirement]:
        return self.needs(candidate)

    def needs(self, candidate: Candidate) -> list[Requirement]:
        """Return what a candidate asks for."""
        if candidate not in self._needs:
            wanted = needs_of(candidate)
            if candidate.name in self.question.suggests:
                wanted += needs_of(candidate, _SOFT)
            found = [
                Requirement(
                    dependency.name,
                    ((dependency.operator, dependency.version),) if dependency.version else (),
                    asker=candidate,
                )
                for dependency in wanted
            ]
            self._needs[candidate] = found
            for requirement in found:
                self.first.setdefault(requirement.name, requirement)
        return self._needs[candidate]

    def chain(self, requirement: Requirement) -> str:
        """Return who asked for something, up to a person."""
        words = [str(requirement)]
        seen: set[str] = set()
        while requirement.asker is not None and requirement.asker.name not in seen:
            seen.add(requirement.asker.name)
            words.append(str(requirement.asker))
            requirement = self.first[requirement.asker.name]
        return ", asked for by ".join([*words, *([requirement.place] if requirement.place else [])])


def _conflict(provider: _Provider, causes: Iterable[RequirementInformation[Requirement, Candidate]]) -> ResolutionError:
    lines = sorted({provider.chain(cause.requirement) for cause in causes})
    names = sorted({cause.requirement.name for cause in causes})
    finder = provider.question.finder
    unknown = [name for name in names if name not in finder.with_r and finder.home(name) is None]
    if unknown:
        lines += [_unknown(finder, name) for name in unknown]
        sentence = f"no repository has an R package {', '.join(unknown)}"
        return ResolutionError(
            sentence, cause="\n".join(lines[:_SHOWN]), hint="Correct the name, or add its repository."
        )
    for name in names:
        bounds = provider.question.constraints.get(name, ())
        if bounds:
            lines.append(
                f"{name} ({', '.join(f'{operator} {bound}' for operator, bound in bounds)}), in [r] constraints"
            )
    lines += [_offered(finder, name) for name in names]
    return ResolutionError(
        f"no version of {', '.join(names)} satisfies everybody",
        cause="\n".join(lines[:_SHOWN]),
        hint="Relax one of the bounds, or choose other versions of those who ask.",
    )


def _unknown(finder: Finder, name: str) -> str:
    near = sorted({other for repository in finder.repositories for other in repository.index.near(name)})
    where = ", ".join(repository.name for repository in finder.repositories)
    return f"{name} is not in {where}" + (f": near: {', '.join(near)}" if near else "")


def _offered(finder: Finder, name: str) -> str:
    """Return what there is of a package, and why some of it cannot be taken."""
    if name in finder.remotes:
        return f"{name} is {finder.remotes[name].version} where dsenv.toml takes it from"
    words = []
    if name in finder.with_r:
        words.append(f"R {finder.r_version} brings {finder.with_r[name].version}")
    if home := finder.home(name):
        listed = [row.version.text for row in home.rows(name)]
        words.append(f"{home.name} has {', '.join(dict.fromkeys(listed))}")
        archived = sorted(home.archived(name), key=RVersion, reverse=True)
        if archived:
            more = ", …" if len(archived) > _NEWEST else ""
            words.append(f"its Archive {', '.join(archived[:_NEWEST])}{more}")
    reasons = [f"{version} {reason}" for version, reason in sorted(finder.rejected.get(name, {}).items())]
    return f"{name}: {', '.join(words)}" + (f"; {'; '.join(reasons[:_NEWEST])}" if reasons else "")
