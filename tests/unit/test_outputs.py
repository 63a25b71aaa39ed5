"""What steps become: a layout of files and variables, a Dockerfile."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import platform
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from packaging.pylock import Pylock

from dsenv import tree
from dsenv.ecosystems.python import pins as python_pins
from dsenv.errors import DriftError, DsenvError, IntegrityError, WrongUseError
from dsenv.locks import Locks, Part
from dsenv.operations import restore
from dsenv.operations.selection import image_target, select
from dsenv.outputs import image, layout, project
from dsenv.pins import Artifact, Groups, Target
from dsenv.progress import Silent
from dsenv.project import Project
from dsenv.steps import (
    Dereference,
    Derive,
    Input,
    Link,
    Place,
    PrependPath,
    Recipe,
    Run,
    SearchPath,
    SetEnv,
    StartFrom,
    Unpack,
    Write,
)
from dsenv.store import Store
from dsenv.tree import Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place(kind="project", prefix="/p", root="/p/root", inputs="/p/.inputs", cache="/c")
ARTIFACT = Artifact(filename="a.deb", sha256="0" * 64)


def _unpacked(path: Path) -> Any:
    front_end = b"#!/bin/sh\nR_HOME_DIR=/usr/lib/R\n"
    (path / "usr/bin").mkdir(parents=True, exist_ok=True)
    (path / "usr/bin/R").write_bytes(front_end)
    files: Tree = {
        "usr/bin/R": Entry(kind="file", mode=0o755, content=tree.content_sha256(front_end), owner="r 4"),
        "usr/lib/x/libx.so.1": Entry(kind="file", content="1"),
        "usr/lib/a/liba.so": Entry(kind="link", content="b"),
        "usr/lib/python3/x.so": Entry(kind="file", content="2"),
    }
    return lambda _artifact: (files, path)


def test_steps_become_files_and_variables(tmp_path: Path) -> None:
    steps = (
        Unpack(artifact=ARTIFACT),
        Derive(source="usr/bin/R", path="usr/bin/R", replacements=(("=/usr/", "=/p/root/usr/"),)),
        Derive(source="usr/bin/R", path="etc/copy"),
        Link(path="usr/lib/libx.so", target="usr/lib/x/libx.so.1"),
        Dereference(below="usr/lib/none"),
        Write(path="/p/bin/hello", text="hi", mode=0o755),
        SetEnv(name="A", value="1"),
        SetEnv(name="B", value=None),
        PrependPath(name="PATH", directories=("/one",)),
        PrependPath(name="PATH", directories=("/two",)),
        SearchPath(name="LIBS", pattern=r"usr/lib/(?!python3).*\.so(\.\d)?"),
        SearchPath(name="NONE", pattern="x"),
    )
    laid = layout.lay_out([Recipe(name="r", title="R", steps=steps)], PLACE, _unpacked(tmp_path))
    assert laid.places["usr/bin/R"] == laid.places["etc/copy"] == b"#!/bin/sh\nR_HOME_DIR=/p/root/usr/lib/R\n"
    assert laid.root["usr/bin/R"].mode == laid.root["etc/copy"].mode == 0o755
    assert laid.root["usr/lib/libx.so"].content == "x/libx.so.1"
    assert laid.texts == {"/p/bin/hello": (b"hi", 0o755)}
    assert layout.variables(steps, PLACE, laid.root) == {
        "A": "1",
        "B": None,
        "PATH": ["/two", "/one"],
        "LIBS": ["/p/root/usr/lib", "/p/root/usr/lib/a", "/p/root/usr/lib/x"],
    }


def test_a_file_that_changed_its_words_is_told(tmp_path: Path) -> None:
    derive = Derive(source="usr/bin/R", path="usr/bin/R", replacements=(("no such words", ""),))
    with pytest.raises(DsenvError, match="does not say 'no such words'"):
        _lay_out(_unpacked(tmp_path), Unpack(artifact=ARTIFACT), derive)
    with pytest.raises(DsenvError, match="do not bring /usr/bin/R"):
        _lay_out(_unpacked(tmp_path), derive)


def _lay_out(unpacked: Any, *steps: Any) -> layout.Layout:
    return layout.lay_out([Recipe(name="r", title="R", steps=steps)], PLACE, unpacked)


def test_a_text_among_the_packages_files_is_one_of_them(tmp_path: Path) -> None:
    status = Write(path="/p/root/var/lib/dpkg/status", text="Package: x\n", mode=0o600)
    laid = _lay_out(_unpacked(tmp_path), Unpack(artifact=ARTIFACT), status, Write(path="/p/bin/x", text="x"))
    assert laid.places["var/lib/dpkg/status"] == b"Package: x\n"
    assert laid.root["var/lib/dpkg/status"] == layout.text_entry(b"Package: x\n", 0o600)
    assert list(laid.texts) == ["/p/bin/x"]


@pytest.mark.parametrize("link", ["var/lib/dpkg/status", "var/lib/dpkg", "var"])
def test_no_text_is_written_through_a_packages_link(tmp_path: Path, link: str) -> None:
    files = {link: Entry(kind="link", content=str(tmp_path / "victim"), owner="evil 1")}
    status = Write(path="/p/root/var/lib/dpkg/status", text="Package: x\n")
    with pytest.raises(DsenvError, match=f"(?=.*evil 1)(?=.*dsenv)(?=.*/{link})"):
        _lay_out(lambda _: (files, tmp_path), Unpack(artifact=ARTIFACT), status)


@pytest.mark.parametrize("path", ["../../home/x", "usr/../../x"])
def test_no_link_leaves_the_tree(tmp_path: Path, path: str) -> None:
    """Maintainer scripts say which names they register."""
    with pytest.raises(IntegrityError, match="leads outside"):
        _lay_out(_unpacked(tmp_path), Unpack(artifact=ARTIFACT), Link(path=path, target="usr/bin/R"))


def test_what_is_derived_may_be_linked_to(tmp_path: Path) -> None:
    """The file that a link is replaced by is the derived one."""
    files, places = _unpacked(tmp_path)(ARTIFACT)
    files["usr/lib/R/library/x/front"] = Entry(kind="link", content="../../../../bin/R")
    derive = Derive(source="usr/bin/R", path="usr/bin/R", replacements=(("=/usr/", "=/p/root/usr/"),))
    laid = _lay_out(
        lambda _: (files, places), Unpack(artifact=ARTIFACT), derive, Dereference(below="usr/lib/R/library")
    )
    assert laid.places["usr/lib/R/library/x/front"] == laid.places["usr/bin/R"]
    tree.materialise(
        {path: entry for path, entry in laid.root.items() if path.endswith(("front", "bin/R"))},
        laid.places,
        tmp_path / "out",
    )


def test_inputs_are_checked_again(tmp_path: Path) -> None:
    made = tmp_path / "system.tar"
    made.write_bytes(b"tar")
    item = Input(name="system.tar", source=made, sha256=tree.content_sha256(b"tar"))
    store = Store(tmp_path / "store")
    assert layout.checked(item, store) == made
    assert layout.checked(Input(name="x", source="ä"), store) == "ä".encode()
    made.write_bytes(b"rat")
    with pytest.raises(IntegrityError, match=r"system\.tar in the store is damaged") as caught:
        layout.checked(item, store)
    assert "Delete it" in caught.value.hint
    recipes = (dataclasses.replace(RECIPES[0], inputs=(item,)),)
    with pytest.raises(IntegrityError, match=r"system\.tar"):
        image.write_context(tmp_path / "context", recipes, ABOUT, tmp_path, store)
    with pytest.raises(IntegrityError, match=r"system\.tar"):
        _build(tmp_path, Run(argv=("true",)), inputs=(item,))


def test_only_path_goes_on_with_its_own() -> None:
    values: layout.Variables = {"PATH": ["/e/bin"], "LD_LIBRARY_PATH": ["/e/lib"], "A": "1", "PYTHONPATH": None}
    found = layout.applied(values, {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/host", "PYTHONPATH": "/x", "HOME": "/h"})
    assert found == {"PATH": "/e/bin:/usr/bin", "LD_LIBRARY_PATH": "/e/lib", "A": "1", "HOME": "/h"}
    assert layout.applied(values, {})["PATH"] == "/e/bin"


RECIPES = (
    Recipe(
        name="system",
        title="debian bookworm, 2 packages",
        inputs=(Input(name="system.tar", source="tar"),),
        steps=(
            StartFrom(archive="system.tar"),
            Run(argv=("sh", "/dev/dsenv/check.sh")),
            SetEnv(name="LANG", value="C.UTF-8"),
            SetEnv(name="LANGUAGE", value=None),
        ),
        epoch=1000,
    ),
    Recipe(
        name="python",
        title="Python 3.11.2, 1 packages",
        inputs=(Input(name="uv", source="x", executable=True),),
        steps=(
            Run(argv=("/dev/dsenv/uv", "venv", "a b", "$(id)"), env=(("A", "1"), ("B", "x;y"))),
            Run(argv=("/dev/dsenv/uv", "sync"), env=(("A", "1"), ("B", "x;y"))),
            Run(argv=("rm", "-rf", "c")),
            PrependPath(name="PATH", directories=("/opt/dsenv/venv/bin",)),
            Write(path="/opt/dsenv/etc/x", text="hi", mode=0o600),
        ),
    ),
)
ABOUT = image.About(
    name="x",
    id="ab" * 32,
    digest="cd" * 32,
    base="bootstrap:debian:bookworm",
    epoch=1000,
    command=["sh", "-c", 'echo "$HOME" \\ `id`'],
    ports=[8000],
    copy=["app"],
    locks={"dsenv.lock": "l"},
)


def test_the_dockerfile_reads_well() -> None:
    text = image.dockerfile(RECIPES, ABOUT)
    assert "FROM scratch\nADD system/system.tar /\nARG SOURCE_DATE_EPOCH=1000\n" in text
    assert (
        "# Python 3.11.2, 1 packages\n"
        "RUN --mount=type=bind,source=python,target=/dev/dsenv \\\n"
        "    export A=1 B='x;y' && \\\n"
        "    /dev/dsenv/uv venv 'a b' '$(id)' && \\\n"
        "    /dev/dsenv/uv sync && \\\n"
        "    rm -rf c && \\\n"
        "    sh /dev/dsenv/tidy.sh 1000\n"
    ) in text
    assert (
        'ENV DSENV_ID="' + "ab" * 32 + '" \\\n    LANG="C.UTF-8" \\\n    PATH="/opt/dsenv/venv/bin:/usr/local' in text
    )
    assert text.endswith('EXPOSE 8000\nUSER 1000:1000\nWORKDIR /work\nCMD ["sh", "-c", "echo \\"$HOME\\" \\\\ `id`"]\n')
    assert "LANGUAGE" not in text
    assert 'dev.dsenv.environment="' in text
    assert 'org.opencontainers.image.created="1970-01-01T00:16:40+00:00"' in text


def test_an_image_base_is_named() -> None:
    recipes = (dataclasses.replace(RECIPES[0], steps=(StartFrom(image="debian:bookworm-slim"),)),)
    assert "FROM debian:bookworm-slim\n" in image.dockerfile(recipes, ABOUT)


@pytest.mark.parametrize("value", ["a$HOME", 'a"b', "a\\b", "a$(id)`id`"])
def test_no_value_is_expanded(value: str) -> None:
    quoted = image._quoted(value)
    assert quoted[0] == quoted[-1] == '"'
    inner = quoted[1:-1]
    assert inner.replace("\\\\", "").replace('\\"', "").replace("\\$", "").count("$") == 0
    assert inner.replace("\\\\", "").replace('\\"', "").count('"') == 0


def test_a_newline_cannot_end_an_instruction() -> None:
    with pytest.raises(WrongUseError):
        image._quoted("x\nRUN id")


def test_the_context_holds_what_the_dockerfile_names(tmp_path: Path) -> None:
    (tmp_path / "project/app").mkdir(parents=True)
    (tmp_path / "project/app/main.py").write_text("1")
    (tmp_path / "context").mkdir()
    image.write_context(tmp_path / "context", RECIPES, ABOUT, tmp_path / "project", Store(tmp_path / "store"))
    found = {
        str(path.relative_to(tmp_path / "context")) for path in (tmp_path / "context").rglob("*") if path.is_file()
    }
    assert found == {
        "Dockerfile",
        "dsenv/tidy.sh",
        "system/system.tar",
        "system/tidy.sh",
        "python/uv",
        "python/tidy.sh",
        "files/opt/dsenv/etc/x",
        "files/opt/dsenv/locks/dsenv.lock",
        "project/app/main.py",
    }
    assert (tmp_path / "context/python/uv").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "context/files/opt/dsenv/etc/x").stat().st_mode & 0o777 == 0o600
    files = tree.scan(tmp_path / "context/files")
    assert tree.compare(image.expected(RECIPES, ABOUT), files) == []


def test_the_settings_are_those_of_the_dockerfile() -> None:
    settings = image.settings(RECIPES, ABOUT)
    text = image.dockerfile(RECIPES, ABOUT)
    assert settings["ENV LANG"] == "C.UTF-8"
    assert settings["LABEL dev.dsenv.lock"] == "cd" * 32
    assert f"\nUSER {settings['USER']}\nWORKDIR {settings['WORKDIR']}\nCMD {settings['CMD']}\n" in text
    for name, value in settings.items():
        if name.startswith(("ENV", "LABEL")):
            assert f'{name.partition(" ")[2]}="{value}"' in text


def test_a_context_is_written_in_utf8(tmp_path: Path) -> None:
    """Under any locale: a Dockerfile with a person's words in it is read elsewhere."""
    about = dataclasses.replace(ABOUT, base="ä", copy=(), locks={"dsenv.toml": "# ä"})
    script = (
        "import sys, pickle, pathlib; from dsenv.outputs import image; from dsenv.store import Store\n"
        "recipes, about, path = pickle.load(sys.stdin.buffer)\n"
        "image.write_context(path / 'context', recipes, about, path, Store(path))"
    )
    subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", script],
        input=pickle.dumps((RECIPES, about, tmp_path)),
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        check=True,
    )
    assert 'base.name="ä"' in (tmp_path / "context/Dockerfile").read_text("utf-8")
    assert (tmp_path / "context/files/opt/dsenv/locks/dsenv.toml").read_text("utf-8") == "# ä"


@pytest.mark.parametrize("name", ["nowhere", "out", ".dsenv", ".dsenv/cache", "./.dsenv/", "inside", ".git", "fifo"])
def test_only_the_projects_own_files_are_copied(tmp_path: Path, name: str) -> None:
    (tmp_path / "project/.dsenv/cache").mkdir(parents=True)
    (tmp_path / "project/.git").mkdir()
    (tmp_path / "project/out").symlink_to("/etc")
    (tmp_path / "project/inside").symlink_to(".dsenv/cache")
    os.mkfifo(tmp_path / "project/fifo")
    with pytest.raises(WrongUseError, match=name):
        image._copy_project(tmp_path / "project", name, tmp_path / "to")


def test_a_copied_program_stays_one(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "project/run.sh").chmod(0o755)
    image._copy_project(tmp_path / "project", "run.sh", tmp_path / "to")
    assert (tmp_path / "to/run.sh").stat().st_mode & 0o777 == 0o755


def test_what_cannot_be_copied_is_named(tmp_path: Path) -> None:
    (tmp_path / "project/app").mkdir(parents=True)
    os.mkfifo(tmp_path / "project/app/queue")
    with pytest.raises(DsenvError, match=r"copy names app") as caught:
        image._copy_project(tmp_path / "project", "app", tmp_path / "to")
    assert "project/app/queue" in caught.value.cause


def test_an_exported_image_is_a_tree() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, link in (
            ("usr/", tarfile.DIRTYPE, ""),
            ("usr/a", tarfile.REGTYPE, ""),
            ("usr/b", tarfile.LNKTYPE, "usr/a"),
            ("c", tarfile.SYMTYPE, "usr/a"),
            ("etc/hosts", tarfile.REGTYPE, ""),
            ("etc/same", tarfile.LNKTYPE, "etc/hosts"),
            ("dev/null", tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o100644
            member.size = 2 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"hi"))
    buffer.seek(0)
    found = image.read_tree(buffer)
    assert set(found) == {"usr", "usr/a", "usr/b", "c"}
    assert found["usr/a"] == found["usr/b"]
    assert found["usr/a"].mode == 0o644


WORDS = (Input(name="words.txt", source="hello"),)


def _build(tmp_path: Path, *steps: Any, name: str = "x", inputs: tuple[Input, ...] = WORDS) -> project.Environment:
    project_ = Project(tmp_path)
    project_.home.mkdir(exist_ok=True, parents=True)
    place = project.next_place(project_, name * 64, "project")
    recipe = Recipe(
        name="r",
        title="R",
        steps=tuple(
            dataclasses.replace(step, path=place.prefix + step.path) if isinstance(step, Write) else step
            for step in steps
        ),
        inputs=inputs,
    )
    environment = project.build(
        [recipe],
        place,
        Store(tmp_path / "store"),
        Silent(),
        id=name * 64,
        mode="project",
        target="linux-amd64",
        groups=[],
        locks={},
    )
    project_.make_current(environment.path)
    return environment


def test_an_environment_is_built_and_watched(tmp_path: Path) -> None:
    environment = _build(tmp_path, Write(path="/bin/x", text="1", mode=0o755), SetEnv(name="A", value="1"))
    assert project.current(Project(tmp_path)) == environment
    assert environment.process_environment({})["DSENV_ID"] == "x" * 64
    assert project.changed(environment) == []
    (environment.path / "__pycache__").mkdir()
    (environment.path / "__pycache__/x.pyc").write_text("bytecode")
    os.utime(environment.path / "bin/x")  # touched, and read again, but not changed
    assert project.changed(environment) == []
    (environment.path / "bin/x").write_text("2")
    (environment.path / "new.pth").write_text("import os")
    assert [(item.path, item.what) for item in project.changed(environment)] == [
        ("bin/x", "changed"),
        ("new.pth", "unexpected"),
    ]
    (environment.path / "bin/x").unlink()
    assert ("bin/x", "missing") in [(item.path, item.what) for item in project.changed(environment)]


def test_programs_see_their_inputs_and_variables(tmp_path: Path) -> None:
    out = tmp_path / "out"
    step = Run(argv=("sh", "-c", f'cat "$0" > {out}; echo "$A $B" >> {out}', "words.txt"), env=(("B", "2"),))
    project_ = Project(tmp_path)
    place = project.next_place(project_, "y" * 64, "project")
    step = dataclasses.replace(step, argv=(*step.argv[:3], f"{place.inputs}/words.txt"))
    environment = _build(tmp_path, step, SetEnv(name="A", value="1"), name="y")
    assert out.read_text() == "hello1 2\n"
    assert not (environment.path / ".inputs").exists()


def test_generations_never_share_a_directory(tmp_path: Path) -> None:
    first, second = _build(tmp_path), _build(tmp_path)
    assert first.path != second.path
    assert project.current(Project(tmp_path)) == second
    descriptor = project.use(first.path)
    assert project.in_use(first.path)
    os.close(descriptor)
    assert not project.in_use(first.path)
    assert project.is_finished(first.path)


def test_a_colon_in_the_path_is_refused(tmp_path: Path) -> None:
    """PATH would be cut in two there, and both halves are directories of somebody else."""
    with pytest.raises(WrongUseError, match=r"2026:07/\.dsenv/envs has a colon"):
        project.next_place(Project(tmp_path / "2026:07"), "x" * 64, "project")


def test_the_environments_may_lie_on_another_disk(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "scratch").mkdir()
    (tmp_path / "home/.dsenv").symlink_to(tmp_path / "scratch")
    environment = _build(tmp_path / "home")
    assert project.current(Project(tmp_path / "home")) == environment
    assert environment.path.is_relative_to(tmp_path / "scratch")


def test_sweeping_takes_old_generations_and_nothing_else(tmp_path: Path) -> None:
    made = [_build(tmp_path, name="a").path for _ in range(4)]
    for number, path in enumerate(made):
        os.utime(path, (number, number))
    home = Project(tmp_path)
    foreign = home.environments / "notes"
    foreign.mkdir()
    (home.environments / ".DS_Store").write_text("x")
    (home.environments / "abc-1").write_text("a file")
    (tmp_path / "precious/abc-9").mkdir(parents=True)
    (home.environments / "abc-9").symlink_to(tmp_path / "precious/abc-9")
    unfinished = home.environments / "abc-2"
    unfinished.mkdir()
    restore._sweep(home, keep=2)
    assert {path.name for path in home.environments.iterdir()} == {
        *(path.name for path in made[2:]),
        "notes",
        ".DS_Store",
        "abc-1",
        "abc-9",
    }
    assert (tmp_path / "precious/abc-9").is_dir()


def test_linked_environments_are_not_swept(tmp_path: Path) -> None:
    home = Project(tmp_path)
    home.home.mkdir()
    (tmp_path / "precious/abc-1").mkdir(parents=True)
    home.environments.symlink_to(tmp_path / "precious")
    restore._sweep(home, keep=1)
    assert (tmp_path / "precious/abc-1").is_dir()


def test_groups_are_compared_as_python_does() -> None:
    target = Target("linux", "amd64")
    lock = Pylock.from_dict(
        {
            "lock-version": "1.0",
            "created-by": "dsenv",
            "dependency-groups": ["a-b", "c", "d"],
            "packages": [],
        }
    )
    part = Part(pins=python_pins.Pins(interpreters=(), lock=lock), inputs={})
    held = Locks(targets=(target,), parts={"python": part})

    def chosen(**groups: Any) -> tuple[str, ...]:
        return select(held, target, Groups(**groups)).selection.groups

    assert chosen() == ()
    assert chosen(named=("a__b", "A.-b", "c")) == ("a-b", "c")
    assert chosen(everything=True) == ("a-b", "c", "d")
    assert chosen(everything=True, without=("A_b",)) == ("c", "d")
    assert chosen(named=("c", "d"), without=("d",)) == ("c",)
    with pytest.raises(WrongUseError, match="no group e, f") as caught:
        chosen(named=("e",), everything=True, without=("f",))
    assert caught.value.hint == "Groups of the lock: a-b, c, d."


def test_an_image_is_for_linux_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert image_target(None) == Target("linux", "arm64")
    assert image_target("linux-amd64") == Target("linux", "amd64")


def test_a_damaged_or_moved_environment_is_told(tmp_path: Path) -> None:
    environment = _build(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(DriftError, match="lies at"):
        project.current(Project(tmp_path / "b"))
    (tmp_path / "b").rename(tmp_path / "a")
    (environment.path / "environment.json").write_text("{")
    with pytest.raises(DriftError, match="damaged"):
        project.current(Project(tmp_path / "a"))


def test_reading_a_tar_that_leads_outside_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../x"))
    buffer.seek(0)
    with pytest.raises(IntegrityError):
        image.read_tree(buffer)
