"""Restore one lock several times and compare every file: later, as somebody else, from a new store, at another path.

Usage: python benchmarks/identity.py [--set small|list]

Each restore differs from the first in one respect or several; all files, links and directories of the environment are
compared, with their permissions, dsenv's own records of the environment aside. Being somebody else takes root. Prints
a table, then the files that differ and the first line in which they do; ends with 1 if one does at the same path.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from dsenv import tree

SETS: Final = {
    "small": ["pandas", "scikit-learn", "matplotlib", "ipykernel"],
    "list": Path(__file__).with_name("list.txt").read_text("utf-8").split(),
}
ROOT: Final = Path(__file__).parents[1]
RECORDS: Final = {"environment.json", "manifest.json"}
OTHERS: Final = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}  # than the first restore's settings
SHOWN: Final = 40  # files that are named
SMALL: Final = 1 << 16  # bytes of a file whose lines are compared


def specify(directory: Path, packages: list[str]) -> None:
    """Write the project."""
    directory.mkdir(parents=True)
    listed = ", ".join(f'"{package}"' for package in packages)
    directory.joinpath("dsenv.toml").write_text(
        '[project]\nname = "identity"\n[platform]\nbase = "bootstrap:debian:bookworm"\ntargets = ["linux-amd64"]\n'
        f'[python]\nversion = "3.11"\npackages = [{listed}]\n[system]\npackages = ["jq"]\n'
    )


class Restorer:
    """Who restores: a Python with this dsenv that any user may run, and a project."""

    def __init__(self, home: Path) -> None:
        venv = home / "dsenv"
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "venv", "-q", "--python", "/usr/bin/python3", venv], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", venv, ROOT], check=True)
        self._python = venv / "bin/python"

    def run(self, directory: Path, store: Path, word: str, *, user: str = "", umask: int = 0o022, **env: str) -> None:
        """Run a command of dsenv in a project; exit unless it succeeds."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PIP_", "HOME", "TMPDIR"))
        }
        completed = subprocess.run(
            [self._python, "-m", "dsenv", word, "--quiet"],
            cwd=directory,
            env={**kept, "HOME": str(directory), "DSENV_STORE": str(store), **env},
            capture_output=True,
            text=True,
            check=False,
            user=user or None,
            umask=umask,
        )
        if completed.returncode not in {0, 5}:
            sys.exit(f"{word}: {completed.stdout}{completed.stderr}")

    def restore(
        self, directory: Path, store: Path, *, user: str = "", umask: int = 0o022, **env: str
    ) -> tuple[tree.Tree, dict[str, bytes]]:
        """Restore a project anew; return its environment's files, and the content of the small ones."""
        tree.remove(directory / ".dsenv")
        if user:
            for path in (directory, store, *directory.rglob("*")):
                path.mkdir(exist_ok=True) if path == store else None
                os.chown(path, pwd.getpwnam(user).pw_uid, -1, follow_symlinks=False)
        self.run(directory, store, "restore", user=user, umask=umask, **env)
        root = (directory / ".dsenv/current").resolve()
        found = tree.scan(root, skip=RECORDS.__contains__)
        small = [path for path, entry in found.items() if entry.kind == "file" and (root / path).stat().st_size < SMALL]
        texts = {path: (root / path).read_bytes() for path in small}
        tree.remove(directory / ".dsenv")
        return found, texts


def compare(title: str, first: tree.Tree, other: tree.Tree) -> list[str]:
    """Print how many files are equal, and return the paths of those that are not."""
    different = sorted(path for path in first.keys() | other.keys() if _facts(first, path) != _facts(other, path))
    print(f"{title:60} {len(first) - len(different):7,} of {len(first):7,} equal", flush=True)
    return different


def _facts(found: tree.Tree, path: str) -> object:
    entry = found.get(path)
    return entry and (entry.kind, entry.mode, entry.content)


def why(path: str, one: tuple[tree.Tree, dict[str, bytes]], other: tuple[tree.Tree, dict[str, bytes]]) -> str:
    """Return in what a path differs."""
    first, second = one[0].get(path), other[0].get(path)
    if first is None or second is None:
        return "missing" if second is None else "unexpected"
    if first.mode != second.mode and first.content == second.content:
        return f"mode {first.mode:o} and {second.mode:o}"
    if first.kind == "link":
        return f"-> {first.content} and {second.content}"
    lines = zip(one[1].get(path, b"").splitlines(), other[1].get(path, b"").splitlines(), strict=False)
    return next((f"{a!r} and {b!r}" for a, b in lines if a != b), "content")


def main() -> None:
    """Restore and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, default="small")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsenv-identity-") as name:
        home = Path(name)
        home.chmod(0o755)
        here, elsewhere = home / "here", home / "elsewhere/and deeper"
        specify(here, SETS[options.set])
        who = Restorer(home)
        who.run(here, home / "store", "lock")
        shutil.copytree(here, elsewhere, ignore=shutil.ignore_patterns(".dsenv"))
        first = who.restore(here, home / "store")
        same, other = {}, {}
        same["later, at the same path"] = who.restore(here, home / "store")
        same["from a new store, with other settings"] = who.restore(here, home / "store2", umask=0o077, **OTHERS)
        other["at another path"] = who.restore(elsewhere, home / "store")
        if os.geteuid() == 0:
            title = "as another user, from a store of their own, other settings"
            same[title] = who.restore(here, home / "store3", user="nobody", umask=0o077, **OTHERS)
        differing = {title: compare(title, first[0], found[0]) for title, found in (same | other).items()}
        for title, paths in differing.items():
            for path in paths[:SHOWN]:
                print(f"  {title}: {path}: {why(path, first, (same | other)[title])}")
        sys.exit(1 if any(differing[title] for title in same) else 0)


if __name__ == "__main__":
    main()
