"""Lock, restore and load well-known R packages from sources of a CRAN-like directory, as an unprivileged user.

Usage: python benchmarks/r_slice.py REPOSITORY [--home DIRECTORY] [--user NAME] [PACKAGE...]

REPOSITORY is a directory in CRAN's form; it is served on loopback. Started by root, everything is done as NAME, who
owns nothing but the project and the store. DIRECTORY keeps both, so a second run builds nothing; without one they are
made anew. Prints figures, and ends with 1 if a package does not load or the proof finds a difference.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any, Final

import repository

from dsenv import tree

ROOT: Final = Path(__file__).parents[1]
MEGA: Final = 1e6


class Somebody:
    """A user with a Python that has this dsenv, a project and a store."""

    def __init__(self, home: Path, user: str) -> None:
        self.project, self.store = home / "project", home / "store"
        self._python = home / "dsenv/bin/python"
        self._user = user or None
        if not self._python.exists():
            subprocess.run([_uv(), "venv", "-q", "--python", "/usr/bin/python3", home / "dsenv"], check=True)
        install = [_uv(), "pip", "install", "-q", "--reinstall-package=dsenv"]
        subprocess.run([*install, "--python", self._python, ROOT], check=True)
        for path in (self.project, self.store):
            path.mkdir(exist_ok=True)
            if user:
                os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> tuple[float, str, str]:
        """Run dsenv; return the seconds, the outputs; exit unless it ends with one of some codes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TMPDIR", "R_"))}
        began = time.perf_counter()
        completed = subprocess.run(
            [self._python, "-m", "dsenv", *words],
            cwd=self.project,
            env={**kept, "HOME": str(self.project), "DSENV_STORE": str(self.store)},
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        seconds = time.perf_counter() - began
        if completed.returncode not in codes:
            sys.exit(f"dsenv {' '.join(words)}: {completed.returncode}\n{completed.stdout}{completed.stderr}")
        return seconds, completed.stdout, completed.stderr


def _uv() -> Path:
    return Path(sys.executable).parent / "uv"


def told(title: str, value: object) -> None:
    """Print a figure."""
    print(f"{title:44} {value}", flush=True)


def closure(lock: dict[str, Any]) -> None:
    """Print how much is locked."""
    rows = lock["r"]["packages"]
    sources = [row["source"] for row in rows if "source" in row]
    size = sum(source["size"] for source in sources)
    told("R packages as sources", f"{len(sources)}, {size / MEGA:.1f} MB")
    told("  that have code to compile", sum(1 for row in rows if row.get("compiles")))
    told("R packages that R itself brings", len(rows) - len(sources))
    system = [row for row in lock["system"]["linux-amd64"]["packages"] if not row.get("base")]
    build = [row for row in system if row.get("build")]
    told("system packages beyond the base", f"{len(system) - len(build)}, and {len(build)} to build with")


def logs(store: Path) -> None:
    """Print how much was logged."""
    found = [path.stat().st_size for path in (store / "logs").iterdir()]
    told("logs", f"{len(found)}, {sum(found) / MEGA:.1f} MB, the longest {max(found, default=0) / MEGA:.1f} MB")


def load(somebody: Somebody, packages: list[str]) -> list[str]:
    """Load each package in an R of its own, then all in one; return what does not load."""
    failed = []
    began = time.perf_counter()
    for words in ([name] for name in packages):
        code = "; ".join(f"library({name})" for name in words)
        _, out, err = somebody.run("run", "--", "Rscript", "-e", f'{code}; cat("loaded")', codes=(0, 1))
        if not out.endswith("loaded"):
            failed.append(f"{', '.join(words)}: {err.strip()}")
    told("loaded, each in an R of its own", f"{len(packages) - len(failed)}, {time.perf_counter() - began:.1f} s")
    return failed


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("packages", nargs="*", default=repository.PACKAGES)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--user", default="nobody" if os.geteuid() == 0 else "")
    options = parser.parse_args()
    with repository.served(options.repository) as url, tempfile.TemporaryDirectory(prefix="dsenv-slice-") as name:
        home = options.home or Path(name)
        home.mkdir(exist_ok=True)
        home.chmod(0o755)
        somebody = Somebody(home, options.user)
        failed = figures(somebody, url, options.packages)
    for line in failed:
        print(line)
    sys.exit(1 if failed else 0)


def figures(somebody: Somebody, url: str, packages: list[str]) -> list[str]:
    """Print all figures; return what is wrong."""
    project, store = somebody.project, somebody.store
    (project / "dsenv.toml").write_text(repository.SPEC.format(url=url, packages=json.dumps(packages)), "utf-8")
    told("who", f"{pwd.getpwuid(project.stat().st_uid).pw_name}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    told("lock", f"{somebody.run('lock')[0]:.1f} s")
    closure(tomllib.loads((project / "dsenv.lock").read_text("utf-8")))
    told("lock again, nothing to do", f"{somebody.run('lock')[0]:.2f} s")
    planned = json.loads(somebody.run("restore", "--dry-run", "--json")[1])["data"]["build"]
    seconds, _, err = somebody.run("restore", codes=(0, 5))
    told(f"restore, {len(planned)} packages built", f"{seconds:.0f} s")
    (project / "restore.log").write_text(err, "utf-8") if os.access(project, os.W_OK) else None
    logs(store)
    environment = (project / ".dsenv/current").resolve()
    for part, path in {"environment": environment, "  its R library": environment / "library"}.items():
        files = [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
        told(part, f"{len(files):,} files, {sum(one.stat().st_size for one in files) / MEGA:.0f} MB")
    failed = load(somebody, packages)
    told("restore again, nothing to do", f"{somebody.run('restore', codes=(0, 5))[0]:.2f} s")
    tree.remove(project / ".dsenv")
    told("restore from the store", f"{somebody.run('restore', codes=(0, 5))[0]:.1f} s")
    seconds, out, _ = somebody.run("verify", "--json", codes=(0, 4))
    differences = json.loads(out)["data"]["differences"]
    told("verify", f"{len(differences)} differences, {seconds:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    told("most memory of one process", f"{peak:.0f} MB")
    return [*failed, *(f"verify: {row}" for row in differences)]


if __name__ == "__main__":
    main()
