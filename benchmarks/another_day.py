"""Make a project's system layer today and on another day, and compare the two, entry by entry.

Usage: python benchmarks/another_day.py PROJECT LIBFAKETIME [DAYS]

As root, with mmdebstrap. PROJECT has a lock on a bootstrap base; LIBFAKETIME is the path of libfaketime.so.1 (Debian's
package libfaketime) in a directory of its own. The second layer is made under its clock, within the new root, too.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsenv import locks
from dsenv.ecosystems.system import bootstrap
from dsenv.pins import Target
from dsenv.progress import Silent
from dsenv.project import store_path
from dsenv.store import Store
from dsenv.tools import deb, process
from dsenv.tree import stream_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AMD64 = Target("linux", "amd64")
RUN = process.run


def make(project: Path, path: Path) -> dict[str, tuple[object, ...]]:
    """Make the layer of a project's lock; return what it holds, by path."""
    pins = locks.read(project).parts["system"].pins
    root = pins.root(AMD64)
    store = Store(store_path())
    debs = [pins.artifact(row) for row in root.installed]
    store.fetch(debs)
    epoch = max(deb.built_at(store.path(artifact)) for artifact in debs)
    program = process.require("mmdebstrap", hint="")
    bootstrap._bootstrap(program, pins, root, AMD64, epoch, store, path, Silent())  # noqa: SLF001 - past the store
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            facts = (member.type, member.mode, member.uid, member.gid, member.mtime, member.linkname)
            found[member.name] = (*facts, stream_sha256(file) if file else "")  # type: ignore[arg-type]
    return found


def under(library: Path, days: str) -> Any:
    """Return what starts programs so that mmdebstrap, and all that it starts, lives some days later."""
    place = library.parent

    def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, **settings: Any) -> process.Completed:
        if env is not None and argv[0].endswith("mmdebstrap"):
            clock = {"LD_PRELOAD": str(library), "FAKETIME": f"+{days}d", "NO_FAKE_STAT": "1"}
            env = {**env, **clock, "DONT_FAKE_MONOTONIC": "1"}
            copied = f'--setup-hook=mkdir -p "$1{place}"; cp {library} "$1{library}"'
            argv = [argv[0], copied, *argv[1:-3], f'--customize-hook=rm -r "$1{place}"', *argv[-3:]]
        return RUN(argv, env=env, **settings)

    return run


def main() -> None:
    """Print in what the layers differ."""
    project, library = Path(sys.argv[1]), Path(sys.argv[2]).absolute()
    days = sys.argv[3] if sys.argv[3:] else "9"
    with tempfile.TemporaryDirectory() as directory:
        today = make(project, Path(directory) / "today.tar")
        process.run = under(library, days)
        later = make(project, Path(directory) / "later.tar")
    differ = sorted(path for path in today.keys() | later.keys() if today.get(path) != later.get(path))
    print(f"{len(today):,} entries, {len(differ)} differ {days} days later", *differ, sep="\n  ")


if __name__ == "__main__":
    main()
