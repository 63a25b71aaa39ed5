"""An environment in a project's directory: built aside, made current by one rename, and what is known of it since.

A generation is a directory of its own that is complete once it has an ``environment.json``; it is never written
again. Beside the files that the steps say, it holds a manifest of all files as they were when it was built.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from dsenv import __version__
from dsenv import tree as trees
from dsenv.errors import DriftError, WrongUseError
from dsenv.outputs import launchers, layout
from dsenv.steps import Place, Recipe, Run, TruePaths
from dsenv.tools import deb, process, tar
from dsenv.tree import Difference, Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dsenv.outputs.layout import Variables
    from dsenv.pins import Artifact
    from dsenv.progress import Progress
    from dsenv.project import Project
    from dsenv.store import Store

_FILE: Final = "environment.json"
_MANIFEST: Final = "manifest.json"
_VARIABLES: Final = "variables.env"  # NAME=value, a line each, for what does not start by `dsenv run`
_OWN: Final = frozenset({_FILE, _MANIFEST, _VARIABLES})
_ROW: Final = ("kind", "mode", "content", "inode", "size", "mtime_ns", "ctime_ns")  # what it has of each path
_FORMAT: Final = 1
_UMASK: Final = 0o022  # an environment is the same whoever makes it; what is above it keeps it private
_SHORT: Final = 16  # hexadecimal digits of an environment id that name its directory
_GENERATION: Final = re.compile(r"[0-9a-f]+-[0-9]+")
# What importing loads. Its like for `python -O`, pytest's and numba's own caches are written as programs run.
_BYTECODE: Final = re.compile(r"(?P<module>.+)\.cpython-[0-9]+\.pyc")
Mode = Literal["project", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A finished generation."""

    id: str  # the environment id, 64 hexadecimal digits
    made_by: str  # dsenv's version: another one may take other steps to the same packages
    mode: Mode
    prefix: str  # its own path; another one means that the project was moved
    target: str
    groups: list[str]
    locks: dict[str, str]  # the sha256 of each lock file that it was made from
    titles: list[str]  # "Python 3.11.2, 18 packages"
    notes: list[str]  # what it cannot provide here
    variables: Variables
    differs: list[str] = field(default_factory=list)  # what it has in place of what is locked
    true_paths: dict[str, str] = field(default_factory=dict)  # a program that wants its files at /usr: why

    @property
    def path(self) -> Path:
        """Its directory."""
        return Path(self.prefix)

    @property
    def directories(self) -> list[str]:
        """Those of its own that its variables name: where programs, libraries and data are looked for."""
        lists = [value for value in self.variables.values() if isinstance(value, list)]
        return [directory for value in lists for directory in value if directory.startswith(f"{self.prefix}/")]

    def process_environment(self, to: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a process that runs in it."""
        return layout.applied({**self.variables, "DSENV_ID": self.id}, to)


def current(project: Project) -> Environment | None:
    """Return a project's environment in use, or ``None`` when it has none.

    Raises:
        DriftError: It is damaged or was moved.

    """
    path = project.current()
    return read(path) if path else None


def read(path: Path) -> Environment:
    """Return a finished generation.

    Raises:
        DriftError: It is damaged or was moved.

    """
    try:
        raw = json.loads((path / _FILE).read_bytes())
        if raw.pop("format") != _FORMAT:
            raise DriftError("the environment was made by another dsenv", hint="Run `dsenv restore`.")
        environment = Environment(**raw)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DriftError(f"the environment {path} is damaged", cause=str(error), hint="Run `dsenv restore`.") from error
    if environment.path != path:
        raise DriftError(
            f"the environment was made at {environment.path} and lies at {path} now", hint="Run `dsenv restore`."
        )
    if gone := [directory for directory in environment.directories if not Path(directory).is_dir()]:
        raise DriftError(
            f"the environment {path} is damaged", cause=f"there is no {gone[0]}", hint="Run `dsenv restore`."
        )
    return environment


def next_place(project: Project, identity: str, mode: Mode) -> Place:
    """Return the place of a project's next generation.

    Raises:
        WrongUseError: No environment can lie there.

    """
    if ":" in str(project.environments):
        raise WrongUseError(
            f"{project.environments} has a colon in its path, and PATH and its like are lists with colons between",
            hint="Rename the directory: programs of this machine would run instead of the environment's.",
        )
    short = identity[:_SHORT]
    used = [
        int(path.name.rpartition("-")[2])
        for path in project.environments.glob(f"{short}-*")
        if path.name.rpartition("-")[2].isdigit()
    ]
    return _place(project, project.environments / f"{short}-{max(used, default=0) + 1}", mode)


def place_of(project: Project, environment: Environment) -> Place:
    """Return the place of a finished generation."""
    return _place(project, environment.path, environment.mode)


def _place(project: Project, prefix: Path, mode: Mode) -> Place:
    root = f"{prefix}/root" if mode == "project" else ""
    cache = project.cache / prefix.name
    return Place(
        kind=mode,
        prefix=str(prefix),
        root=root,
        inputs=f"{prefix}/.inputs",
        project=str(project.directory),
        cache=str(cache),
    )


def build(recipes: Sequence[Recipe], place: Place, store: Store, progress: Progress, **facts: Any) -> Environment:
    """Perform the steps of ``recipes`` in a new directory.

    Args:
        recipes: In the order of installation.
        place: Where; its directory must not exist.
        store: Holds the recipes' artifacts.
        progress: Told what is going on.
        facts: The fields of ``Environment`` that the steps do not tell.

    """
    prefix = Path(place.prefix)
    prefix.mkdir(parents=True)
    with _umask(_UMASK):
        written: trees.Known = {}
        laid = store.mending(lambda: _write_root(recipes, place, store, progress, written), progress)
        steps = [step for recipe in recipes for step in recipe.steps]
        values = layout.variables(steps, place, laid.root)
        for name, (content, mode) in laid.texts.items():
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        for recipe in recipes:
            _run(recipe, place, values, store, progress)
    environment = Environment(
        titles=[recipe.title for recipe in recipes],
        notes=[note for recipe in recipes for note in recipe.notes],
        differs=[sentence for recipe in recipes for sentence in recipe.differs],
        variables=layout.existing(values),
        prefix=place.prefix,
        made_by=__version__,
        true_paths={name: step.reason for step in steps if isinstance(step, TruePaths) for name in step.programs},
        **facts,
    )
    text = "".join(f"{name}={value}\n" for name, value in layout.applied(environment.variables, {}).items())
    with _umask(_UMASK):
        (prefix / _VARIABLES).write_text(text, "utf-8")
        launchers.write(*_launchers(environment, (path for path, _ in trees.walk(prefix, skip=_ignored))), prefix)
    _write_manifest(prefix, written)
    (prefix / _FILE).write_bytes(json.dumps({"format": _FORMAT, **asdict(environment)}, indent=1).encode() + b"\n")
    return environment


def expected(recipes: Sequence[Recipe], place: Place, store: Store, progress: Progress) -> Tree:
    """Return the files that the steps put down, read anew from artifacts that are checked on the way.

    Paths are below the place's prefix. ``progress`` is told of what was damaged in the store.
    """

    def unpacked(artifact: Artifact) -> tuple[Tree, Path]:
        path, name = store.read_checked(artifact), artifact.filename
        entries = deb.entries(path) if name.endswith(".deb") else tar.entries(path, name)
        return entries, _unpacked(artifact, store)[1]

    laid = store.mending(lambda: layout.lay_out(recipes, place, unpacked), progress)
    prefix = place.prefix + "/"
    below = {place.root: laid.root, **{directory: tree for directory, (tree, _) in laid.beside.items()}}
    tree = {f"{top}/{path}".removeprefix(prefix): entry for top, part in below.items() for path, entry in part.items()}
    tree.update({path.removeprefix(prefix): layout.text_entry(*text) for path, text in laid.texts.items()})
    return tree


def started(environment: Environment, paths: Iterable[str]) -> Tree:
    """Return what starts the environment's programs for others than `dsenv run`, given its files."""
    return _launchers(environment, paths)[0]


def _launchers(environment: Environment, paths: Iterable[str]) -> tuple[Tree, dict[str, bytes]]:
    return launchers.launchers(environment.prefix, environment.id, environment.variables, paths)


def observed(environment: Environment) -> Tree:
    """Return the files that are there now, hashed; what running writes and dsenv's own records are left out."""
    return trees.scan(environment.path, skip=_ignored)


def recorded(environment: Environment) -> Tree:
    """Return the files as they were when the environment was built."""
    return {path: Entry(kind=row[0], mode=row[1], content=row[2]) for path, row in _manifest(environment).items()}


def compiled(tree: Tree) -> dict[str, str]:
    """Return the path of each file of bytecode in a tree, with that of its source."""
    found = {}
    for path in tree:
        directory, _, name = path.rpartition("/")
        above, _, last = directory.rpartition("/")
        if last == "__pycache__" and (match := _BYTECODE.fullmatch(name)):
            found[path] = f"{above}/{match['module']}.py".lstrip("/")
    return found


def changed(environment: Environment) -> list[Difference]:
    """Return what is not as it was when the environment was built; unmoved files are not read."""
    manifest = _manifest(environment)
    found = []
    for path, status in trees.walk(environment.path, skip=_ignored):
        row = manifest.pop(path, None)
        if row is None:
            if not stat.S_ISDIR(status.st_mode):
                found.append(Difference(path, "unexpected"))
        elif _stamp(status) != row[3:] and not stat.S_ISDIR(status.st_mode):
            was = Entry(kind=row[0], mode=row[1], content=row[2])
            now = trees.entry_of(f"{environment.path}/{path}", status)
            found.extend(trees.compare({path: was}, {path: now}))
    found.extend(Difference(path, "missing") for path in manifest)
    return sorted(found)


def generations(project: Project) -> list[Path]:
    """Return the directories of a project's generations, finished or not, the newest first."""
    if project.environments.is_symlink() or not project.environments.is_dir():
        return []
    paths = [
        path
        for path in project.environments.iterdir()
        if _GENERATION.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def discard(project: Project, path: Path) -> None:
    """Delete a generation, with what its programs have left behind."""
    trees.remove(path)
    trees.remove(project.cache / path.name)


def is_finished(path: Path) -> bool:
    """Say whether a directory holds a whole environment."""
    return (path / _FILE).exists()


def use(path: Path) -> int:
    """Mark an environment as in use as long as the returned file descriptor, or a copy of it, is open."""
    descriptor = os.open(path / _FILE, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def in_use(path: Path) -> bool:
    """Say whether a process runs in an environment."""
    try:
        with (path / _FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def _write_root(
    recipes: Sequence[Recipe], place: Place, store: Store, progress: Progress, written: trees.Known
) -> layout.Layout:
    """Lay the packages over each other, and what has a directory of its own into that; ``written`` is added to."""
    progress.update("unpacking the packages")
    laid = layout.lay_out(recipes, place, lambda artifact: _unpacked(artifact, store))
    if laid.root:
        progress.update("laying the packages over each other")
        trees.remove(Path(place.root))  # what an attempt before wrote
        trees.materialise(laid.root, laid.places, Path(place.root), known=written)
    for directory, (tree, files) in laid.beside.items():
        trees.remove(Path(directory))
        trees.materialise(tree, {path: files / path for path in tree}, Path(directory), known=written)
    return laid


def _unpacked(artifact: Artifact, store: Store) -> tuple[Tree, Path]:
    """Return the tree of an archive, and where the store has its files."""
    if artifact.filename.endswith(".deb"):
        return store.unpacked(artifact, deb.unpack, deb.UNPACKED)
    return store.unpacked(artifact, functools.partial(tar.unpack, owner=artifact.filename), tar.UNPACKED)


def _run(recipe: Recipe, place: Place, values: Variables, store: Store, progress: Progress) -> None:
    """Run a recipe's programs with its inputs at hand."""
    programs = [step for step in recipe.steps if isinstance(step, Run)]
    if not programs:
        return
    progress.update(f"installing {recipe.title}")
    inputs = Path(place.inputs)
    for item in recipe.inputs:
        path = inputs / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = layout.checked(item, store)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.symlink_to(content)
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    environment = layout.applied(values, base)
    for step in programs:
        process.run(step.argv, env=environment | dict(step.env))
    trees.remove(inputs)


def _ignored(path: str) -> bool:
    directory, _, name = path.rpartition("/")
    if directory.endswith("__pycache__") and directory.rpartition("/")[2] == "__pycache__":
        return not _BYTECODE.fullmatch(name)
    return path in _OWN


def _write_manifest(prefix: Path, written: trees.Known) -> None:
    found = sorted(trees.walk(prefix, skip=_ignored), key=lambda item: item[0])
    rows = {
        path: [entry.kind, entry.mode, entry.content, *_stamp(status)]
        for (path, status), entry in zip(found, trees.entries(prefix, found, written), strict=True)
    }
    (prefix / _MANIFEST).write_bytes(json.dumps(rows, separators=(",", ":")).encode())


def _manifest(environment: Environment) -> dict[str, list[Any]]:
    damaged = DriftError("the environment's manifest is damaged", hint="Run `dsenv restore`.")
    try:
        rows: dict[str, list[Any]] = json.loads((environment.path / _MANIFEST).read_bytes())
        whole = all(len(row) == len(_ROW) for row in rows.values())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise damaged from error
    if not whole:
        raise damaged
    return rows


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
