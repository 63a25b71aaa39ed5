"""``dsenv verify``: prove, file by file, that an environment or an image is what the lock says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsenv import locks, tree
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import DriftError
from dsenv.operations import build, strictness
from dsenv.operations.docker import about
from dsenv.operations.selection import Selected, select
from dsenv.operations.trust import check_root
from dsenv.outputs import image
from dsenv.outputs import project as output
from dsenv.pins import NO_GROUPS, Groups, Target
from dsenv.steps import StartFrom
from dsenv.tools import engine as engines
from dsenv.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dsenv.builds import Results
    from dsenv.ecosystem import Expectation
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.steps import Place, Recipe
    from dsenv.store import Store
    from dsenv.tools.engine import Engine, Image
    from dsenv.tree import Difference, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What was compared."""

    subject: str  # for a person: "environment 3f2a… (project)"
    compared: Mapping[str, int]  # files compared, by whose they are: "system", "python", "steps"
    differences: Sequence[Difference]
    exceptions: Sequence[tuple[str, str]] = field(default=())  # a known difference and its reason
    generated: Sequence[tuple[str, str]] = field(default=())  # a file that no artifact vouches for, and who wrote it
    unlisted: int = 0  # files of an image that maintainer scripts made, or that are the project's own
    bytecode: int = 0  # files of an image that Python made of others
    vouched: bool = False  # whether generated files were compared with how the installer left them
    settings: int = 0  # of an image, compared with its Dockerfile

    @property
    def total(self) -> int:
        """How many files and settings were compared."""
        return sum(self.compared.values()) + self.settings


def verify(project: Project, spec: Spec, store: Store, progress: Progress, *, strict: bool = False) -> VerifyResult:
    """Compare the current environment with the locked artifacts.

    What it has in place of what is locked is told; with ``strict`` that, and what it stands on, is an error.
    """
    held = locks.read_fresh(project.directory, spec)
    environment = output.current(project)
    if environment is None:
        raise DriftError("there is no environment", hint="Run `dsenv restore`.")
    selected = select(held, Target.parse(environment.target), Groups(named=tuple(environment.groups)))
    if environment.id != selected.id:
        raise DriftError("the environment is not that of the lock", hint="Run `dsenv restore`.")
    if strict:
        misfit = FOUNDATION.misfit(selected.ground, selected.selection.target)
        ground = None if misfit else FOUNDATION.check_ground(selected.ground, selected.selection.target)
        strictness.insist(misfit=misfit, ground=ground, differs=environment.differs)
    for sentence in environment.differs:
        progress.warn(sentence)
    place = output.place_of(project, environment)
    _fetch_missing(selected, place, store, progress)
    progress.update("reading the locked artifacts")
    built = build.perform(selected, place, store, progress)
    recipes = selected.recipes(place, store, progress, built)
    steps = output.expected(recipes, place, store, progress)
    parts = _expectations(selected, place, store, built)
    progress.update("reading the environment")
    observed = output.observed(environment)
    recorded = output.recorded(environment)
    expected = {**steps, **{path: entry for part in parts.values() for path, entry in part.tree.items()}}
    written = _generated(parts, _files(recorded) - expected.keys())
    expected.update(output.started(environment, [*expected, *written]))
    own = {path for path, source in output.compiled(recorded).items() if source in expected and path not in expected}
    generated = written | dict.fromkeys(own, "bytecode, compiled by the environment's Python at restore")
    vouched = {**expected, **{path: recorded[path] for path in generated if path in recorded}}
    return VerifyResult(
        subject=f"environment {environment.id} ({environment.mode})",
        compared=_counts({"the system and interpreters": steps}, parts),
        differences=tree.compare(vouched, observed),
        generated=sorted((path, reason) for path, reason in generated.items() if path in observed),
        vouched=True,
    )


def verify_image(
    project: Project,
    spec: Spec,
    store: Store,
    progress: Progress,
    target: Target,
    *,
    groups: Groups = NO_GROUPS,
) -> VerifyResult:
    """Compare an image's files with the locked artifacts, and its settings with what the Dockerfile says."""
    held = locks.read_fresh(project.directory, spec)
    selected = select(held, target, groups).delivered(project.directory)
    tag = image.tag(spec.project.name, selected.id)
    with engines.connect() as engine:
        found = engine.image(tag)
        if found is None:
            raise DriftError(f"the engine has no image {tag}", hint="Run `dsenv docker`.")
        _fetch_missing(selected, image.PLACE, store, progress)
        built = build.perform(selected, image.PLACE, store, progress)
        check_root(selected, spec, image.PLACE, store, progress)
        recipes = selected.recipes(image.PLACE, store, progress, built)
        inside = image.INSIDE in found.labels
        wanted = about(project, spec, selected, recipes, inside=inside)
        settings = image.settings(recipes, wanted)
        differences = _settings(engine, found, settings, recipes)
        progress.update(f"reading the image {tag}")
        with engine.export(tag) as stream:
            observed = image.read_tree(stream)
    progress.update("reading the locked artifacts")
    texts = image.expected(recipes, wanted)
    parts = _expectations(selected, image.PLACE, store, built)
    expected = {**texts, **{path: entry for part in parts.values() for path, entry in part.tree.items()}}
    generated = _generated(parts, _files(observed) - expected.keys())
    others = _files(observed) - expected.keys() - generated.keys()
    bytecode = {path for path in others if "/__pycache__/" in path}
    known = [{**part.exceptions, **(part.inside if inside else {})} for part in parts.values()]
    reasons = {path: reason for part in known for path, reason in part.items()}
    owned = tuple(f"{directory}/" for part in parts.values() for directory in part.owned)
    exceptions = []
    for item in tree.compare(expected, observed):
        if item.path in reasons:
            exceptions.append((item.path, reasons[item.path]))
        elif item.what != "unexpected" or (item.path in others - bytecode and item.path.startswith(owned)):
            differences.append(item)
    return VerifyResult(
        subject=f"image {tag}",
        compared=_counts({"dsenv": texts}, parts),
        differences=differences,
        exceptions=exceptions,
        generated=sorted((path, reason) for path, reason in generated.items() if path in observed),
        unlisted=len(others - bytecode),
        bytecode=len(bytecode),
        settings=len(settings),
    )


def _settings(engine: Engine, found: Image, said: Mapping[str, str], recipes: Sequence[Recipe]) -> list[Difference]:
    """Return where an image's settings are not those of the Dockerfile and, below it, of the image it begins with."""
    start = next(step for recipe in recipes for step in recipe.steps if isinstance(step, StartFrom))
    base = engine.image(start.image) if start.image else None
    differences = tree.compare(_as_tree({**(base.settings if base else {}), **said}), _as_tree(found.settings))
    unknown = start.image and base is None  # then what is not the Dockerfile's may be the base's
    return [item for item in differences if not (unknown and item.what == "unexpected")]


def _as_tree(settings: Mapping[str, str]) -> Tree:
    """Return settings in the form that can be compared."""
    return {name: Entry(kind="file", content=value, owner="the Dockerfile") for name, value in settings.items()}


def _files(tree: Tree) -> set[str]:
    return {path for path, entry in tree.items() if entry.kind != "directory"}


def _generated(parts: Mapping[str, Expectation], others: Collection[str]) -> dict[str, str]:
    """Return what installers write, with the reason; a directory stands for those of ``others`` that lie in it."""
    named = {path: reason for part in parts.values() for path, reason in part.generated.items()}
    directories = [path for path in named if path.endswith("/")]
    inner = {path: named[below] for below in directories for path in others if path.startswith(below)}
    return {path: reason for path, reason in named.items() if path not in directories} | inner


def _expectations(selected: Selected, place: Place, store: Store, built: Results) -> dict[str, Expectation]:
    return {
        ecosystem.name: ecosystem.expectation(pins, selected.selection, place, store, built.get(ecosystem.name, {}))
        for ecosystem, pins in selected.parts()
    }


def _counts(own: Mapping[str, Tree], parts: Mapping[str, Expectation]) -> dict[str, int]:
    trees = {**own, **{name: part.tree for name, part in parts.items()}}
    counts = {name: sum(entry.kind != "directory" for entry in found.values()) for name, found in trees.items()}
    return {name: count for name, count in counts.items() if count}


def _fetch_missing(selected: Selected, place: Place, store: Store, progress: Progress) -> None:
    """Fetch what is not in the store; what is damaged there is to be found, not healed."""
    store.fetch(store.missing(selected.artifacts(place)), progress)
