"""What each target's distribution has on offer today: the indexes of its sources, fetched and verified by apt."""

from __future__ import annotations

import contextlib
import difflib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsenv.ecosystems.system import apt, base, sonames, sources
from dsenv.errors import ResolutionError
from dsenv.pins import Artifact, Target, digest, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dsenv.ecosystem import Platform
    from dsenv.ecosystems.system.pins import Pins
    from dsenv.ecosystems.system.spec import Spec
    from dsenv.pins import Need
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

    @contextlib.contextmanager
    def ready(self) -> Iterator[apt.AptRoot]:
        """Keep other processes out of the root meanwhile, and yield it without their version preferences."""
        with self.root.locked():
            self.root.prepare(sources=self.sources, status=self.ground.status)
            yield self.root


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The rows of a lock as an ``Offer``."""

    label: str
    offered: Mapping[str, str]
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


def offers(pins: Pins) -> Mapping[Target, Locked]:
    """Return what the locked rows have on offer."""
    return {
        Target.parse(target): Locked(
            label=f"{root.distribution} {root.codename}",
            offered={package.name: package.version for package in root.packages},
        )
        for target, root in pins.roots.items()
    }


def survey(spec: Spec, platform: Platform, project: Path, store: Store, progress: Progress) -> Mapping[Target, Survey]:
    """Fetch each Linux target's indexes and return what they offer."""
    del spec, project
    if platform.as_of:
        progress.warn("`as-of` holds for Python packages so far: the system's, and R's with them, are those of today")
    grounds = {
        target: base.ground(platform.base, target, progress) for target in platform.targets if target.os == "linux"
    }
    with ThreadPoolExecutor(max(len(grounds), 1)) as pool:
        found = pool.map(lambda target: _survey(grounds[target], platform.base, target, store, progress), grounds)
        return dict(zip(grounds, found, strict=True))


def check_names(needs: Sequence[Need], offer: Survey) -> None:
    """Name every package that does not exist before apt stops at the first."""
    unknown = sorted({need.name: need for need in needs if need.name not in offer.offered}.values())
    if unknown:
        lines = []
        for need in unknown:
            table = "[system] build" if need.build else "[system] packages"
            asker = table if need.why == "requested" else need.why
            line = f"{need.name} (asked for by {asker})"
            if providers := offer.root.providers(need.name):
                line += f": provided by {', '.join(providers)}"
            elif near := offer.near(need.name):
                line += f": near: {', '.join(near)}"
            lines.append(line)
        raise ResolutionError(f"{offer.label} has no package of this name", cause="\n".join(lines))


def _survey(ground: base.Ground, name: str, target: Target, store: Store, progress: Progress) -> Survey:
    keyring = ground.distribution.keyring
    if ground.keyring is not None:
        keyring = str(store.path(Artifact(filename="keyring.gpg", sha256=store.keep(ground.keyring))))
    rendered = sources.render(ground.sources, keyring, target.architecture)
    key = digest([rendered, name, str(target)])[:16]
    root = apt.AptRoot(store.cache("apt") / key, target.architecture)
    with root.locked():
        progress.update(f"fetching the indexes of {ground.label} for {target}")
        root.prepare(sources=rendered, status=ground.status)
        root.update()
        moved = _moved(root, ground)
        if not moved:
            return Survey(ground=ground, root=root, sources=rendered, offered=root.offered())
    return _survey(base.without(ground, moved, progress), name, target, store, progress)


def _moved(root: apt.AptRoot, ground: base.Ground) -> list[tuple[sources.Source, str]]:
    """Return the sources that name their suite by an alias which is another release by now, each with that reason.

    Raises:
        ResolutionError: The distribution's key signed an index for something else than its suite's name says.

    """
    suites = [form.format(ground.codename) for form in ground.distribution.suites]
    found: list[tuple[sources.Source, str]] = []
    for index in root.indexes():
        if index.origin == ground.distribution.origin and index.codename in suites:
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
