"""Which exact system packages: apt's answer, for each target, about the whole root.

Everything is asked of the real apt in an isolated root (``apt.py``). What it answers becomes rows, and the signed
indexes that list them are kept as artifacts, since archives overwrite them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsenv.ecosystem import Offer, Platform, Request, Resolution
from dsenv.ecosystems.system import alternatives, apt, base, relations, sources
from dsenv.ecosystems.system import pins as system_pins
from dsenv.ecosystems.system.spec import Spec, parse_request
from dsenv.errors import DownloadError, ResolutionError
from dsenv.formats import deb822
from dsenv.pins import Artifact, Need, Target, digest, without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsenv.progress import Progress
    from dsenv.store import Store

@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one target's distribution has on offer: an ``Offer``, and what ``resolve`` goes on with."""

    ground: base.Ground
    root: apt.AptRoot
    sources: str

    @property
    def label(self) -> str:
        """Return the release for a person."""
        return self.ground.label

    def candidate(self, name: str) -> str | None:
        """Return the version that a package would be installed in."""
        return self.root.candidates([name]).get(name)

    def near(self, name: str) -> tuple[str, ...]:
        """Return names on offer that look like ``name``."""
        return self.root.near(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """apt's answer for one root."""

    stanzas: Mapping[str, deb822.Stanza]  # every package of the root, by name
    base: frozenset[str]  # names


def survey(
    spec: Spec, platform: Platform, project: Path, store: Store, progress: Progress
) -> Mapping[Target, Survey]:
    """Fetch each Linux target's indexes and return what they offer."""
    del spec, project
    found = {}
    for target in platform.targets:
        if target.os != "linux":
            continue
        ground = base.ground(platform.base, target, progress)
        keyring = ground.distribution.keyring
        if ground.keyring is not None:
            keyring = str(store.path(Artifact(filename="keyring.gpg", sha256=store.keep(ground.keyring))))
        rendered = sources.render(ground.sources, keyring, target.architecture)
        key = digest([rendered, platform.base, str(target)])[:16]
        root = apt.AptRoot(store.cache("apt") / key, target.architecture)
        with root.locked():
            progress.update(f"fetching the indexes of {ground.label} for {target}")
            root.prepare(sources=rendered, status=ground.status)
            root.update()
            _check_origin(root, ground)
        found[target] = Survey(ground=ground, root=root, sources=rendered)
    return found


def needs(spec: Spec, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
    """Return what a person asked for."""
    del offers
    return tuple(parse_request(text) for text in spec.packages)


def resolve(request: Request) -> Resolution:
    """Solve each target's root from what the base has and what everyone needs."""
    roots: dict[str, system_pins.Root] = {}
    providers: dict[str, set[str]] = {}
    archives: list[system_pins.Archive] = []
    version = ""
    for target, offer in request.offers.items():
        assert isinstance(offer, Survey)  # noqa: S101 - the foundation gets back what its own survey returned
        previous = request.previous.root(target) if request.previous and not request.upgrade else None
        with offer.root.locked():
            offer.root.prepare(sources=offer.sources, status=offer.ground.status)
            _check_names(request.needs, offer)
            solution = _solve_keeping(request, offer, previous)
            rows = _rows(solution, request.needs, offer)
            version = offer.root.version()
            archives.extend(_keep_indexes(offer, target, rows, request.store, request.progress))
        roots[str(target)] = system_pins.Root(
            distribution=offer.ground.distribution.name, codename=offer.ground.codename, packages=tuple(rows)
        )
        providers[str(target)] = alternatives.providers(solution.stanzas)
    provenance = system_pins.Provenance(apt=version, archives=_merge(archives))
    pins = system_pins.Pins(
        base=request.platform.base, locale=request.platform.locale, timezone=request.platform.timezone, roots=roots,
        provenance=provenance,
    )
    return Resolution(pins=alternatives.select(pins, providers, request.store, request.progress))


def _check_origin(root: apt.AptRoot, ground: base.Ground) -> None:
    """Refuse an index that the distribution's key signed for something else."""
    expected = {suite.format(ground.codename) for suite in ground.distribution.suites}
    for index in root.indexes():
        if index.origin != ground.distribution.origin or index.codename not in expected:
            raise ResolutionError(
                f"{index.uri} {index.suite} says that it is {index.origin} {index.codename}, not {ground.label}",
                hint="Correct the apt source.",
            )


def _check_names(needs: Sequence[Need], offer: Survey) -> None:
    """Name every package that does not exist before apt stops at the first."""
    known = offer.root.candidates(sorted({need.name for need in needs}))
    unknown = sorted({need.name: need for need in needs if need.name not in known}.values())
    if unknown:
        lines = []
        for need in unknown:
            near = offer.near(need.name)
            lines.append(f"{need.name} (asked for by {_asker(need)})" + (f": near: {', '.join(near)}" if near else ""))
        raise ResolutionError(f"{offer.label} has no package of this name", cause="\n".join(lines))


def _solve_keeping(
    request: Request, offer: Survey, previous: system_pins.Root | None
) -> Solution:
    """Solve with the locked versions preferred; where that has no solution, without, and say so."""
    locked = {package.name: package.version for package in previous.packages} if previous else {}
    offer.root.prefer(apt.preferences(locked))
    try:
        return _solve(request, offer)
    except ResolutionError:
        if not locked:
            raise
        offer.root.prefer("")
        solved = _solve(request, offer)
        request.progress.warn("the locked system packages could not all be kept: they were solved anew")
        return solved


def _solve(request: Request, offer: Survey) -> Solution:
    root, ground = offer.root, offer.ground
    asked = [f"{need.name}={need.version}" if need.version else need.name for need in sorted(set(request.needs))]
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
    why: dict[str, set[str]] = {}
    for need in needs:
        why.setdefault(need.name, set()).add(need.why)
    ranks = [suite.format(offer.ground.codename) for suite in offer.ground.distribution.suites]
    suites = offer.root.suites(sorted(solution.stanzas))
    graph = relations.graph(solution.stanzas)
    rows = []
    for name, stanza in sorted(solution.stanzas.items()):
        source, source_version = relations.source(stanza)
        listed = suites.get((name, stanza["Version"]), set())
        reasons = sorted(why.get(name, ())) or (["base" if name in solution.base else "dependency"])
        rows.append(system_pins.Package(
            name=name, version=stanza["Version"], architecture=stanza["Architecture"], source=source,
            source_version=source_version, sha256=stanza["SHA256"], size=int(stanza["Size"]),
            filename=stanza["Filename"], origin=min(listed, key=ranks.index), base=name in solution.base,
            why=tuple(reasons), dependencies=tuple(graph[name]),
        ))
    return rows


def _keep_indexes(
    offer: Survey, target: Target, rows: Sequence[system_pins.Package], store: Store, progress: Progress
) -> list[system_pins.Archive]:
    """Keep the signed Release files and the Packages files that list the rows."""
    suites = {row.origin for row in rows}
    kept: list[system_pins.Archive] = []
    artifacts: list[Artifact] = []
    for index in offer.root.indexes():
        if index.suite not in suites:
            continue
        content = offer.root.inrelease(index)
        inrelease = content.decode(errors="replace")
        path, sha256, size = _listed(inrelease, index)
        dists = f"{index.uri}/dists/{index.suite}"
        directory = path.rpartition("/")[0]
        artifacts.append(Artifact(
            filename=path.rpartition("/")[2], sha256=sha256, size=size,
            urls=(f"{dists}/{directory}/by-hash/SHA256/{sha256}", f"{dists}/{path}"),
        ))
        date = re.search(r"^Date: (.*)$", inrelease, re.MULTILINE)
        kept.append(system_pins.Archive(
            uri=without_credentials(index.uri), suite=index.suite, date=date[1].strip() if date else "",
            inrelease=store.keep(content),
            indexes=(system_pins.IndexFile(target=str(target), path=path, sha256=sha256),),
        ))
    store.fetch(artifacts, progress)
    return kept


def _listed(inrelease: str, index: apt.Index) -> tuple[str, str, int]:
    """Return the compressed Packages file of an index as its Release file lists it: path, sha256, size."""
    for ending in (".xz", ".gz", ""):
        match = re.search(rf"^ ([0-9a-f]{{64}}) +(\d+) {re.escape(index.metakey + ending)}$", inrelease, re.MULTILINE)
        if match:
            return index.metakey + ending, match[1], int(match[2])
    raise DownloadError(f"the Release file of {index.uri} {index.suite} does not list {index.metakey} by sha256")


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


def _asker(need: Need) -> str:
    return "[system] packages" if need.why == "requested" else need.why
