"""What each source takes to be built, pinned: asked of its backend, resolved like everything else, wheels only."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python.building import backend
from dsenv.ecosystems.python.engines.interface import Pin
from dsenv.ecosystems.python.origins import fetch, metadata
from dsenv.ecosystems.python.platforms import best
from dsenv.errors import ResolutionError
from dsenv.pins import Artifact, digest
from dsenv.tree import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.python.building.backend import BuildSystem
    from dsenv.ecosystems.python.engines.interface import Answer, Found, Question
    from dsenv.ecosystems.python.origins.fetch import Located
    from dsenv.ecosystems.python.origins.metadata import Metadata

_ASKED: Final = 1  # counts the ways in which sources were asked so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What a source takes."""

    system: BuildSystem  # with all that its backend asks for among what it requires
    packages: Sequence[Found]  # the pins of that
    languages: tuple[str, ...]
    metadata: Metadata


class Inspector:
    """Asks sources; each set of build requirements is resolved once.

    Args:
        request: What is resolved.
        question: How everything is resolved: its places, routes and dates hold for build requirements, too.
        answer: Resolves one.

    """

    def __init__(self, request: Request, question: Question, answer: Callable[[Question], Answer]) -> None:
        self._request = request
        self._question = question
        self._answer = answer
        self._pinned: dict[tuple[str, ...], Sequence[Found]] = {}
        self._lock = threading.Lock()

    def inspect(self, located: Located) -> Inspected:
        """Find out what building a source takes, and what it is; its files are in the store.

        Raises:
            ResolutionError: Its backend fails, or what it requires cannot be had.
            IntegrityError: It is no Python package.

        """
        store = self._request.store
        self._request.progress.update(f"asking {located.name} what building it takes")
        with store.scratch("source") as aside:
            directory = fetch.unpacked(located, aside / "source", store)
            system = backend.read(directory, located.title)
            packages = self._pins(system.requires, located)
            asked = _Asked(self, located, aside, directory)
            more = self._more(asked, system, packages)
            if {*more} - {*system.requires}:
                system = replace(system, requires=tuple(sorted({*system.requires, *more})))
                packages = self._pins(system.requires, located)
            said = metadata.static(directory, located.title) or _metadata(asked, system, packages)
            languages = backend.languages(directory)
        return Inspected(system=system, packages=packages, languages=languages, metadata=said)

    @property
    def python(self) -> str:
        """The lowest version that is locked."""
        return self._question.space.version(self._question.space.patches[0])

    def wheels(self, packages: Iterable[Found], located: Located) -> list[Artifact]:
        """Return this machine's wheels of some pins, and bring them into the store."""
        accepted = backend.tags(self.python)
        found = []
        for package in packages:
            wheel = best(package.wheels, accepted)
            if wheel is None:
                raise ResolutionError(
                    f"asking {located.name} what building it takes needs {package.name} {package.version}, which has "
                    "no wheel for this machine",
                    hint="Lock on a machine of one of the targets.",
                )
            found.append(python_pins.artifact(wheel))
        self._request.store.fetch(found, self._request.progress)
        return found

    @cached_property
    def program(self) -> str:
        """The Python that backends are asked under."""
        return self._question.python or backend.python(self.python)

    def request(self) -> Request:
        """Return what is resolved."""
        return self._request

    def _more(self, asked: _Asked, system: BuildSystem, packages: Sequence[Found]) -> tuple[str, ...]:
        """Return what a backend asks for beyond what stands in pyproject.toml.

        A ``setup.py`` may stop for want of a program such as pg_config, which only the workshop has. An sdist that says
        by itself what it is gets along without: the build, which has no network, will tell.
        """
        title = asked.located.title
        try:
            return backend.requirements(asked.ask("requires", system, packages), title)
        except ResolutionError:
            if not metadata.written(asked.directory, title):
                raise
            self._request.progress.say(
                f"{title} does not tell here what building it takes: taken is what its pyproject.toml says"
            )
            return ()

    def _pins(self, requires: tuple[str, ...], located: Located) -> Sequence[Found]:
        with self._lock:  # several sources may require the same
            if requires and requires not in self._pinned:
                self._pinned[requires] = self._resolved(requires, located)
            return self._pinned.get(requires, ())

    def _resolved(self, requires: tuple[str, ...], located: Located) -> Sequence[Found]:
        question = replace(
            self._question,
            requirements=requires,
            groups={},
            conflicts=(),
            overrides=(),
            exclude=(),
            build=(),
            preferred=self._preferred(located.name),
        )
        try:
            return self._answer(question).packages
        except ResolutionError as error:
            raise ResolutionError(
                f"what building {located.title} takes cannot be had: {', '.join(requires)}",
                cause="\n".join(filter(None, (error.sentence, error.cause))),
                hint="Build requirements are taken as wheels only.",
            ) from error

    def _preferred(self, name: str) -> tuple[Pin, ...]:
        """Return what building a package takes by the lock, unless that package is to be renewed."""
        if self._request.upgrade.releases(name):
            return ()
        for pins in self._request.previous:
            for row in pins.sources:
                if row.name == name:
                    return tuple(
                        Pin(name=package.name, version=str(package.version), index=package.index or "")
                        for package in pins.build_packages(row)
                    )
        return ()


def _metadata(asked: _Asked, system: BuildSystem, packages: Sequence[Found]) -> Metadata:
    """Return what a source's backend says it is; where that cannot tell here, what it said when the sdist was made."""
    title = asked.located.title
    try:
        return metadata.parse(str(asked.ask("metadata", system, packages)), title)
    except ResolutionError:
        said = metadata.written(asked.directory, title)
        if said is None:
            raise
        return said


class _Asked:
    """The answers of one source's backend, kept in the store by all that they depend on."""

    def __init__(self, inspector: Inspector, located: Located, aside: Path, directory: Path) -> None:
        self._inspector = inspector
        self.located = located
        self._aside = aside
        self.directory = directory
        self._environments: dict[tuple[str, ...], backend.Environment] = {}

    def ask(self, command: str, system: BuildSystem, packages: Sequence[Found]) -> Any:
        """Return an answer, from the store where it was given before."""
        located, store = self.located, self._inspector.request().store
        wheels = self._inspector.wheels(packages, located)
        hashes = tuple(wheel.sha256 for wheel in wheels)
        source = [located.artifact.sha256, located.commit, located.subdirectory, asdict(system)]
        key = digest([_ASKED, command, source, hashes, self._inspector.python])
        kept = store.cache("backends") / f"{key}.json"
        try:
            if located.is_in_place:  # what it is known by is not all that a backend reads
                raise FileNotFoundError(kept)
            return json.loads(kept.read_bytes())
        except (OSError, ValueError):
            answer = self._environment(hashes, wheels).ask(command, self._tree(), system, located.title)
            replace_file(kept, json.dumps(answer).encode())
            return answer

    def _environment(self, hashes: tuple[str, ...], wheels: Sequence[Artifact]) -> backend.Environment:
        if hashes not in self._environments:
            home = self._aside / f"environment-{len(self._environments)}"
            home.mkdir()
            python = self._inspector.program
            store = self._inspector.request().store
            self._environments[hashes] = backend.Environment(home=home, python=python, wheels=wheels, store=store)
        return self._environments[hashes]

    def _tree(self) -> Path:
        """Return the directory that is asked; a commit's has its history, from which versions are counted."""
        if not self.located.commit:
            return self.directory
        work = self._aside / "work"
        if not work.exists():
            fetch.checkout(self.located, work, self._inspector.request().store)
        return work / self.located.subdirectory
