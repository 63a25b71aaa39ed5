"""Which exact system packages: apt's answer, for each target, about the whole root.

Everything is asked of the real apt in an isolated root (``apt.py``). What it answers becomes rows, and the signed
indexes that list them are kept as artifacts, since archives overwrite them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dsenv.ecosystem import Request, Resolution
from dsenv.ecosystems.system import pins as system_pins
from dsenv.ecosystems.system.archives import anchors, kept
from dsenv.ecosystems.system.offer import Survey
from dsenv.ecosystems.system.packages import alternatives, debversion, relations
from dsenv.ecosystems.system.solver import apt, asked, halving
from dsenv.ecosystems.system.spec import Spec, parse_request
from dsenv.errors import IntegrityError, ResolutionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsenv.ecosystem import Offer
    from dsenv.formats import deb822
    from dsenv.pins import Need, Target
    from dsenv.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """apt's answer for one root."""

    stanzas: Mapping[str, deb822.Stanza]  # every package of the root, by name
    base: frozenset[str]  # names
    building: Mapping[str, deb822.Stanza] = field(default_factory=dict)  # packages that only building takes, by name
    why: Mapping[str, frozenset[str]] = field(default_factory=dict)  # who asked for a package
    why_building: Mapping[str, frozenset[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what has to be told of the base

    @property
    def versions(self) -> set[tuple[str, str]]:
        """The name and version of every package."""
        return {(name, stanza["Version"]) for name, stanza in {**self.stanzas, **self.building}.items()}


def needs(spec: Spec, offers: Mapping[Target, Offer], previous: Sequence[system_pins.Pins]) -> tuple[Need, ...]:
    """Return what a person asked for."""
    del offers, previous
    building = (replace(parse_request(text), build=True) for text in spec.build)
    return (*(parse_request(text) for text in spec.packages), *building)


def resolve(request: Request) -> Resolution:
    """Solve each target's root from what the base has and what everyone needs."""
    roots: dict[str, system_pins.Root] = {}
    providers: dict[str, dict[str, set[str]]] = {}
    archives: list[system_pins.Archive] = []
    statuses: dict[str, str] = {}
    version = ""
    for target, offer in request.offers.items():
        assert isinstance(offer, Survey)  # noqa: S101 - the foundation gets back what its own survey returned
        with offer.ready() as root:
            locked = _locked(request, target, offer)
            solution, still = _solve_fed(request, target, offer, locked)
            _name_lost(locked, solution, offer, request.progress)
            for note in solution.notes:
                request.progress.warn(note)
            rows = _rows(solution, offer, still)
            _check_bytes(request, target, rows)
            version = root.version
            if offer.ground.status:
                statuses[str(target)] = request.store.keep(offer.ground.status)
            archives.extend(anchors.keep(offer, target, rows, still, request.store, request.progress))
        roots[str(target)] = system_pins.Root(
            distribution=offer.ground.distribution.name, codename=offer.ground.codename, packages=tuple(rows)
        )
        providers[str(target)] = alternatives.providers(solution.stanzas)
    provenance = system_pins.Provenance(apt=version, archives=anchors.merge(archives), statuses=statuses)
    pins = system_pins.Pins(
        base=request.platform.base,
        locale=request.platform.locale,
        timezone=request.platform.timezone,
        roots=roots,
        provenance=provenance,
    )
    return Resolution(pins=alternatives.select(pins, providers, request.store, request.progress))


def _locked(request: Request, target: Target, offer: Survey) -> dict[str, list[str]]:
    """Return the versions to keep, by name; two where the sides of a merge differ, and apt takes the newer."""
    found: dict[str, list[str]] = {}
    for pins in request.previous:
        root = pins.root(target)
        for package in root.packages if root else ():
            if not request.upgrade.releases(package.name):
                found.setdefault(package.name, []).append(package.version)
    released = _insecure(found, offer) if request.upgrade.security else ()
    return {name: versions for name, versions in found.items() if name not in released}


def _insecure(locked: Mapping[str, Sequence[str]], offer: Survey) -> set[str]:
    """Return the locked packages of which the release's security suite has a newer version."""
    suite = offer.ground.distribution.security.format(offer.ground.codename)
    newest = {name: max(map(debversion.order, versions)) for name, versions in locked.items()}
    return {
        name
        for (name, version), places in offer.root.places(sorted(locked)).items()
        if debversion.order(version) > newest[name] and any(offer.origin(place) == suite for place in places)
    }


def _solve_fed(
    request: Request, target: Target, offer: Survey, locked: Mapping[str, Sequence[str]]
) -> tuple[Solution, Sequence[kept.Kept]]:
    """Solve with the locked versions that no archive lists any more among what apt knows, if they can be had."""
    doubtful = sorted(name for name, versions in locked.items() if offer.offered.get(name) not in versions)
    listed = offer.root.places(doubtful)
    lost = {(name, version) for name in doubtful for version in locked[name]} - listed.keys()
    fed = kept.find(request.previous, target, lost, request.store, offer.until)
    while True:
        if lost:
            offer.root.feed([one.stanza for one in fed])
        solved = _solve_keeping(request, offer, locked)
        found = _for_building(request, offer, solved, locked)
        used = [one for one in fed if (one.row.name, one.row.version) in found.versions]
        still = kept.still_there(used, request.store, request.progress)
        if len(still) == len(used):
            return found, still
        fed = still


def _check_bytes(request: Request, target: Target, rows: Sequence[system_pins.Package]) -> None:
    """Raise ``IntegrityError`` where an archive has other bytes under a version than were locked."""
    before: dict[tuple[str, str], set[str]] = {}
    for pins in request.previous:
        root = pins.root(target)
        for row in root.packages if root else ():
            before.setdefault((row.name, row.version), set()).add(row.sha256)
    changed = [
        f"{row.name} {row.version}"
        for row in rows
        if row.sha256 not in before.get((row.name, row.version), {row.sha256})
        and not request.upgrade.releases(row.name)
    ]
    if changed:
        raise IntegrityError(
            f"the archive has other bytes than the lock under the same version: {', '.join(changed)}",
            hint="Find out who changed them; `--upgrade-package system:NAME` takes what the archive has.",
        )


def _solve_keeping(request: Request, offer: Survey, locked: Mapping[str, Sequence[str]]) -> Solution:
    """Solve with the locked versions preferred; where that has no solution, with as many of them as there is one."""
    offer.keep(locked)
    try:
        return _solve(request, offer, locked)
    except ResolutionError:
        if not locked:
            raise
    offer.keep({})
    solved = _solve(request, offer, {})
    request.progress.update("finding out which of the locked system packages can stay")
    moving = {name for name, version in solved.versions if version not in locked.get(name, (version,))}
    # The packages of one source go together or not at all.
    roots = (root for pins in request.previous for root in pins.roots.values())
    sources = {row.name: row.source for root in roots for row in root.packages}

    def refused(staying: Sequence[str]) -> str:
        nonlocal solved
        kept = {name: locked[name] for name in locked if name not in moving or sources[name] in staying}
        try:
            solved = _solve(request, offer, kept)
        except ResolutionError as error:
            return error.cause
        return ""

    _, left = halving.fitting(sorted({sources[name] for name in moving}), refused)
    moved = sorted(name for name in moving if sources[name] in left)
    request.progress.warn(f"what is asked for does not go with the locked versions of {', '.join(moved)}: they moved")
    return solved


def _for_building(request: Request, offer: Survey, solved: Solution, locked: Mapping[str, Sequence[str]]) -> Solution:
    """Add the packages that only building takes; those of the environment stay exactly as they are.

    Raises:
        ResolutionError: They do not go together.

    """
    building = [need for need in request.needs if need.build]
    if not building:
        return solved
    wanted = asked.settle(building, offer, locked, present=solved.stanzas)
    fixed = {name: stanza["Version"] for name, stanza in solved.stanzas.items()}
    words = [
        *(f"{name}={version}" for name, version in fixed.items()),
        *(word for word in wanted.words if word not in fixed),
    ]
    # A library's headers are those of its own version, which need not be the newest that is on offer.
    own = relations.families(solved.stanzas.values())
    others = {name: versions for name, versions in locked.items() if name not in fixed}
    found = _solve_beside(offer, words, own, others)
    moved = [
        f"{name} {fixed[name]}: {found[name]}" for name in sorted(fixed) if found.get(name, fixed[name]) != fixed[name]
    ]
    if moved:
        raise ResolutionError(
            "what building takes would move packages of the environment",
            cause="\n".join(moved),
            hint="Ask for the same version in [system] packages and build.",
        )
    extra = {name: version for name, version in found.items() if name not in fixed}
    return replace(solved, building=_stanzas(offer.root, extra), why_building=wanted.why)


def _solve_beside(
    offer: Survey, words: Sequence[str], own: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Solve with the locked versions preferred; where that has no solution, without."""
    offer.keep({**own, **others})
    try:
        return offer.root.solve(words)
    except ResolutionError as error:
        if others:
            return _solve_beside(offer, words, own, {})
        raise ResolutionError(
            "what building takes does not go with the packages of the environment",
            cause=error.cause,
            hint="Change [system] build, or let the environment's packages move: dsenv lock --upgrade.",
        ) from error


def _name_lost(locked: Mapping[str, Sequence[str]], solved: Solution, offer: Survey, progress: Progress) -> None:
    """Name the locked packages that moved because no archive lists their version any more."""
    found = {name: stanza["Version"] for name, stanza in {**solved.stanzas, **solved.building}.items()}
    moved = sorted(name for name in locked.keys() & found.keys() if found[name] not in locked[name])
    listed = offer.root.places(moved)
    lost = [
        f"{name} {version} (now {found[name]})"
        for name in moved
        for version in locked[name]
        if (name, version) not in listed
    ]
    if lost:
        progress.warn(f"the archive no longer has {', '.join(lost)}")


def _solve(request: Request, offer: Survey, locked: Mapping[str, Sequence[str]]) -> Solution:
    root, ground = offer.root, offer.ground
    needs = [need for need in request.needs if not need.build]
    recommends = request.spec.recommends
    if not ground.status:
        essential = [word for word in ground.distribution.essential if word[0] == "?" or word in offer.offered]
        base = root.solve(essential)
        wanted = asked.settle(needs, offer, locked, recommends=recommends, present=base)
        offer.keep({**locked, **wanted.families})
        found = root.solve([*essential, *wanted.words])
        return Solution(stanzas=_stanzas(root, found), base=frozenset(base), why=wanted.why)
    installed = dict(ground.packages)
    listed = root.places(sorted(installed))
    moved = sorted(name for name, version in installed.items() if (name, version) not in listed)
    # What was updated in an earlier lock, or has to be for its security, is newer than what the base itself has.
    newer = {
        name
        for name, version in installed.items()
        if any(debversion.order(other) > debversion.order(version) for other in locked.get(name, ()))
    }
    insecure = set()
    if request.upgrade.security:
        insecure = _insecure({name: [version] for name, version in installed.items()}, offer)
    wanted = asked.settle(needs, offer, locked, recommends=recommends, present=installed)
    offer.keep({**locked, **wanted.families})
    held = ground.held
    words = [*wanted.words, *sorted({*moved, *newer, *insecure} - held - wanted.why.keys())]
    try:
        solved = root.solve(words) if words else {}
    except ResolutionError as error:
        raise _with_held(error, {name: installed[name] for name in held}) from error
    notes = []
    if moved:
        names = ", ".join(moved)
        notes.append(f"the archive no longer has the versions that the base has of {names}: its newest are locked")
    if kept_back := sorted(insecure & held):
        notes.append(f"the base holds {', '.join(kept_back)}, which the distribution has mended: they stay as they are")
    return Solution(
        stanzas=_stanzas(root, installed | solved), base=frozenset(installed), why=wanted.why, notes=tuple(notes)
    )


def _with_held(error: ResolutionError, held: Mapping[str, str]) -> ResolutionError:
    """Return an error with the packages that it names and that the base holds, which apt leaves out."""
    named = [
        f"{name} {version} is held in the base: it stays as it is"
        for name, version in sorted(held.items())
        if re.search(rf"(?<![\w.+-]){re.escape(name)}(?![\w+-])", error.cause)
    ]
    hint = "Use a base that does not hold it, or ask for what goes with it." if named else error.hint
    return ResolutionError(error.sentence, cause="\n".join([error.cause, *named]), hint=hint)


def _stanzas(root: apt.AptRoot, versions: Mapping[str, str]) -> dict[str, deb822.Stanza]:
    """Return the index stanza of each package, by name.

    Raises:
        ResolutionError: No index lists one of them.

    """
    found: dict[str, deb822.Stanza] = {}
    for stanza in root.show(sorted(versions.items())):
        name = stanza.get("Package", "")
        if "SHA256" in stanza and versions.get(name) == stanza.get("Version"):
            found.setdefault(name, stanza)
    lost = [f"{name} {version}" for name, version in sorted(versions.items()) if name not in found]
    if lost:
        raise ResolutionError(
            f"no archive lists {', '.join(lost)}",
            hint="Use a base whose packages all come from its distribution's archives, or name theirs, too, under "
            "[[system.repositories]].",
        )
    return found


def _rows(solution: Solution, offer: Survey, still: Sequence[kept.Kept]) -> list[system_pins.Package]:
    whole = {**solution.stanzas, **solution.building}
    ranks = [suite.format(offer.ground.codename) for suite in offer.ground.distribution.suites]
    ranks.extend(row.name for row in offer.repositories)
    places = offer.root.places(sorted(whole))
    before = {(one.row.name, one.row.version): one.row.origin for one in still}
    graph = relations.graph(whole) | relations.graph(solution.stanzas)  # the environment's rows know of no others
    rows = []
    for name, stanza in sorted(whole.items()):
        build = name in solution.building
        source, source_version = relations.source(stanza)
        key = (name, stanza["Version"])
        listed = [before[key]] if key in before else [offer.origin(place) for place in places[key]]
        why = (solution.why_building if build else solution.why).get(name, frozenset())
        reasons = sorted(why) or ["base" if name in solution.base else "dependency"]
        rows.append(
            system_pins.Package(
                name=name,
                version=stanza["Version"],
                architecture=stanza["Architecture"],
                source=source,
                source_version=source_version,
                sha256=stanza["SHA256"],
                size=int(stanza["Size"]),
                filename=stanza["Filename"].removeprefix("./"),
                origin=min(listed, key=ranks.index),
                base=name in solution.base,
                build=build,
                why=tuple(reasons),
                dependencies=tuple(graph[name]),
            )
        )
    return rows
