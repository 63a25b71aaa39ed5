"""Which exact system packages: apt's answer, for each target, about the whole root.

Everything is asked of the real apt in an isolated root (``apt.py``). What it answers becomes rows, and the signed
indexes that list them are kept as artifacts, since archives overwrite them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dsenv.ecosystem import Request, Resolution
from dsenv.ecosystems.system import alternatives, apt, relations
from dsenv.ecosystems.system import pins as system_pins
from dsenv.ecosystems.system.offer import Survey, check_names
from dsenv.ecosystems.system.spec import Spec, parse_request
from dsenv.errors import DownloadError, ResolutionError
from dsenv.formats import deb822
from dsenv.pins import Artifact, Need, Target, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystem import Offer
    from dsenv.progress import Progress
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """apt's answer for one root."""

    stanzas: Mapping[str, deb822.Stanza]  # every package of the root, by name
    base: frozenset[str]  # names
    building: Mapping[str, deb822.Stanza] = field(default_factory=dict)  # packages that only building takes, by name


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
    version = ""
    for target, offer in request.offers.items():
        assert isinstance(offer, Survey)  # noqa: S101 - the foundation gets back what its own survey returned
        with offer.ready() as root:
            check_names(request.needs, offer)
            locked = _locked(request, target)
            solution = _for_building(request, offer, _solve_keeping(request, offer, locked), locked)
            _name_lost(locked, solution, offer, request.progress)
            rows = _rows(solution, request.needs, offer)
            version = root.version()
            archives.extend(_keep_indexes(offer, target, rows, request.store, request.progress))
        roots[str(target)] = system_pins.Root(
            distribution=offer.ground.distribution.name, codename=offer.ground.codename, packages=tuple(rows)
        )
        providers[str(target)] = alternatives.providers(solution.stanzas)
    provenance = system_pins.Provenance(apt=version, archives=_merge(archives))
    pins = system_pins.Pins(
        base=request.platform.base,
        locale=request.platform.locale,
        timezone=request.platform.timezone,
        roots=roots,
        provenance=provenance,
    )
    return Resolution(pins=alternatives.select(pins, providers, request.store, request.progress))


def _locked(request: Request, target: Target) -> dict[str, list[str]]:
    """Return the versions to keep, by name; two where the sides of a merge differ, and apt takes the newer."""
    found: dict[str, list[str]] = {}
    for pins in request.previous:
        root = pins.root(target)
        for package in root.packages if root else ():
            if not request.upgrade.releases(package.name):
                found.setdefault(package.name, []).append(package.version)
    return found


def _solve_keeping(request: Request, offer: Survey, locked: Mapping[str, Sequence[str]]) -> Solution:
    """Solve with the locked versions preferred; where that has no solution, without, and say so."""
    offer.root.prefer(apt.preferences(locked))
    try:
        solved = _solve(request, offer)
    except ResolutionError:
        if not locked:
            raise
        offer.root.prefer("")
        solved = _solve(request, offer)
        request.progress.warn("the locked system packages could not all be kept: they were solved anew")
    return solved


def _for_building(request: Request, offer: Survey, solved: Solution, locked: Mapping[str, Sequence[str]]) -> Solution:
    """Add the packages that only building takes; those of the environment stay exactly as they are.

    Raises:
        ResolutionError: They do not go together.

    """
    asked = _requests(need for need in request.needs if need.build)
    if not asked:
        return solved
    fixed = {name: stanza["Version"] for name, stanza in solved.stanzas.items()}
    words = [*(f"{name}={version}" for name, version in fixed.items()), *(name for name in asked if name not in fixed)]
    # A library's headers are those of its own version, which need not be the newest that is on offer.
    families: dict[str, set[str]] = {}
    for stanza in solved.stanzas.values():
        families.setdefault(f"src:{relations.source(stanza)[0]}", set()).add(stanza["Version"])
    own = {name: sorted(versions) for name, versions in families.items()}
    kept = {name: versions for name, versions in locked.items() if name not in fixed}
    found = _solve_beside(offer.root, words, own, kept)
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
    return replace(solved, building=_stanzas(offer.root, extra))


def _solve_beside(
    root: apt.AptRoot, words: Sequence[str], own: Mapping[str, Sequence[str]], kept: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Solve with the locked versions preferred; where that has no solution, without."""
    root.prefer(apt.preferences({**own, **kept}))
    try:
        return root.solve(words)
    except ResolutionError as error:
        if kept:
            return _solve_beside(root, words, own, {})
        raise ResolutionError(
            "what building takes does not go with the packages of the environment",
            cause=error.cause,
            hint="Change [system] build, or let the environment's packages move: dsenv lock --upgrade.",
        ) from error


def _requests(needs: Iterable[Need]) -> list[str]:
    """Return what apt is asked for; of a package that is asked for in a version only that."""
    wanted = list(needs)
    bounded = {need.name for need in wanted if need.version}
    return sorted(
        {f"{need.name}={need.version}" for need in wanted if need.version}
        | {need.name for need in wanted if need.name not in bounded}
    )


def _name_lost(locked: Mapping[str, Sequence[str]], solved: Solution, offer: Survey, progress: Progress) -> None:
    """Name the locked packages that moved because no archive lists their version any more."""
    found = {name: stanza["Version"] for name, stanza in {**solved.stanzas, **solved.building}.items()}
    moved = sorted(name for name in locked.keys() & found.keys() if found[name] not in locked[name])
    listed = offer.root.suites(moved)
    lost = [
        f"{name} {version} (now {found[name]})"
        for name in moved
        for version in locked[name]
        if (name, version) not in listed
    ]
    if lost:
        progress.warn(f"the archive no longer has {', '.join(lost)}")


def _solve(request: Request, offer: Survey) -> Solution:
    root, ground = offer.root, offer.ground
    asked = _requests(need for need in request.needs if not need.build)
    if not ground.status:
        essential = list(ground.distribution.essential)
        base = frozenset(root.solve(essential))
        return Solution(stanzas=_stanzas(root, root.solve([*essential, *asked])), base=base)
    installed = _installed(ground.status)
    listed = root.suites(sorted(installed))
    moved = sorted(name for name, version in installed.items() if (name, version) not in listed)
    if moved:
        request.progress.warn(
            f"the archive no longer has the versions that the base has of {', '.join(moved)}: its newest are locked"
        )
    solved = root.solve([*asked, *moved]) if asked or moved else {}
    return Solution(stanzas=_stanzas(root, installed | solved), base=frozenset(installed))


def _installed(status: str) -> dict[str, str]:
    """Return the installed packages of a dpkg status file, with their versions."""
    return {
        stanza["Package"]: stanza["Version"]
        for stanza in deb822.stanzas(status)
        if stanza.get("Status", "").split()[-1:] == ["installed"]
    }


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
            hint="Use a base whose packages all come from its distribution's archives.",
        )
    return found


def _rows(solution: Solution, needs: Sequence[Need], offer: Survey) -> list[system_pins.Package]:
    why: dict[tuple[str, bool], set[str]] = {}
    for need in needs:
        why.setdefault((need.name, need.build), set()).add(need.why)
    whole = {**solution.stanzas, **solution.building}
    ranks = [suite.format(offer.ground.codename) for suite in offer.ground.distribution.suites]
    suites = offer.root.suites(sorted(whole))
    codenames = {index.suite: index.codename for index in offer.root.indexes()}  # a source may name it by an alias
    graph = relations.graph(whole) | relations.graph(solution.stanzas)  # the environment's rows know of no others
    rows = []
    for name, stanza in sorted(whole.items()):
        build = name in solution.building
        source, source_version = relations.source(stanza)
        listed = [codenames[suite] for suite in suites[name, stanza["Version"]]]
        reasons = sorted(why.get((name, build), ())) or (["base" if name in solution.base else "dependency"])
        rows.append(
            system_pins.Package(
                name=name,
                version=stanza["Version"],
                architecture=stanza["Architecture"],
                source=source,
                source_version=source_version,
                sha256=stanza["SHA256"],
                size=int(stanza["Size"]),
                filename=stanza["Filename"],
                origin=min(listed, key=ranks.index),
                base=name in solution.base,
                build=build,
                why=tuple(reasons),
                dependencies=tuple(graph[name]),
            )
        )
    return rows


def _keep_indexes(
    offer: Survey, target: Target, rows: Sequence[system_pins.Package], store: Store, progress: Progress
) -> list[system_pins.Archive]:
    """Keep the signed Release files and the Packages files that list the rows."""
    suites = {row.origin for row in rows}
    kept: list[system_pins.Archive] = []
    artifacts: list[Artifact] = []
    for index in offer.root.indexes():
        if index.codename not in suites:
            continue
        content = offer.root.inrelease(index)
        inrelease = content.decode(errors="replace")
        path, sha256, size = _listed(inrelease, index)
        dists = f"{index.uri}/dists/{index.suite}"
        directory = path.rpartition("/")[0]
        artifacts.append(
            Artifact(
                filename=path.rpartition("/")[2],
                sha256=sha256,
                size=size,
                urls=(f"{dists}/{directory}/by-hash/SHA256/{sha256}", f"{dists}/{path}"),
            )
        )
        date = re.search(r"^Date: (.*)$", inrelease, re.MULTILINE)
        kept.append(
            system_pins.Archive(
                uri=without_credentials(index.uri),
                suite=index.codename,
                date=date[1].strip() if date else "",
                inrelease=store.keep(content),
                indexes=(system_pins.IndexFile(target=str(target), path=path, sha256=sha256),),
            )
        )
    store.fetch(artifacts, progress)
    return kept


def _listed(inrelease: str, index: apt.Index) -> tuple[str, str, int]:
    """Return the compressed Packages file of an index as its Release file lists it: path, sha256, size."""
    for ending in (".xz", ".gz", ""):
        match = re.search(
            rf"^ ([0-9a-f]{{64}}) +([0-9]+) {re.escape(index.metakey + ending)}$", inrelease, re.MULTILINE
        )
        if match:
            return index.metakey + ending, match[1], int(match[2])
    raise DownloadError(
        f"the Release file of {without_credentials(index.uri)} {index.suite} does not list {index.metakey} by sha256"
    )


def _merge(archives: Sequence[system_pins.Archive]) -> tuple[system_pins.Archive, ...]:
    """Join the rows of one archive that several targets have read."""
    merged: dict[tuple[str, str], system_pins.Archive] = {}
    for archive in archives:
        key = (archive.uri, archive.suite)
        old = merged.get(key)
        indexes = {*(old.indexes if old else ()), *archive.indexes}
        ordered = tuple(sorted(indexes, key=lambda index: (index.path, index.target)))
        merged[key] = archive.model_copy(update={"indexes": ordered})
    return tuple(merged.values())
