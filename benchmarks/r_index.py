"""Time how long an index of a whole CRAN takes to be read and resolved, and what memory that takes.

Usage: python benchmarks/r_index.py REPOSITORY [--rounds N] [PACKAGE...]

REPOSITORY is a directory in CRAN's form; it is served on loopback. Each round starts one program with an empty store
(cold: the index is downloaded) and one with the store of that (warm). Seconds are medians: of the work alone, of the
whole program, Python's own start among them, and of the CPU time of the work. Without PACKAGE it is the list of
`r_slice.py`.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import repository

R: Final = "4.2.2"
BRINGS: Final = {  # Debian 12's r-recommended
    "boot": "1.3-28.1",
    "class": "7.3-21",
    "cluster": "2.1.4",
    "codetools": "0.2-19",
    "foreign": "0.8-84",
    "KernSmooth": "2.23-20",
    "lattice": "0.20-45",
    "MASS": "7.3-58.2",
    "Matrix": "1.5-3",
    "mgcv": "1.8-41",
    "nlme": "3.1-162",
    "nnet": "7.3-18",
    "rpart": "4.1.19",
    "spatial": "7.3-16",
    "survival": "3.5-3",
}


def once(url: str, store: str, packages: list[str]) -> dict[str, Any]:
    """Resolve in this process, and return what it took."""
    began = time.perf_counter()
    from dsenv.ecosystems.r.cran import candidates, repositories, solve, times  # noqa: PLC0415 - they are timed, too
    from dsenv.ecosystems.r.versions import RVersion  # noqa: PLC0415
    from dsenv.progress import Silent  # noqa: PLC0415
    from dsenv.store import Store  # noqa: PLC0415
    from dsenv.tools import http as _  # noqa: F401, PLC0415 - whatever locks has loaded it

    imported, worked = time.perf_counter(), time.process_time()
    where = Store(Path(store))
    (repository,) = repositories.load([repositories.Place(name="CRAN", url=url)], where)
    read = time.perf_counter()
    brought = {
        name: candidates.Candidate(
            name=name, version=RVersion(version), origin="r", fields={"Package": name, "Version": version}
        )
        for name, version in BRINGS.items()
    }
    finder = candidates.Finder(
        r_version=RVersion(R),
        with_r=brought,
        remotes={},
        repositories=[repository],
        locked={},
        archive=candidates.Archived(where, {}, Silent()),
    )
    roots = [solve.Requirement(name, place="[r] packages") for name in packages]
    solution = times.settle(solve.Question(finder=finder, roots=roots), Silent())
    ended = time.perf_counter()
    return {
        "records": len(repository.index),
        "chosen": len(solution.chosen),
        "import": imported - began,
        "read": read - imported,
        "solve": ended - read,
        "worked": time.process_time() - worked,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measured(url: str, store: Path, packages: list[str]) -> dict[str, Any]:
    """Resolve in a program of its own, and return what it took."""
    began = time.perf_counter()
    words = [sys.executable, __file__, "--once", url, str(store), *packages]
    completed = subprocess.run(words, capture_output=True, text=True, check=True)
    return {**json.loads(completed.stdout), "program": time.perf_counter() - began}


def main() -> None:
    """Time it."""
    if sys.argv[1:2] == ["--once"]:
        print(json.dumps(once(sys.argv[2], sys.argv[3], sys.argv[4:])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("packages", nargs="*", default=repository.PACKAGES)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    with repository.served(options.repository) as url:
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as store:
                for found in rows.values():
                    found.append(measured(url, Path(store), options.packages))
    first = rows["cold"][0]
    print(f"{first['records']:,} records, {first['chosen']} packages chosen for {len(options.packages)}")
    for title, found in rows.items():
        middle = {key: statistics.median(row[key] for row in found) for key in first}
        print(
            f"{title}: read {middle['read']:.2f} s, resolved {middle['solve']:.2f} s, CPU {middle['worked']:.2f} s; "
            f"imports {middle['import']:.2f} s, the whole program {middle['program']:.2f} s, {middle['memory']:.0f} MB"
        )


if __name__ == "__main__":
    main()
