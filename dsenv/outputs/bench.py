"""Where one build runs: a root of locked packages that is entered or, where that is forbidden, used from beside."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from dsenv import tree as trees
from dsenv.builds import EPOCH, PLACE
from dsenv.errors import IntegrityError
from dsenv.outputs import ccache, layout
from dsenv.pins import Artifact
from dsenv.steps import Place
from dsenv.tools import deb, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dsenv.builds import Build, Built
    from dsenv.progress import Progress
    from dsenv.steps import Input, Recipe
    from dsenv.store import Store

_KIND: Final = "workshops"
_ROOT: Final = "@root@"  # stands for a root's own path in what is kept of it: a store may be moved
_UID: Final = 1000
MADE: Final = 1  # counts the ways in which builds were run so far: a part of every key
_PARTS: Final = ("home", "in", "out", "tmp", "work")
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENV: Final = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": EPOCH,
    "PYTHONHASHSEED": "0",
}
_NOWHERE: Final = "http://127.0.0.1:9"  # the discard port: who asks is refused at once
_SHOWN: Final = 100  # characters of a command
_COMPILER: Final = re.compile(r"(?:\w+-linux-gnu\w*-)?(?:gcc|g\+\+|cc|c\+\+|cpp|gfortran|c89|c99)(?:-[0-9.]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A root, and how it is used."""

    key: str  # the root's
    root: Path
    entered: bool
    variables: Mapping[str, str]  # beside what every build has

    def place(self, directory: Path) -> Place:
        """Return the place of a build in a directory of its own."""
        if self.entered:
            return PLACE
        prefix = str(directory / "build")
        return Place(kind="workshop", prefix=prefix, root=str(self.root), inputs=f"{prefix}/in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a build ended."""

    result: Path | None = None  # in the build's directory
    trouble: str = ""  # why there is none


def forbidden(store: Store) -> str:
    """Return why no root can be entered on this machine, or nothing when one can."""
    if sys.platform != "linux":
        return "it is not Linux"
    with store.claimed("enter") as directory:
        (directory / "root").mkdir()
        answer = _start(directory, {"root": "", "build": "", "steps": [], "cwd": "/", "log": os.devnull})
    return str(answer.get("refused", ""))


def lay(key: str, recipe: Callable[[Place], Recipe], store: Store, progress: Progress, *, entered: bool) -> Bench:
    """Return the root of a key, made once; the recipe's artifacts are in the store."""

    def fill(aside: Path) -> None:
        place = replace(PLACE, root=_ROOT)
        recipes = [recipe(place)]
        progress.update(f"making a root to build in: {recipes[0].title}")
        laid = layout.lay_out(recipes, place, lambda artifact: store.unpacked(artifact, deb.unpack, deb.UNPACKED))
        # A root that is entered cannot be written to, so its files may be those of the unpacked packages.
        known = store.hashed if entered else None
        trees.materialise(laid.root, laid.places, aside / "root", known=known, share=entered)
        values = layout.applied(layout.variables(recipes[0].steps, place, laid.root), {})
        facts = {"beside": values, "libraries": list(_libraries(aside / "root"))}
        (aside / "facts.json").write_text(json.dumps(facts), "utf-8")

    whole = key if entered else f"{key}-beside"
    home = store.kept(_KIND, whole, progress)
    if home is None:
        home = store.mending(lambda: store.keep_directory(_KIND, whole, fill), progress)
    facts = json.loads((home / "facts.json").read_text("utf-8"))
    root = home / "root"
    if entered:
        variables = {"LD_LIBRARY_PATH": ":".join(facts["libraries"])} if facts["libraries"] else {}
        return Bench(key=key, root=root, entered=True, variables={"PATH": PATH, **variables})
    variables = {name: value.replace(_ROOT, str(root)) for name, value in facts["beside"].items()}
    return Bench(key=key, root=root, entered=False, variables=variables)


def perform(
    bench: Bench,
    build: Build,
    after: Mapping[str, Built],
    directory: Path,
    store: Store,
    *,
    jobs: int,
    log: Path,
    cache: Path,
) -> Ended:
    """Run a build's steps.

    Args:
        bench: Where.
        build: What, for ``bench.place(directory)``.
        after: What came of the builds that it needs.
        directory: An empty one of its own.
        store: Holds the inputs.
        jobs: How many processes it may use.
        log: The file that its outputs are added to.
        cache: Where ccache keeps what it compiles for this package, if the root has it.

    """
    home = directory / "build"
    for name in _PARTS:
        (home / name).mkdir(parents=True)
    (directory / "root").mkdir()
    _lay_inputs(build.inputs, after, home / "in", store)
    place = bench.place(directory)
    env = {**ENV, "HOME": f"{place.prefix}/home", "MAKEFLAGS": f"-j{jobs}"}
    shared = {}
    if bench.entered:
        env |= bench.variables
        if ccache.is_in(bench.root):
            ccache.lay(bench.root, home / "tools")
            (home / "ccache").mkdir()
            cache.mkdir(parents=True, exist_ok=True)
            shared[f"{place.prefix}/ccache"] = str(cache)
            env |= ccache.variables(f"{place.prefix}/ccache", bench.key)
            env["PATH"] = f"{place.prefix}/tools:{env['PATH']}"
    else:
        env |= {**_beside(bench, directory), "TMPDIR": str(home / "tmp")}
    answer = _start(
        directory,
        {
            "root": str(bench.root) if bench.entered else None,
            "build": str(home),
            "shared": shared,
            "steps": [{"argv": step.argv, "env": {**env, **dict(step.env)}} for step in build.steps],
            "cwd": f"{place.prefix}/work",
            "log": str(log),
        },
    )
    if "refused" in answer:
        return Ended(trouble=str(answer["refused"]))
    if answer["code"]:
        words = textwrap.shorten(shlex.join(build.steps[answer["step"]].argv), _SHOWN)
        return Ended(trouble=f"`{words}` ended with exit code {answer['code']}")
    found = sorted((home / "out").iterdir())
    if len(found) != 1 or found[0].is_symlink() or not found[0].is_file():
        names = ", ".join(path.name for path in found) or "nothing"
        return Ended(trouble=f"its steps left {names} in {place.prefix}/out, and not one file")
    return Ended(result=found[0])


def _start(directory: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Run the helper program, and return what it answers."""
    whole = {**plan, "parent": os.getpid(), "uid": _UID, "mountpoint": str(directory / "root")}
    path = directory / "plan.json"
    path.write_text(json.dumps(whole), "utf-8")
    own = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # what Python may need
    with resources.as_file(resources.files(__package__).joinpath("enter.py")) as program:
        completed = process.run([sys.executable, "-I", "-S", str(program), str(path)], env=own, codes=None)
    try:
        answer: dict[str, Any] = json.loads(completed.stdout)
    except ValueError:
        raise process.failure(completed) from None
    return answer


def _lay_inputs(inputs: Sequence[Input], after: Mapping[str, Built], directory: Path, store: Store) -> None:
    """Copy what a build reads into its directory, checked on the way."""
    for item in inputs:
        path = directory / trees.safe_path(item.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item.source, str):
            path.write_text(item.source, "utf-8")
        elif isinstance(item.source, Artifact):
            source = store.path(item.source)
            _copy(source, path, source.name, item.name)  # whichever of its hashes is here: that is a file's name
        else:
            _copy(item.source, path, item.sha256, item.name)
        path.chmod(0o755 if item.executable else 0o644)
    for name, built in after.items():
        path = directory / "built" / trees.safe_path(name) / built.path.name
        path.parent.mkdir(parents=True)
        _copy(built.path, path, built.sha256, name)
        path.chmod(0o644)


def _copy(source: Path, path: Path, sha256: str, name: str) -> None:
    if trees.copy_file(source, path) != sha256 and sha256:
        raise IntegrityError(
            f"{name} in the store is damaged ({source})", hint="Delete that file, then run the command again."
        )


def _libraries(root: Path) -> Iterator[str]:
    """Yield the directories in which a package's ld.so.conf says that its libraries are, the loader's own left out."""
    for path in sorted((root / "etc/ld.so.conf.d").glob("*.conf")):
        for line in path.read_text("utf-8", "replace").splitlines():
            directory = line.partition("#")[0].strip()
            is_own = re.fullmatch(r"/(?:usr/)?(?:local/)?lib(?:/[^/]+-linux-gnu\w*)?", directory)
            if directory.startswith("/") and not is_own and (root / directory[1:]).is_dir():
                yield directory


def _beside(bench: Bench, directory: Path) -> dict[str, str]:
    """Return the variables for a build that sees the machine, after making compilers that look into the root."""
    tools = directory / "tools"
    tools.mkdir()
    root = shlex.quote(str(bench.root))
    for path in sorted((bench.root / "usr/bin").glob("*")):
        if _COMPILER.fullmatch(path.name):
            text = f'#!/bin/sh\nexec {root}/usr/bin/{shlex.quote(path.name)} --sysroot={root} "$@"\n'
            (tools / path.name).write_text(text, "utf-8")
            (tools / path.name).chmod(0o755)
    names = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy")
    return {
        **bench.variables,
        "PATH": f"{tools}:{bench.variables['PATH']}:{PATH}",
        **dict.fromkeys((*names, *map(str.upper, names)), _NOWHERE),
        "PYTHONDONTWRITEBYTECODE": "1",  # it would come to lie in the root
    }
