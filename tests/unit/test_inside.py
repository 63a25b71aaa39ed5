"""What an image builds and fetches by itself: the Makefile, the lists that scripts read, and the scripts themselves."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dsenv.builds import Build
from dsenv.errors import DsenvError, WrongUseError
from dsenv.operations import docker as operation
from dsenv.outputs import context as contexts
from dsenv.outputs import image, inside
from dsenv.outputs.context import Context
from dsenv.outputs.inside import Job
from dsenv.pins import Artifact
from dsenv.steps import Derive, Input, Link, Pending, Recipe, Run, StartFrom, Unpack, Write
from dsenv.store import Store
from dsenv.tree import content_sha256
from tests.unit.test_outputs import ABOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = Path(__file__).parents[1] / "cases" / "image"


def _artifact(filename: str, content: bytes = b"x", *urls: str) -> Artifact:
    return Artifact(filename=filename, sha256=content_sha256(content), size=len(content), urls=urls)


MAKE = _artifact("make_4.3-4_amd64.deb", b"make")
ROOT = Recipe(
    name="system",
    title="debian bookworm, 1 packages",
    steps=(
        Unpack(artifact=MAKE, owner="make 4.3-4"),
        Link(path="lib", target="usr/lib"),
        Link(path="usr/bin/awk", target="usr/bin/mawk"),
        Derive(source="usr/lib/R/etc/Renviron.ucf", path="etc/R/Renviron"),
        Write(path="/etc/passwd", text="root:x:0:0\n"),
    ),
)
OTHER = replace(ROOT, title="debian bookworm, 2 packages")


def _job(name: str, *after: str, size: int = 1, root: Recipe = ROOT, **changes: object) -> Job:
    build = Build(
        name=name,
        title=f"{name} 1.0",
        inputs=(
            Input(name=f"{name}_1.0.tar.gz", source=_artifact(f"{name}_1.0.tar.gz", b"x" * size)),
            Input(name="prepare.sh", source="echo\n"),
        ),
        steps=(
            Run(argv=("sh", "/build/in/prepare.sh", name, "it's"), env=(("R_LIBS", "/build/a b"),)),
            Run(argv=("cp", "a", f"/build/out/{name}.tar"), env=(("R_LIBS", "/build/a b"),)),
        ),
        after=after,
        in_image=True,
    )
    job = Job(recipe="r", build=build, root=root, result=f"library/{name}.tar")
    return replace(job, **changes)  # type: ignore[arg-type]


JOBS = (_job("cli", size=900), _job("rlang", size=500), _job("zip", root=OTHER), _job("dplyr", "cli", "rlang", size=70))
RECIPES = (
    Recipe(name="system", title="debian bookworm, 9 packages", steps=(StartFrom(image="debian:bookworm"),)),
    Recipe(
        name="r",
        title="R 4.2.2, 4 packages",
        inputs=(Input(name="unpack.sh", source="echo\n"),),
        pending=tuple(Pending(name=job.result, build=job.build.name) for job in JOBS),
        steps=(Run(argv=("sh", "/dev/dsenv/unpack.sh", "/opt/dsenv/library")),),
    ),
)


NOTHING = (
    replace(
        RECIPES[0],
        inputs=(Input(name="bootstrap.sh", source="mkdir $1\n"),),
        steps=(StartFrom(image="debian:bookworm", script="bootstrap.sh"), Run(argv=("sh", "/dev/dsenv/check.sh"))),
    ),
    RECIPES[1],
)


@pytest.mark.parametrize("name", ["Makefile", "steps.sh", "Dockerfile", "Dockerfile.plain", "Dockerfile.nothing"])
def test_texts_are_as_they_were_read_once(name: str) -> None:
    made = {
        "Makefile": lambda: inside.makefile(JOBS),
        "steps.sh": lambda: inside.script(JOBS[0]),
        "Dockerfile": lambda: image.dockerfile(RECIPES, ABOUT, JOBS),
        "Dockerfile.plain": lambda: image.dockerfile(RECIPES, ABOUT, JOBS, plain=True),
        "Dockerfile.nothing": lambda: image.dockerfile(NOTHING, ABOUT, JOBS, plain=True),
    }
    assert made[name]() == (CASES / name).read_text("utf-8")


def test_an_image_that_builds_nothing_has_one_stage() -> None:
    recipes = (RECIPES[0], replace(RECIPES[1], pending=()))
    text = image.dockerfile(recipes, ABOUT)
    assert text.count("FROM ") == 1
    assert "from=" not in text


def test_steps_with_other_variables_do_not_keep_those_of_the_step_before() -> None:
    first = JOBS[0].build.steps[0]
    job = replace(JOBS[0], build=replace(JOBS[0].build, steps=(first, replace(first, env=()))))
    text = inside.script(job)
    shell = text[text.index("(\n") :].replace("sh /build/in/prepare.sh", "echo ${R_LIBS-none}")
    completed = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True, env={})
    assert completed.stdout == "/build/a b cli it's\nnone cli it's\n"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a b",
            "a\nall: x",
            "$(shell id)",
            "a:b",
            "a#b",
            "../a",
            "a/b",
            "",
            "-f",
            ".PHONY",
            "a;id",
            "a%b",
            "a=b",
            "ä",
        ),
        *("`id`", "a\tb", "*", "~a", "@a", "a\\"),
    ],
)
def test_no_name_means_anything_else_to_make_or_a_shell(tmp_path: Path, name: str) -> None:
    (made,) = (job for job in JOBS if job.build.name == "cli")
    changed = [replace(made, build=replace(made.build, name=name)), replace(made, recipe=name)]
    if name != "a/b":  # a path as it may be
        changed.append(replace(made, result=f"library/{name}"))
    for job in changed:
        with pytest.raises(DsenvError, match="cannot stand in a Makefile"):
            inside.makefile([job])
        with pytest.raises(DsenvError, match="cannot stand in a Makefile"):
            inside.write(_context(tmp_path), [job])


@pytest.mark.parametrize(
    "step",
    [
        Link(path="usr/bin/a b", target="usr/bin/c"),
        Link(path="usr/bin/a", target="usr/bin/$(id)"),
        Link(path="../../etc/cron.d/a", target="usr/bin/c"),
        Derive(source="usr/a\nb", path="etc/x"),
        Derive(source="usr/a", path="../etc/x"),
        Unpack(artifact=_artifact("a b.deb")),
        Unpack(artifact=_artifact("a'b.deb")),
        Write(path="/../etc/x", text=""),
    ],
    ids=str,
)
def test_no_path_of_a_package_means_anything_else(tmp_path: Path, step: Link | Derive | Unpack | Write) -> None:
    with pytest.raises(DsenvError):
        inside.write(_context(tmp_path), [_job("a", root=replace(ROOT, steps=(*ROOT.steps, step)))])


def test_a_title_stays_a_comment() -> None:
    job = replace(JOBS[0], build=replace(JOBS[0].build, title="a\nRUN id \\"))
    assert "# Generated by dsenv: a?RUN id\nset" in inside.script(job)
    assert "#   a?RUN id\nFROM" in image.dockerfile(RECIPES, ABOUT, [job])


def test_a_lock_without_make_is_told(tmp_path: Path) -> None:
    with pytest.raises(DsenvError, match="has no make"):
        inside.write(_context(tmp_path), [_job("a", root=replace(ROOT, steps=ROOT.steps[1:]))])


def _context(tmp_path: Path, *, fetching: bool = True) -> Context:
    (tmp_path / "context").mkdir(exist_ok=True)
    return Context(tmp_path / "context", Store(tmp_path / "store"), fetching=fetching)


def test_the_stage_finds_all_that_its_scripts_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for content in (b"make", *(b"x" * size for size in (900, 500, 1, 70))):
        store.keep(content)
    context = _context(tmp_path, fetching=False)
    inside.write(context, JOBS)
    context.finish()
    found = {str(path.relative_to(tmp_path / "context/build")) for path in (tmp_path / "context").rglob("*.*")}
    names = [job.build.name for job in JOBS]
    assert found == {
        *("build.sh", "lay.sh", "in/r/prepare.sh", "pool/make_4.3-4_amd64.deb"),
        *(f"in/r-{name}/{name}_1.0.tar.gz" for name in names),
        *(f"steps/r-{name}.sh" for name in names),
        *(f"roots/{number}.{end}" for number in (1, 2) for end in ("packages", "links", "copies")),
    }
    roots = tmp_path / "context/build/roots"
    assert (roots / "1.packages").read_text() == "make_4.3-4_amd64.deb\n"
    assert (roots / "1.links").read_text() == "lib usr/lib\nusr/bin/awk mawk\n"
    assert (roots / "1.copies").read_text() == "etc/R/Renviron usr/lib/R/etc/Renviron.ucf\n"
    assert (roots / "1/etc/passwd").read_text() == "root:x:0:0\n"
    assert not (tmp_path / "context/fetch").exists()


@pytest.fixture
def making(tmp_path: Path) -> Path:
    """Return a directory in which make runs a stand-in for build.sh: it notes what it was asked for, and fails for one.

    What the real one does takes the rights of a container: tests/integration/test_image_builds.py has it.
    """
    make = shutil.which("make")
    if not make:
        pytest.skip("there is no make")
    (tmp_path / "Makefile").write_text(inside.makefile(JOBS))
    (tmp_path / "build.sh").write_text(
        'shift; echo "$*" >> log; [ "$3" != "$FAILS" ] || { echo "$3: the log"; exit 1; }\n'
        'mkdir -p "${4%/*}"; result=$4; shift 4; cat "$@" < /dev/null > "$result"\n'
    )
    return tmp_path


def _make(directory: Path, fails: str = "", *, jobs: int = 1) -> subprocess.CompletedProcess[str]:
    words = ["make", f"--jobs={jobs}", "--directory", str(directory), "--file", str(directory / "Makefile")]
    env = {"PATH": os.environ["PATH"], "FAILS": fails}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=env)


@pytest.mark.parametrize("jobs", [1, 4])
def test_make_follows_what_packages_need(making: Path, jobs: int) -> None:
    completed = _make(making, jobs=jobs)
    assert completed.returncode == 0, completed.stderr
    log = (making / "log").read_text().splitlines()
    dplyr = "1 r dplyr r/library/dplyr.tar r/library/cli.tar r/library/rlang.tar"
    needed = ["1 r cli r/library/cli.tar", "1 r rlang r/library/rlang.tar"]
    assert sorted(log) == sorted([dplyr, *needed, "2 r zip r/library/zip.tar"])
    assert all(log.index(line) < log.index(dplyr) for line in needed)
    if jobs == 1:
        assert log == [*needed, dplyr, "2 r zip r/library/zip.tar"], "the longest way first"


def test_make_stops_at_what_fails_and_shows_its_log(making: Path) -> None:
    completed = _make(making, "rlang")
    assert completed.returncode != 0
    assert "rlang: the log" in completed.stdout
    assert "dplyr" not in (making / "log").read_text()
    assert not (making / "r/library/dplyr.tar").exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a directory; return it and its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _fetch(directory: Path) -> subprocess.CompletedProcess[str]:
    words = ["sh", str(directory / contexts.FETCH / "fetch.sh"), str(directory)]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=env)


@pytest.mark.skipif(not Path("/usr/lib/apt/apt-helper").exists(), reason="it is apt's helper that downloads")
def test_the_first_address_that_has_the_file_serves_it(tmp_path: Path, served: tuple[Path, str]) -> None:
    directory, url = served
    (directory / "old").mkdir()
    for path in ("a.deb", "old/b.tar.gz", "repacked"):
        (directory / path).write_text(path)
    (directory / "b.tar.gz").write_text("another packing")
    context = _context(tmp_path)
    a = _artifact("a.deb", b"a.deb", f"{url}/gone", f"{url}/a.deb")
    b = _artifact("b.tar.gz", b"old/b.tar.gz", f"{url}/b.tar.gz", f"{url}/old/b.tar.gz")
    c = replace(_artifact("c", b"first", f"{url}/repacked"), accepted=(content_sha256(b"repacked"),))
    d = replace(c, filename="d")
    for item in (a, b, c, d):
        context.add(f"in/{item.filename}", Input(name=item.filename, source=item))
    context.add("in/text", Input(name="text", source="here"))
    context.finish()
    context.write("in/a.deb", b"planted")
    context.write("in/c", b"first")
    completed = _fetch(tmp_path / "context")
    assert completed.returncode == 0, completed.stderr
    assert "in/a.deb: these are other bytes" in completed.stderr
    assert "in/b.tar.gz: these are other bytes" in completed.stderr
    assert {path.name: path.read_text() for path in (tmp_path / "context/in").iterdir()} == {
        "a.deb": "a.deb",
        "b.tar.gz": "old/b.tar.gz",
        "c": "first",
        "d": "repacked",
        "text": "here",
    }


@pytest.mark.skipif(not Path("/usr/lib/apt/apt-helper").exists(), reason="it is apt's helper that downloads")
def test_other_bytes_than_the_lock_names_stop_the_build(tmp_path: Path, served: tuple[Path, str]) -> None:
    directory, url = served
    (directory / "a").write_text("tampered")
    context = _context(tmp_path)
    context.add("in/a", Input(name="a", source=_artifact("a", b"a", f"{url}/a", f"{url}/gone")))
    context.finish()
    completed = _fetch(tmp_path / "context")
    assert completed.returncode == 1
    assert "ERROR: none of its addresses serves what the lock names: in/a" in completed.stderr
    assert list((tmp_path / "context/in").iterdir()) == []


def test_what_no_address_serves_lies_in_the_context(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.keep(b"own")
    context = _context(tmp_path)
    for number, url in enumerate(["pkgs/own", "git+https://x.example/y@0", "http://x.example/a b", "http://x/\nRUN"]):
        context.add(f"in/{number}", Input(name="own", source=_artifact("own", b"own", url)))
    context.finish()
    assert (tmp_path / "context/fetch/files.txt").read_text() == ""
    assert {path.read_text() for path in (tmp_path / "context/in").iterdir()} == {"own"}


@pytest.mark.parametrize("name", ["dsenv.toml", "notes", ".git"])
def test_nothing_that_somebody_else_wrote_is_removed(tmp_path: Path, name: str) -> None:
    """A directory is made anew only if all in it is a context's: never a project that has our Dockerfile."""
    assert operation._own(tmp_path / "new") == tmp_path / "new"
    assert operation._own(tmp_path) == tmp_path
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(WrongUseError, match="has not written"):
        operation._own(tmp_path)
    (tmp_path / "Dockerfile").write_text(image.dockerfile(RECIPES, ABOUT))
    (tmp_path / "system").mkdir()
    assert operation._own(tmp_path) == tmp_path
    (tmp_path / name).mkdir()
    with pytest.raises(WrongUseError, match="has not written"):
        operation._own(tmp_path)
