"""``dsenv verify``: prove, file by file, that an environment or an image is what the lock says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsenv import locks, tree
from dsenv.errors import DriftError
from dsenv.operations.selection import Selected, select
from dsenv.outputs import image
from dsenv.outputs import project as output
from dsenv.pins import Target
from dsenv.tools import engine as engines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsenv.ecosystem import Expectation
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.steps import Place
    from dsenv.store import Store
    from dsenv.tree import Difference, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What was compared."""

    subject: str  # for a person: "environment 3f2a… (project)"
    compared: Mapping[str, int]  # files compared, by whose they are: "system", "python", "steps"
    differences: Sequence[Difference]
    exceptions: Sequence[tuple[str, str]] = field(default=())  # a known difference and its reason
    generated: Sequence[tuple[str, str]] = field(default=())  # a file that no artifact vouches for, and who wrote it
    unlisted: int = 0  # files of an image that maintainer scripts made

    @property
    def total(self) -> int:
        """How many files were compared."""
        return sum(self.compared.values())


def verify(project: Project, spec: Spec, store: Store, progress: Progress) -> VerifyResult:
    """Compare the current environment with the locked artifacts."""
    held = locks.read(project.directory)
    locks.check_fresh(spec, held)
    environment = output.current(project)
    if environment is None:
        raise DriftError("there is no environment", hint="Run `dsenv restore`.")
    selected = select(held, Target.parse(environment.target), environment.groups)
    if environment.id != selected.id:
        raise DriftError("the environment is not that of the lock", hint="Run `dsenv restore`.")
    place = output.place_of(project, environment)
    _fetch_missing(selected, place, store, progress)
    progress.update("reading the locked artifacts")
    recipes = selected.recipes(place, store, progress)
    steps = output.expected(recipes, place, store)
    parts = _expectations(selected, place, store)
    progress.update("reading the environment")
    observed = output.observed(environment)
    generated = {path: reason for part in parts.values() for path, reason in part.generated.items() if path in observed}
    recorded = output.recorded(environment)
    expected = {**steps, **{path: entry for part in parts.values() for path, entry in part.tree.items()}}
    vouched = {**expected, **{path: recorded[path] for path in generated if path in recorded}}
    return VerifyResult(
        subject=f"environment {environment.id} ({environment.mode})",
        compared=_counts(steps, parts),
        differences=tree.compare(vouched, observed),
        generated=sorted(generated.items()),
    )


def verify_image(project: Project, spec: Spec, store: Store, progress: Progress, target: Target) -> VerifyResult:
    """Compare an image's files with the locked artifacts."""
    held = locks.read(project.directory)
    locks.check_fresh(spec, held)
    selected = select(held, target)
    place = image.PLACE
    tag = image.tag(spec.project.name, selected.id)
    engine = engines.connect()
    if engine.image(tag) is None:
        raise DriftError(f"the engine has no image {tag}", hint="Run `dsenv docker`.")
    _fetch_missing(selected, place, store, progress)
    progress.update("reading the locked artifacts")
    parts = _expectations(selected, place, store)
    progress.update(f"reading the image {tag}")
    with engine.export(tag) as stream:
        observed = image.read_tree(stream)
    expected = {path: entry for part in parts.values() for path, entry in part.tree.items()}
    generated = {path: reason for part in parts.values() for path, reason in part.generated.items() if path in observed}
    reasons = {path: reason for part in parts.values() for path, reason in part.exceptions.items()}
    found = [item for item in tree.compare(expected, observed) if item.what != "unexpected"]
    known = [(item.path, reasons[item.path]) for item in found if item.path in reasons]
    return VerifyResult(
        subject=f"image {tag}", compared=_counts({}, parts),
        differences=[item for item in found if item.path not in reasons], exceptions=known,
        generated=sorted(generated.items()),
        unlisted=sum(
            entry.kind != "directory" and path not in expected and path not in generated
            for path, entry in observed.items()
        ),
    )


def _expectations(selected: Selected, place: Place, store: Store) -> dict[str, Expectation]:
    return {
        ecosystem.name: ecosystem.expectation(pins, selected.selection, place, store)
        for ecosystem, pins in selected.parts()
    }


def _counts(steps: Tree, parts: Mapping[str, Expectation]) -> dict[str, int]:
    trees = {"packages and settings": steps, **{name: part.tree for name, part in parts.items()}}
    counts = {name: sum(entry.kind != "directory" for entry in found.values()) for name, found in trees.items()}
    return {name: count for name, count in counts.items() if count}


def _fetch_missing(selected: Selected, place: Place, store: Store, progress: Progress) -> None:
    """Fetch what is not in the store; what is damaged there is to be found, not healed."""
    store.fetch(store.missing(selected.artifacts(place)), progress)
