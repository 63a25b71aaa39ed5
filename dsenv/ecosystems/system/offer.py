"""What each target's distribution has on offer today: the indexes of its sources, fetched and verified by apt."""

from __future__ import annotations

import contextlib
import difflib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dsenv.ecosystems.system import base
from dsenv.ecosystems.system.archives import snapshots, sources
from dsenv.ecosystems.system.packages import linked, relations, sonames
from dsenv.ecosystems.system.solver import apt, printed, runner
from dsenv.errors import ResolutionError, WrongUseError
from dsenv.pins import Artifact, Target, digest, without_credentials

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from dsenv.ecosystem import Platform
    from dsenv.ecosystems.system.archives.repositories import Repository
    from dsenv.ecosystems.system.pins import Pins
    from dsenv.ecosystems.system.spec import Spec
    from dsenv.progress import Progress
    from dsenv.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one target's distribution has on offer: an ``Offer``, and what ``resolve`` goes on with.

    It answers from what was read once: another project may use the root meanwhile, with preferences of its own.
    """

    ground: base.Ground
    root: apt.AptRoot
    sources: str  # as the root has them
    offered: Mapping[str, str]  # every package's version, by name
    whole: bool = True
    repositories: Sequence[Repository] = ()
    aside: str = ""  # preferences that keep third parties from replacing the distribution's packages
    templates: Mapping[apt.Index, str] = field(default_factory=dict)  # the form of its snapshots' addresses
    until: datetime | None = None  # no later state counts
    linked: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what was asked for so far

    @property
    def label(self) -> str:
        """Return the release for a person."""
        return self.ground.label

    def candidate(self, name: str) -> str | None:
        """Return the version that a package would be installed in."""
        return self.offered.get(name)

    def near(self, name: str) -> tuple[str, ...]:
        """Return names on offer that look like ``name``."""
        return tuple(difflib.get_close_matches(name, self.offered, n=3, cutoff=0.7))

    def providing(self, soname: str) -> str | None:
        """Return the package that brings a shared library, by its name."""
        return next((name for name in sonames.package_names(soname) if name in self.offered), None)

    def origin(self, place: printed.Place) -> str:
        """Return what a row says of where it is listed: the suite's codename, or a third party's name."""
        for index in self.root.indexes_read:
            head = index.suite.rstrip("/")
            if without_credentials(index.uri) == place[0] and f"{place[1]}/".startswith(f"{head}/"):
                return self.origin_of(index)
        return ""

    def origin_of(self, index: apt.Index) -> str:
        """Return the same for an index."""
        own = (row.name for row in self.repositories if (row.uri, row.suite) == (index.uri, index.suite))
        return next(own, index.codename)

    def keep(self, versions: Mapping[str, Sequence[str]]) -> None:
        """Prefer these versions, by name, before all others."""
        self.root.prefer("\n".join(filter(None, (apt.preferences(versions), self.aside))))

    def libraries(self, names: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the packages whose libraries are linked when one builds with each."""

        def depends(names: Sequence[str]) -> Mapping[str, Sequence[str]]:
            stanzas = root.show((name, self.offered[name]) for name in names)
            return {stanza["Package"]: relations.names(stanza.get("Depends", "")) for stanza in stanzas}

        new = [name for name in names if name not in self.linked]
        if new:
            with self.ready() as root:
                self.linked.update(linked.libraries(new, self.offered, depends))
        return {name: self.linked[name] for name in names}

    @contextlib.contextmanager
    def ready(self) -> Iterator[apt.AptRoot]:
        """Keep other processes out of the root meanwhile, and yield it without version preferences of others."""
        with self.root.locked():
            self.root.prepare(sources=self.sources, status=self.ground.status_text, preferences=self.aside)
            yield self.root


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The rows of a lock as an ``Offer``."""

    label: str
    offered: Mapping[str, str]
    dependencies: Mapping[str, Sequence[str]]
    whole: bool = False

    def candidate(self, name: str) -> str | None:
        """Return the locked version."""
        return self.offered.get(name)

    def near(self, name: str) -> tuple[str, ...]:
        """Return nothing: whoever misses a name asks the archive."""
        del name
        return ()

    def providing(self, soname: str) -> str | None:
        """Return the package that brings a shared library, or would: what is not locked the archive has to answer."""
        names = sonames.package_names(soname)
        return next((name for name in names if name in self.offered), next(iter(names), None))

    def libraries(self, names: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the packages whose libraries are linked when one builds with each."""
        return linked.libraries(names, self.offered, lambda names: {each: self.dependencies[each] for each in names})


def offers(pins: Pins) -> Mapping[Target, Locked]:
    """Return what the locked rows have on offer."""
    return {
        Target.parse(target): Locked(
            label=f"{root.distribution} {root.codename}",
            offered={package.name: package.version for package in root.packages},
            dependencies={package.name: package.dependencies for package in root.packages},
        )
        for target, root in pins.roots.items()
    }


def survey(
    spec: Spec,
    platform: Platform,
    previous: Sequence[Pins],
    statuses: Mapping[Target, bytes],
    store: Store,
    progress: Progress,
) -> Mapping[Target, Survey]:
    """Fetch each Linux target's indexes and return what they offer.

    Raises:
        WrongUseError: A status is given for something that is no target with a base.

    """
    targets = [target for target in platform.targets if target.os == "linux"]
    if strangers := sorted(str(target) for target in statuses if target not in targets):
        raise WrongUseError(
            f"{', '.join(strangers)} is no target of this project that has apt packages",
            hint=f"Those are {', '.join(map(str, targets))}." if targets else "Leave --status out.",
        )
    grounds = {
        target: base.ground(
            platform.base, target, progress, _known(platform, target, previous, statuses.get(target, b""), store)
        )
        for target in targets
    }
    if grounds:
        spec = spec.model_copy(update={"repositories": tuple(row.filled() for row in spec.repositories)})
    for row in spec.repositories if grounds else ():
        progress.warn(f"{row.name} has no snapshots: keep what is locked from there: the store has it, once restored")

    known = snapshots.settings() if grounds else {}

    def surveyed(target: Target) -> Survey:
        work = _Work(spec=spec, platform=platform, target=target, store=store, progress=progress, known=known)
        return work.survey(grounds[target])

    with ThreadPoolExecutor(max(len(grounds), 1)) as pool:
        return dict(zip(grounds, pool.map(surveyed, grounds), strict=True))


def _known(platform: Platform, target: Target, previous: Sequence[Pins], given: bytes, store: Store) -> base.Known:
    """Return what is known of a target's base image: from a person, and from the lock as long as it is of that base."""
    for pins in previous:
        root = pins.root(target)
        if root and pins.base == platform.base:
            sha256 = pins.provenance.statuses.get(str(target), "")
            kept = Artifact(filename="status", sha256=sha256) if sha256 else None
            locked = store.read_checked(kept).read_bytes() if kept and not store.missing([kept]) else b""
            return base.Known(given=given, locked=locked, release=(root.distribution, root.codename))
    return base.Known(given=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What surveying one target takes."""

    spec: Spec
    platform: Platform
    target: Target
    store: Store
    progress: Progress
    known: Mapping[str, str]  # apt's settings about snapshots

    def survey(self, ground: base.Ground) -> Survey:
        """Fetch the indexes of a ground's sources: as of the project's date, if there is one and it can be had."""
        day = self.platform.as_of
        if day and self.spec.snapshots:  # the live archive may be gone by then
            addresses = {source.uri: self.spec.snapshots for source in ground.sources}
            return self._fetched(self._dated(ground, addresses))
        found = self._fetched(ground)
        if not day:
            return found
        uris = {source.uri: "" for source in ground.sources}
        uris |= {index.uri: template for index, template in found.templates.items() if index.uri in uris}
        lacking = sorted(without_credentials(uri) for uri, template in uris.items() if not template)
        if lacking:
            self.progress.warn(
                f"no snapshots are known of {', '.join(lacking)}, so `as-of` does not hold for the system's packages, "
                "R among them: say where they are in [system] snapshots"
            )
            return found
        return self._fetched(self._dated(ground, uris))

    def _dated(self, ground: base.Ground, templates: Mapping[str, str]) -> base.Ground:
        """Return a ground whose sources are those of the project's date."""
        assert self.platform.as_of  # noqa: S101 - whoever calls has looked
        instant = snapshots.end_of(self.platform.as_of)
        dated = [
            replace(source, uri=snapshots.address(templates[source.uri], source.uri, instant), live=source.uri)
            for source in ground.sources
        ]
        return replace(ground, sources=tuple(dated))

    def _fetched(self, ground: base.Ground) -> Survey:
        keyring = ground.distribution.keyring
        if ground.keyring is not None:
            keyring = self._kept(ground.keyring)
        keys = [Path(keyring)]
        rendered = [sources.render(ground.sources, keyring, self.target.architecture)]
        suites = {suite.format(ground.codename) for suite in ground.distribution.suites}
        for row in self.spec.repositories:
            if row.name in suites:
                raise WrongUseError(f"{row.name} is a suite of {ground.label}: give the third party another name")
            keys.append(Path(self._kept(row.keyring)))
            rendered.append(sources.third_party(row, row.uri, str(keys[-1]), self.target.architecture))
        text = "\n".join(rendered)
        key = digest([text, self.platform.base, str(self.target)])[:16]
        runs = runner.for_image(ground.image, keys) if ground.image else runner.Here()
        root = apt.AptRoot(self.store.cache("apt") / key, self.target.architecture, runs)
        with root.locked():
            self.progress.update(f"fetching the indexes of {ground.label} for {self.target}")
            root.prepare(sources=text, status=ground.status_text)
            root.update()
            moved = _moved(root, ground, self.spec.repositories)
            if not moved:
                dated = any(source.live for source in ground.sources)
                aside = put_aside(root, self.spec.repositories)
                root.prefer(aside)
                return Survey(
                    ground=ground,
                    root=root,
                    sources=text,
                    offered=root.offered(),
                    repositories=self.spec.repositories,
                    aside=aside,
                    templates=self._templates(root, ground),
                    until=snapshots.end_of(self.platform.as_of) if dated and self.platform.as_of else None,
                )
        return self._fetched(base.without(ground, moved, self.progress))

    def _kept(self, keyring: bytes) -> str:
        """Return where a keyring lies in the store."""
        return str(self.store.path(Artifact(filename="keyring.gpg", sha256=self.store.keep(keyring))))

    def _templates(self, root: apt.AptRoot, ground: base.Ground) -> dict[apt.Index, str]:
        """Return the form of the snapshots' addresses of each live index of the distribution."""
        own = {source.uri for source in ground.sources if not source.live}
        given = self.spec.snapshots or ""
        found = {}
        for index in root.indexes_read:
            if index.uri in own:
                release = root.inrelease(index).decode(errors="replace")
                found[index] = snapshots.template(index.uri, release, self.known, given)
        return found


def put_aside(root: apt.AptRoot, repositories: Sequence[Repository]) -> str:
    """Return preferences under which third parties add packages, and replace only those that they were named for.

    Priorities below 500 lose against the distribution's, those above win. An archive as a whole cannot be named by
    what apt knows of it: mirrors have several on one host, and Release files may tell no origin.
    """
    known: dict[tuple[str, str], list[tuple[str, str]]] = {}
    wanted = {(row.uri, row.suite): row for row in repositories}
    for index in root.indexes_read if wanted else ():
        known.setdefault((index.uri, index.suite), []).extend(root.listed(index))
    own = {name for place, listed in known.items() if place not in wanted for name, _ in listed}
    lines = [
        f"Package: {name}\nPin: version {version}\nPin-Priority: {990 if row.takes(name) else 100}\n"
        for place, row in wanted.items()
        for name, version in sorted({*known.get(place, ())})
        if name in own
    ]
    return "\n".join(lines)


def _moved(
    root: apt.AptRoot, ground: base.Ground, repositories: Sequence[Repository] = ()
) -> list[tuple[sources.Source, str]]:
    """Return the sources that name their suite by an alias which is another release by now, each with that reason.

    Raises:
        ResolutionError: The distribution's key signed an index for something else than its suite's name says.

    """
    suites = [form.format(ground.codename) for form in ground.distribution.suites]
    found: list[tuple[sources.Source, str]] = []
    others = {(row.uri, row.suite) for row in repositories}
    for index in root.indexes_read:
        is_right = index.origin == ground.distribution.origin and index.codename in suites
        if is_right or (index.uri, index.suite) in others:
            continue
        says = f"says that it is {index.origin} {index.codename}"
        moved = [source for source in ground.sources if (source.uri, source.suite) == (index.uri, index.suite)]
        if index.suite in suites or not moved:
            raise ResolutionError(
                f"{without_credentials(index.uri)} {index.suite} {says}, not {ground.label}",
                hint="Correct the apt source.",
            )
        found.extend((source, f"it {says}") for source in moved)
    return found
