"""Time dsenv's R part against install.packages(), renv and pak, and print the ratios.

Usage: python benchmarks/r.py REPOSITORY [--store DIRECTORY] [--tools NAME,...] PACKAGE...

REPOSITORY is a directory in CRAN's form; it is served on loopback to all of them. The others run in the very root that
dsenv builds in, of the same R, compilers and headers, which is made before any clock starts; each has a home of its
own, and renv and pak are there already. All are cold first, then once more with what they keep; then, with --ccache,
after a first run that fills it. *CPU* is what all processes of a run kept processors busy for: work of others on the
machine disturbs it less. dsenv does more in its time: it checks every source, loads each package in an R of its
own, and lays R itself into the environment; its sources lie in the store, as it had to read them to lock them.
DIRECTORY keeps what is the same in every run: downloads, roots, renv and pak.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import repository
from sides import Trash, clock

from dsenv import locks, spec
from dsenv.builds import PLACE
from dsenv.operations import build
from dsenv.operations.selection import host_target, select
from dsenv.outputs import bench as benches
from dsenv.pins import Groups
from dsenv.progress import Silent
from dsenv.store import Store
from dsenv.tree import remove

if TYPE_CHECKING:
    from sides import Timing

SPEC: Final = (
    repository.SPEC
    + """\
system-requirements = {{ pak = ["libcurl4-openssl-dev"] }}  # of the packages in it, which its DESCRIPTION does not say
[r.groups]
tools = {tools}
[system]
build = [{build}]
"""
)
BEGIN: Final = """\
options(repos = c(CRAN = "{url}"), Ncpus = 2L, renv.consent = TRUE,
        renv.config.install.jobs = 2L, renv.config.sysreqs.check = FALSE)
wanted <- c({packages})
seconds <- function(work) {{
    unlink(library <- "/build/work/library", recursive = TRUE)
    dir.create(library)
    .libPaths(c(library, "/build/work/tools"), include.site = FALSE)
    took <- system.time(work(library))[["elapsed"]]
    stopifnot(file.exists(file.path(library, wanted, "DESCRIPTION")))
    took
}}
"""
RESTORE: Final = 'renv::restore(lockfile = "/build/in/renv.lock", library = library, exclude = c("pak", "renv"), {})'
TOOLS: Final = {  # the statement, and whether the tool keeps what it builds
    "install.packages": ("install.packages(wanted, library, quiet = TRUE)", False),
    "renv": (RESTORE.format("prompt = FALSE"), True),
    "pak": ("pak::pkg_install(wanted, lib = library, ask = FALSE)", True),
}
ENV: Final = {
    "HOME": "/build/home",
    "LANG": "C.UTF-8",
    "R_ENVIRON": "/dev/null",
    "R_LIBS_SITE": "NULL",
    "R_LIBS_USER": "NULL",
    "PKG_PLATFORMS": "source",
    "PKG_SYSREQS": "false",
    "PKG_SYSREQS_DB_UPDATE": "false",
    "PKG_USE_BIOCONDUCTOR": "false",
    "RENV_CONFIG_AUTOLOADER_ENABLED": "FALSE",
}
CCACHE: Final = {
    "CCACHE_DIR": "/build/ccache",
    "CCACHE_NOHASHDIR": "1",  # peers build in directories of random names
    "CCACHE_SLOPPINESS": "include_file_ctime,include_file_mtime",
}
MAKEVARS: Final = "CC = ccache gcc\nCXX = ccache g++ -std=gnu++14\n" + "".join(
    f"CXX{standard} = ccache g++\n" for standard in (11, 14, 17, 20)
)
ENTER: Final = """\
import json, sys
from dsenv.outputs import enter
enter._NAMESPACES &= ~enter._CLONE_NEWNET  # the repository is on loopback
enter.main(json.load(open(sys.argv[1])))
"""


class Project:
    """A locked project, and the root that its packages are built in."""

    def __init__(
        self, directory: Path, store: Path, url: str, packages: list[str], tools: list[str], *, ccache: bool
    ) -> None:
        self.directory, self.packages, self.url, self._ccache = directory, packages, url, ccache
        self._store = store
        self._trash = Trash(directory.parent / "trash")  # deleted once all is timed
        directory.mkdir()
        words = '"ccache"' if ccache else ""
        wanted = sorted({"renv", "pak"} & {*tools})
        text = SPEC.format(url=url, packages=json.dumps(packages), build=words, tools=json.dumps(wanted))
        (directory / "dsenv.toml").write_text(text, "utf-8")
        spec.load(directory / "dsenv.toml")
        self.dsenv("lock")
        selected = select(locks.read(directory), host_target(), Groups(named=("tools",)))
        workshop = build.workshop(selected, PLACE, Store(store), Silent())
        assert workshop is not None  # noqa: S101 - there is something to build
        orders = [order for order in workshop.orders.values() if order.build.name in wanted]
        if any(order.result is None for order in orders):
            self.dsenv("restore", "--group", "tools")
            self._trash.take(directory / ".dsenv")
            workshop = build.workshop(selected, PLACE, Store(store), Silent())
            assert workshop is not None  # noqa: S101
        self.tools = [
            order.result.path for order in workshop.orders.values() if order.build.name in wanted and order.result
        ]
        sees = sorted({name for order in workshop.orders.values() for name in order.build.sees})
        assert workshop.demand.root is not None  # noqa: S101
        root = workshop.demand.root(sees)
        where = Store(store)
        where.fetch(root.artifacts)
        self.bench = benches.lay(root.key, root.recipe, where, Silent(), entered=True)
        self.roots = workshop

    def dsenv(self, *words: str) -> Timing:
        """Run dsenv, and return the seconds that it took."""
        with clock() as times:
            completed = subprocess.run(
                [sys.executable, "-m", "dsenv", *words, "--quiet"],
                cwd=self.directory,
                env={**os.environ, "DSENV_STORE": str(self._store)},
                capture_output=True,
                text=True,
                check=False,
            )
        if completed.returncode not in {0, 5}:
            sys.exit(f"{words}: {completed.stdout}{completed.stderr}")
        return times[0]

    def restored(self, title: str) -> Timing:
        """Restore from scratch with what the store has; tell and return the seconds."""
        self._trash.take(self.directory / ".dsenv")
        return told("dsenv", title, self.dsenv("restore"))

    def unbuilt(self) -> None:
        """Let the store forget what was built of the project; roots stay."""
        selected = select(locks.read(self.directory), host_target())
        workshop = build.workshop(selected, PLACE, Store(self._store), Silent())
        assert workshop is not None  # noqa: S101
        for order in workshop.orders.values():
            remove(self._store / "builds" / order.key)

    def lay_roots(self) -> None:
        """Make all roots that builds are entered in."""
        where = Store(self._store)
        for order in self.roots.orders.values():
            benches.lay(order.root.key, order.root.recipe, where, Silent(), entered=True)

    def peer(self, name: str, home: Path, title: str) -> Timing | None:
        """Run another tool in a home; tell and return the seconds."""
        for part in ("home/.R", "in", "out", "tmp", "work/tools", "ccache", "root"):
            (home / part).mkdir(parents=True, exist_ok=True)
        remove(home / "work")
        (home / "work/tools").mkdir(parents=True)
        for path in self.tools:
            with tarfile.open(path) as archive:
                archive.extractall(home / "work/tools", filter="data")
        listed = ", ".join(f'"{package}"' for package in self.packages)
        lines = [BEGIN.format(url=self.url, packages=listed)]
        lines += [f'cat(seconds(function(library) {TOOLS[name][0]}), file = "/build/out/seconds")']
        (home / "in/run.R").write_text("\n".join(lines), "utf-8")
        (home / "in/renv.lock").write_bytes((self.directory / "renv.lock").read_bytes())
        (home / "home/.R/Makevars").write_text(MAKEVARS if self._ccache else "", "utf-8")
        env = {**ENV, **self.bench.variables, **(CCACHE if self._ccache else {})}
        plan = {
            "root": str(self.bench.root),
            "build": str(home),
            "shared": {},
            "steps": [{"argv": ["Rscript", "--vanilla", "/build/in/run.R"], "env": env}],
            "cwd": "/build/work",
            "log": str(home / "log"),
            "parent": os.getpid(),
            "uid": 1000,
            "mountpoint": str(home / "root"),
        }
        (home / "plan.json").write_text(json.dumps(plan), "utf-8")
        with clock() as times:
            completed = subprocess.run(
                [sys.executable, "-c", ENTER, home / "plan.json"], capture_output=True, check=False
            )
        if not (home / "out/seconds").exists():
            log = (home / "log").read_text("utf-8", "replace")
            print(f"{name}, {title}: failed\n{completed.stdout!r}\n{log[-3000:]}", flush=True)
            return None
        seconds = float((home / "out/seconds").read_text("utf-8"))  # of the statement alone
        (home / "out/seconds").unlink()
        return told(name, title, (seconds, times[0][1]))


def told(who: str, title: str, times: Timing) -> Timing:
    """Print a figure as soon as it is there, and return it."""
    print(f"{who:18} {title:22} {times[0]:7.1f} s {times[1]:7.1f} s CPU   (load {os.getloadavg()[0]:.1f})", flush=True)
    return times


def main() -> None:
    """Time all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--tools", type=lambda text: text.split(","), default=[*TOOLS])
    parser.add_argument("--ccache", action="store_true")
    options = parser.parse_args()
    with repository.served(options.repository) as url, tempfile.TemporaryDirectory(prefix="dsenv-bench-") as name:
        store = options.store or Path(name) / "store"
        compare(Path(name), store, url, options.packages, options.tools, ccache=options.ccache)


def compare(home: Path, store: Path, url: str, packages: list[str], tools: list[str], *, ccache: bool) -> None:
    """Time all tools in turns, and print the ratios."""
    project = Project(home / "project", store, url, packages, tools, ccache=ccache)
    project.lay_roots()
    remove(store / "caches/ccache")
    rounds = ["cold, fills ccache", "cold, ccache filled"] if ccache else ["cold"]
    for title in rounds:
        project.unbuilt()
        ours = project.restored(title)
        theirs = {tool: project.peer(tool, home / tool, title) for tool in tools}
        ratios(title, ours, theirs)
        for tool in tools:  # what it keeps beside ccache
            remove(home / tool / "home") if ccache else None
    if not ccache:
        ours = project.restored("from what is kept")
        keeping = [tool for tool in tools if TOOLS[tool][1]]
        ratios("from what is kept", ours, {tool: project.peer(tool, home / tool, "from its cache") for tool in keeping})


def ratios(title: str, ours: Timing, theirs: dict[str, Timing | None]) -> None:
    """Print what part of each other's time dsenv took."""
    there = {tool: times for tool, times in theirs.items() if times}
    words = [f"{ours[0] / times[0]:.2f} (CPU {ours[1] / times[1]:.2f}) of {tool}'s" for tool, times in there.items()]
    print(f"{title}: dsenv takes {', '.join(words)}", flush=True)


if __name__ == "__main__":
    main()
