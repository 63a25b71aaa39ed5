"""The workshop: what ecosystems want built is made out of locked artifacts, once for each key of all it depends on.

A build runs in a root made of the locked system packages and nothing else, at one path, as one user, without a network
(``enter.py``); so what comes of it is the same for two users, two paths and two machines. Where the kernel forbids
that, it runs beside the machine's own files, and what comes of it is kept apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from dsenv import tree as trees
from dsenv.builds import PLACE, Built
from dsenv.errors import BuildError
from dsenv.outputs import bench as benches
from dsenv.pins import Artifact, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dsenv.builds import Build
    from dsenv.outputs.build_log import Missing
    from dsenv.progress import Progress
    from dsenv.steps import Input, Place, Recipe
    from dsenv.store import Store

Name = tuple[str, str]
"""An ecosystem, and a build of it."""

_KIND: Final = "builds"
_FACTS: Final = "facts.json"
_OUT: Final = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A root that builds run in: it has what they may see."""

    key: str  # of all that it depends on
    artifacts: Sequence[Artifact]
    recipe: Callable[[Place], Recipe]  # the steps that make it


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is to be built, and in which roots."""

    root: Callable[[Sequence[str]], Root] | None  # by what a build may see; None where there are no rows to make one of
    misfit: str  # why this machine cannot run the root's programs beside its own files, or nothing when it can
    builds: Callable[[Place], Mapping[str, Sequence[Build]]]  # by ecosystem, each after those that it needs
    suggest: Callable[[Missing], str]  # the package to add, or nothing when none is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A build, and where its result is kept."""

    name: Name
    build: Build
    root: Root
    key: str
    canonical: bool
    after: tuple[Name, ...]
    result: Built | None  # when it was made before


class Workshop:
    """All builds of a demand, as they stand in a store.

    Args:
        demand: What is to be built.
        store: Where it is kept.
        progress: Told what is going on.
        beside: Whether to build beside the machine's files although a root could be entered.

    """

    def __init__(self, demand: Demand, store: Store, progress: Progress, *, beside: bool = False) -> None:
        self.demand = demand
        self.store = store
        self.progress = progress
        self._beside = beside

    @cached_property
    def forbidden(self) -> str:
        """Why no root can be entered here, if so."""
        return "it was asked for" if self._beside else benches.forbidden(self.store)

    @cached_property
    def orders(self) -> dict[Name, Order]:
        """All builds, each after those that it needs, with what was made before, checked."""
        found: dict[Name, Order] = {}
        canonical: dict[Name, str] = {}  # keys
        roots: dict[tuple[str, ...], Root] = {}
        for ecosystem, builds in self.demand.builds(PLACE).items():
            for build in builds:
                name = (ecosystem, build.name)
                after = tuple((ecosystem, other) for other in build.after)
                root = roots.get(build.sees) or roots.setdefault(build.sees, self._root(build))
                canonical[name] = key = _key(build, root, [canonical[other] for other in after], canonical=True)
                result = self.kept(key)
                entered = result is not None or not self.forbidden
                if not entered:
                    key = _key(build, root, [found[other].key for other in after], canonical=False)
                    result = self.kept(key)
                found[name] = Order(
                    name=name, build=build, root=root, key=key, canonical=entered, after=after, result=result
                )
        return found

    @property
    def lacking(self) -> list[Order]:
        """What has to be built."""
        return [order for order in self.orders.values() if order.result is None]

    def missing(self) -> list[Artifact]:
        """Return what would have to be downloaded for that."""
        lacking = self.lacking
        inputs = [item.source for order in lacking for item in order.build.inputs if isinstance(item.source, Artifact)]
        rows = [artifact for order in lacking for artifact in order.root.artifacts]
        return self.store.missing(dict.fromkeys([*rows, *inputs]))

    def keep(self, order: Order, made: Path, seconds: float) -> None:
        """Take a result into the store."""
        facts = {
            "title": order.build.title,
            "sha256": trees.file_sha256(made),
            "canonical": order.canonical,
            "seconds": round(seconds, 1),
        }

        def fill(aside: Path) -> None:
            (aside / _OUT).mkdir()
            made.rename(aside / _OUT / made.name).chmod(0o444)
            (aside / _FACTS).write_text(json.dumps(facts), "utf-8")

        self.store.keep_directory(_KIND, order.key, fill)

    def kept(self, key: str) -> Built | None:
        """Return what was made under a key, if it is there and sound."""
        home = self.store.kept(_KIND, key, self.progress)
        if home is None:
            return None
        facts = json.loads((home / _FACTS).read_text("utf-8"))
        (path,) = (home / _OUT).iterdir()
        return Built(path=path, sha256=facts["sha256"], canonical=facts["canonical"])

    def _root(self, build: Build) -> Root:
        if self.demand.root is None:
            raise BuildError(f"{build.title}: the lock has no system packages to build it with")
        return self.demand.root(build.sees)


def _key(build: Build, root: Root, after: Sequence[str], *, canonical: bool) -> str:
    return digest(
        {
            "made": benches.MADE,
            "workshop": root.key,
            "canonical": canonical,
            "inputs": [[item.name, _sha256(item), item.executable] for item in build.inputs],
            "steps": [[list(step.argv), [list(pair) for pair in step.env]] for step in build.steps],
            "after": [[name, key] for name, key in zip(build.after, after, strict=True)],
        }
    )


def _sha256(item: Input) -> str:
    if item.identity:
        return item.identity
    if isinstance(item.source, str):
        return trees.content_sha256(item.source.encode())
    if isinstance(item.source, Artifact):
        return item.source.sha256
    return item.sha256 or trees.file_sha256(item.source)
