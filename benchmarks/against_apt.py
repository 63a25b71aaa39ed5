"""Time the system part against plain apt on one set of packages, and compare the files of two builds.

Usage: python benchmarks/against_apt.py DIRECTORY IMAGE [--runs N]

As root on Debian bookworm, with mmdebstrap and a container engine. The set is what the shipped example takes of the
system (Python, R with its packages, pandoc). IMAGE is a bookworm with apt and no more, which the engine has, such as
`mmdebstrap --variant=minbase bookworm | docker import - NAME` makes. DIRECTORY is kept: it has a store of its own, so
that nobody else's work is in the figures. What is compared takes turns, and medians are printed; nothing is downloaded
while it is timed, apt's own packages and ours are there before, and nothing is deleted before the end.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsenv.outputs.image import read_tree
from dsenv.tools import buildkit
from dsenv.tools import engine as engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = Path(__file__).parents[1] / "examples" / "penguins"
SPEC = '[project]\nname = "against-apt"\n\n[platform]\nbase = "{base}"\ntargets = ["linux-amd64"]\n\n[system]\n'
BOOTSTRAP = "bootstrap:debian:bookworm"
PLAIN = """\
FROM {image}
COPY debs/ /var/cache/apt/archives/
RUN apt-get update && apt-get install -y --no-install-recommends {names} && rm -rf /var/lib/apt/lists/*
"""
LABEL = "dsenv.benchmark=against-apt"
UPDATE = ("apt-get", "-qq", "update")
SIMULATE = ("apt-get", "-qq", "-s", "--no-install-recommends", "install")
INSIDE = """
set -e
mkdir /tmp/old && cp /debs/*.deb /var/cache/apt/archives/
apt-get -qq update && start=$(date +%s.%N)
apt-get -qq install -y --no-install-recommends $NAMES >/dev/null 2>&1
echo $start $(date +%s.%N)
"""


class Bench:
    """A project for each base, and what plain apt is given."""

    def __init__(self, directory: Path, image: str, runs: int) -> None:
        self.directory, self.image, self.runs = directory, image, runs
        self.env = {**os.environ, "DSENV_STORE": str(directory / "store")}
        example = directory / "example"
        example.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE / "dsenv.toml", example)
        self.dsenv(example, "lock")
        lock = tomllib.loads((example / "dsenv.lock").read_text("utf-8"))
        rows = lock["system"]["linux-amd64"]["packages"]
        self.names = [row["name"] for row in rows if {*row["why"]} - {"base", "dependency"}]
        self.based, self.bare = (self.project(name, base) for name, base in (("based", image), ("bare", BOOTSTRAP)))
        self.debs = directory / "debs"

    def project(self, name: str, base: str) -> Path:
        """Write and lock a project, its files in the store."""
        path = self.directory / name
        path.mkdir(parents=True, exist_ok=True)
        names = ", ".join(f'"{name}"' for name in self.names)
        (path / "dsenv.toml").write_text(f"{SPEC.format(base=base)}packages = [{names}]\n")
        self.dsenv(path, "lock")
        return path

    def dsenv(self, project: Path, *words: str) -> None:
        """Run a command of dsenv."""
        argv = [sys.executable, "-m", "dsenv", *words]
        done = subprocess.run(argv, cwd=project, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode not in {0, 5}:
            sys.exit(f"{project}: {words}: {done.stdout}{done.stderr}")

    def pair(self, title: str, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
        """Take turns; print the medians and their ratio."""
        pairs = [(ours(), theirs()) for _ in range(self.runs)]
        one, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{title:58} dsenv {one:7.2f} s   apt {other:7.2f} s   ratio {one / other:5.2f}", flush=True)

    def move_aside(self, path: Path) -> None:
        """Have a directory gone; to delete it would make a file system such as ext4 slow for a minute."""
        if path.exists():
            (self.directory / "aside").mkdir(exist_ok=True)
            path.rename(self.directory / "aside" / f"{time.monotonic_ns()}")

    def apt_inside(self) -> float:
        """Return the seconds of a plain apt-get install in a container of the image, its packages there before."""
        argv = ["docker", "run", f"--label={LABEL}", "--network=host", "-v", f"{self.debs}:/debs:ro"]
        argv += ["-e", f"NAMES={' '.join(self.names)}", self.image, "sh", "-c", INSIDE]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        begun, ended = map(float, said.split()[-2:])
        return ended - begun

    def restored(self, *, warm: bool) -> float:
        """Return the seconds of a restore into nothing, from packages or from unpacked trees."""
        self.move_aside(self.bare / ".dsenv")
        if not warm:
            for name in ("trees", "built"):
                self.move_aside(self.directory / "store" / name)
        os.sync()
        return timed(lambda: self.dsenv(self.bare, "restore"))

    @property
    def root(self) -> Path:
        """The root in which dsenv asks apt for an environment that stands on nothing."""
        roots = (self.directory / "store" / "caches" / "apt").iterdir()
        return next(path for path in roots if not (path / "var/lib/dpkg/status").stat().st_size)

    def locked(self, *, remembered: bool) -> float:
        """Return the seconds of a lock, apt's caches warm; anew or with all that apt has answered before."""
        if not remembered:
            self.move_aside(self.root / "answers")
            (self.bare / "dsenv.lock").unlink()
        return timed(lambda: self.dsenv(self.bare, "lock", "--refresh"))

    def simulated(self) -> float:
        """Return the seconds of apt's own update and simulation, its caches warm, in the root that dsenv asks."""
        env = {**os.environ, "APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C.UTF-8"}

        def run() -> None:
            subprocess.run(UPDATE, check=True, env=env)
            subprocess.run([*SIMULATE, *self.names], check=True, capture_output=True, env=env)

        return timed(run)

    def ours_built(self) -> float:
        """Return the seconds that the image on the base takes, its context included."""
        self.move_aside(self.based / ".dsenv")

        def run() -> None:
            self.dsenv(self.based, "docker", "--no-build")
            build(self.based / ".dsenv" / "image", "against-apt:ours", "none")

        return timed(run)

    def theirs_built(self) -> float:
        """Return the same for a plain Dockerfile."""
        context = self.directory / "plain"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        shutil.copytree(self.debs, context / "debs")
        (context / "Dockerfile").write_text(PLAIN.format(image=self.image, names=" ".join(self.names)))
        return timed(lambda: build(context, "against-apt:plain", "host"))

    def download(self) -> None:
        """Let the locked packages be files that apt finds in its cache, under the names that it gives them."""
        self.debs.mkdir(exist_ok=True)
        self.dsenv(self.based, "docker", "--no-build")
        for path in (self.based / ".dsenv" / "image" / "system" / "pool").iterdir():
            shutil.copy(path, self.debs / path.name)

    def clean(self) -> None:
        """Delete what was kept so that nothing is deleted while anything is timed."""
        argv = ["docker", "ps", "-aq", "-f", f"label={LABEL}"]
        left = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        argv = ["docker", "rm", *left.split()]
        subprocess.run(argv, check=True, capture_output=True)
        shutil.rmtree(self.directory / "aside")


def timed(work: Callable[[], Any]) -> float:
    """Return how many seconds something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def build(context: Path, tag: str, network: str) -> None:
    """Build an image by BuildKit, nothing of it taken from a cache."""
    with engines.connect() as engine, engines.tarfile_of(context) as archive:
        api = engine._client.api  # noqa: SLF001 - dsenv itself never builds anew
        api.params = {"version": "2"}
        settings = {"custom_context": True, "decode": True, "nocache": True, "network_mode": network, "rm": True}
        buildkit.follow(api.build(fileobj=archive, tag=tag, **settings), lambda _: None)


def sizes(tags: tuple[str, ...]) -> Iterator[str]:
    """Yield how large images are."""
    for tag in tags:
        argv = ["docker", "image", "inspect", "-f", "{{.Size}}", tag]
        size = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        yield f"{tag} {int(size) / 1e6:.0f} MB"


def differing(one: str, other: str) -> list[str]:
    """Return the paths in which two images differ: content, kind, mode or owner."""
    trees = []
    with engines.connect() as engine:
        for tag in (one, other):
            with engine.export(tag) as stream:
                trees.append(read_tree(stream))
    return sorted(path for path in trees[0].keys() | trees[1].keys() if trees[0].get(path) != trees[1].get(path))


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("image")
    parser.add_argument("--runs", type=int, default=3)
    words = parser.parse_args()
    bench = Bench(words.directory.absolute(), words.image, words.runs)
    bench.download()
    bench.dsenv(bench.bare, "restore")
    debs = sum(path.stat().st_size for path in bench.debs.iterdir()) / 1e6
    print(f"{len(bench.names)} packages asked for, {len([*bench.debs.iterdir()])} in all, {debs:.0f} MB")
    simulate = "apt-get update and -s install"
    bench.pair(f"lock, nothing locked; {simulate}", lambda: bench.locked(remembered=False), bench.simulated)
    bench.dsenv(bench.bare, "lock", "--refresh")
    bench.pair(f"lock again; {simulate}", lambda: bench.locked(remembered=True), bench.simulated)
    bench.pair("an image's system layer; a plain Dockerfile", bench.ours_built, bench.theirs_built)
    print("; ".join(sizes(("against-apt:ours", "against-apt:plain"))))
    for tag, again in (("ours", bench.ours_built), ("plain", bench.theirs_built)):
        argv = ["docker", "tag", f"against-apt:{tag}", f"against-apt:{tag}-before"]
        subprocess.run(argv, check=True)
        again()
        found = differing(f"against-apt:{tag}-before", f"against-apt:{tag}")
        print(f"two builds, {tag}: {len(found)} paths differ {', '.join(found[:12])}", flush=True)
    bench.pair("a project's tree, from packages; apt-get install", lambda: bench.restored(warm=False), bench.apt_inside)
    bench.pair("a project's tree, from the store; apt-get install", lambda: bench.restored(warm=True), bench.apt_inside)
    bench.clean()
    layers = re.findall(r"layer = \{ sha256 = \"(\w+)\"", (bench.bare / "dsenv.lock").read_text("utf-8"))
    print(f"layers: {layers}")


if __name__ == "__main__":
    main()
