"""Sources that requirements name: how they are written, fetched, asked what they are, and what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from dsenv import spec
from dsenv.ecosystem import Platform, Request, Upgrade
from dsenv.ecosystems.python import spec as python_spec
from dsenv.ecosystems.python.building import backend, hooks
from dsenv.ecosystems.python.building.inspect import Inspector
from dsenv.ecosystems.python.engines.interface import Answer, Question
from dsenv.ecosystems.python.markers import Space
from dsenv.ecosystems.python.origins import fetch, local, metadata, reference
from dsenv.ecosystems.python.origins.gather import Gathered
from dsenv.errors import DownloadError, DsenvError, IntegrityError, ResolutionError, StaleLockError, WrongUseError
from dsenv.network import Network
from dsenv.pins import Artifact, Target
from dsenv.progress import Silent
from dsenv.store import Store
from dsenv.tools import archive, git
from dsenv.tools.archive import Member
from tests import gits

if TYPE_CHECKING:
    from pathlib import Path

MAC = Target("macos", "arm64")
BACKEND = """
import os, zipfile

def _write(directory, name, version):
    info = f"{name}-{version}.dist-info"
    text = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\nRequires-Dist: six\\n"
    os.makedirs(os.path.join(directory, info), exist_ok=True)
    with open(os.path.join(directory, info, "METADATA"), "w") as file:
        file.write(text)
    return info

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    return _write(directory, "own", "1.5")
"""
OWN = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own_backend"\nbackend-path = ["."]\n',
    "own_backend.py": BACKEND,
    "own/__init__.py": "",
}


# What a person writes


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("pandas>=2", None),
        (
            "a[x] @ git+https://host/a.git@v1.2#subdirectory=py",
            {"kind": "git", "place": "https://host/a.git", "revision": "v1.2", "subdirectory": "py"},
        ),
        (
            "a @ git+ssh://git@host/ann/a@feature/x",
            {"kind": "git", "place": "ssh://git@host/ann/a", "revision": "feature/x"},
        ),
        ("a @ git+https://${U}:${P}@host/a", {"kind": "git", "place": "https://${U}:${P}@host/a"}),
        ("a @ git+https://host/a#egg=a", {"kind": "git", "place": "https://host/a"}),
        ("a @ https://host/a-1.0.tar.gz", {"kind": "url", "place": "https://host/a-1.0.tar.gz"}),
        (
            f"a @ https://host/a-1-py3-none-any.whl#sha256={'0' * 64}",
            {"kind": "url", "place": "https://host/a-1-py3-none-any.whl", "sha256": "0" * 64},
        ),
        ("a @ ./pkgs/a#editable=true", {"kind": "path", "place": "pkgs/a", "editable": True}),
        ("a @ pkgs/b%20c/a.whl", {"kind": "path", "place": "pkgs/b c/a.whl"}),
        ("a @ .", {"kind": "path", "place": "."}),
    ],
)
def test_a_source_is_read(written: str, found: dict[str, Any] | None) -> None:
    expected = found and reference.Reference(name="a", **found)
    assert reference.read(written) == expected


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"git": "https://host/a", "tag": "v1"}, "a @ git+https://host/a@refs/tags/v1"),
        ({"git": "https://host/a", "branch": "x/y"}, "a @ git+https://host/a@refs/heads/x/y"),
        ({"git": "https://host/a", "rev": "0f1e"}, "a @ git+https://host/a@0f1e"),
        ({"git": "ssh://git@host/a", "subdirectory": "py"}, "a @ git+ssh://git@host/a#subdirectory=py"),
        ({"url": "https://host/a-1.zip"}, "a @ https://host/a-1.zip"),
        ({"path": "pkgs/b c", "editable": True}, "a @ ./pkgs/b%20c#editable=true"),
        ({"path": "a", "extras": ("x", "y"), "marker": "os_name == 'nt'"}, "a[x,y] @ ./a ; os_name == 'nt'"),
    ],
)
def test_a_table_says_the_same(table: dict[str, Any], text: str) -> None:
    written = reference.Table(name="a", **table).text()
    assert written == text
    assert reference.read(written)


@pytest.mark.parametrize("name", ["a @ https://evil.example/a.whl ;", "a[x", "a b", "a>=1", ""])
def test_a_tables_name_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        reference.Table(name=name, path="a").text()


def test_nobody_is_written_down() -> None:
    assert reference.public("A @ git+https://${U}:${P}@host/a@v1") == "A @ git+https://host/a@v1"
    assert reference.public("a @ git+ssh://git@host/a") == "a @ git+ssh://git@host/a"
    assert reference.public("a  >= 1") == "a>=1"


# What lies in the project


def test_of_an_editable_source_only_what_decides_counts(tmp_path: Path) -> None:
    text = '[project]\nname = "own"\nversion = "1"\ndescription = "x"\ndependencies = ["six"]\n'
    directory = gits.write(tmp_path / "own", {"pyproject.toml": text, "own.py": "x = 1\n", "needs.txt": "six\n"})
    editable = reference.all_of(["own @ ./own#editable=true"])
    plain = reference.all_of(["own @ ./own"])

    def states() -> tuple[str, str]:
        return local.states(editable, tmp_path)["own"], local.states(plain, tmp_path)["own"]

    before = states()
    gits.write(directory, {"own.py": "x = 2\n"})
    assert (states()[0] == before[0], states()[1] == before[1]) == (True, False)
    before = states()
    gits.write(directory, {"own/__pycache__/x.pyc": "", "build/x": "", ".git/x": "", "own.egg-info/x": ""})
    assert states() == before, "what tools leave behind is no part of a source"
    gits.write(directory, {"pyproject.toml": text.replace('"x"', '"y"') + "[tool.ruff]\n"})
    assert states()[0] == before[0]
    dynamic = '[tool.setuptools.dynamic]\ndependencies = { file = ["needs.txt"] }\n'
    for files in (
        {"pyproject.toml": text.replace("six", "idna")},
        {"setup.py": ""},
        {"pyproject.toml": text + dynamic},
    ):
        before = states()
        gits.write(directory, files)
        assert states()[0] != before[0]
    before = states()
    gits.write(directory, {"needs.txt": "idna\n"})
    assert states()[0] != before[0]


def test_a_changed_source_makes_the_lock_stale(tmp_path: Path) -> None:
    gits.write(tmp_path / "own", {"own.py": ""})
    head = '[project]\nname = "x"\n[platform]\nbase = "bootstrap:debian:bookworm"\ntargets = ["linux-amd64"]\n'
    python = '[python]\nversion = "3.11"\npackages = [{ name = "own", path = "own" }]\n'
    (tmp_path / "dsenv.toml").write_text(head + python)

    def inputs() -> Any:
        found = spec.load(tmp_path / "dsenv.toml")
        return python_spec.inputs(found.parts["python"], found.platform)

    before = inputs()
    assert before["packages"] == ["own @ ./own"]
    assert before["local"] == {"own": archive.state(tmp_path / "own")}
    gits.write(tmp_path / "own", {"own.py": "x = 1\n"})
    assert before != inputs()
    (tmp_path / "own" / "own.py").unlink()
    (tmp_path / "own").rmdir()
    with pytest.raises(WrongUseError, match="there is no own, which own is to come from"):
        inputs()
    (tmp_path / "own").symlink_to("/tmp")
    with pytest.raises(WrongUseError, match="leads out of the project"):
        inputs()


# Archives


def test_the_same_tree_is_the_same_tar(tmp_path: Path) -> None:
    """Whoever made it, whenever and in whatever order; known since the first dsenv that wrote one."""
    members = [
        Member(path="b/é" + "x" * 200, kind="program", content=b"#!/bin/sh\n"),
        Member(path="a", kind="file", content=b"x" * 513),
        Member(path="b/link", kind="link", content=b"../a"),
    ]
    packed = b"".join(archive.pack(members))
    assert packed == b"".join(archive.pack(reversed(members)))
    assert hashlib.sha256(packed).hexdigest() == "98385657131e5978151abae7519283493e4bf02f324e2aa6e863f353d650ad3b"
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert [(member.name[:3], member.mode, member.mtime) for member in tar] == [
            ("a", 0o644, 0),
            ("b/l", 0o777, 0),
            ("b/é", 0o755, 0),
        ]
    for name, member in (("a", "a"), ("b", "b/é" + "x" * 200)):
        path = tmp_path / "tree" / member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 513 if name == "a" else b"#!/bin/sh\n")
        path.chmod(0o600 if name == "a" else 0o700)
    (tmp_path / "tree" / "b" / "link").symlink_to("../a")
    assert archive.state(tmp_path / "tree") == hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x", "../../x"])
def test_a_link_out_of_a_source_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(IntegrityError, match="leads outside"):
        list(archive.pack([Member(path="link", kind="link", content=target.encode())]))
    tar = tmp_path / "x.tar"
    with tarfile.open(tar, "w") as file:
        info = tarfile.TarInfo("x-1/link")
        info.type, info.linkname = tarfile.SYMTYPE, target
        file.addfile(info)
    with pytest.raises(hooks.UnsafeError, match="leads outside"):
        hooks.unpack(tar, tmp_path / "out", "sdist")


def _tar(path: Path, *members: tuple[str, bytes | str]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size, info.mode = len(content), 0o777
            file.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


@pytest.mark.parametrize(
    "members",
    [
        [("x-1/../../evil", b"")],
        [("/evil", b"")],
        [("x-1/sub", "."), ("x-1/sub/evil", b"")],
        [("x-1/a/b", "../c"), ("x-1/a/b/d", b"")],
    ],
)
def test_what_leads_out_of_an_sdist_is_refused(tmp_path: Path, members: list[tuple[str, bytes | str]]) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(hooks.UnsafeError, match="leads"):
        hooks.unpack(_tar(tmp_path / "x.tar.gz", *members), tmp_path / "in" / "out", "sdist")
    assert not list(tmp_path.rglob("evil"))


def test_an_sdist_is_unpacked(tmp_path: Path) -> None:
    tar = _tar(tmp_path / "x.tar.gz", ("x-1/a/run", b"1"), ("x-1/b", "a/run"), ("PaxHeader", b""))
    hooks.unpack(tar, tmp_path / "sdist", "sdist")
    assert (tmp_path / "sdist" / "b").read_bytes() == b"1"
    assert stat.S_IMODE((tmp_path / "sdist" / "a" / "run").stat().st_mode) == 0o755
    hooks.unpack(tar, tmp_path / "tree", "tree")
    assert (tmp_path / "tree" / "x-1" / "a" / "run").exists()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("x-1/d/", "")
        file.writestr("x-1/d/e", "2")
    hooks.unpack(tmp_path / "x.zip", tmp_path / "zip", "sdist")
    assert (tmp_path / "zip" / "d" / "e").read_bytes() == b"2"


# git


def test_a_commit_is_its_files(tmp_path: Path) -> None:
    """As they were committed, whatever git is set up to make of them on this machine."""
    repository = gits.Repository(tmp_path, "one")
    repository.commit({"a.txt": "x\r\ny\n", ".gitattributes": "* text=auto eol=crlf export-subst\n"}, tag="v1")
    (repository.work / "run").write_text("x")
    (repository.work / "run").chmod(0o755)
    (repository.work / "link").symlink_to("a.txt")
    commit = repository.commit({"sub/b": "$Format:%H$"}, tag="v2", branch="")
    found = git.Repository(tmp_path / "bare", f"file://{tmp_path}/served/one.git", Network())
    found.fetch()
    assert found.commit("") == found.commit("main") == found.commit("v2") == found.commit(commit[:8]) == commit
    assert found.commit("refs/tags/v1") != commit
    assert found.commit("v3") is None
    assert found.commit("--all") is None
    members = {member.path: (member.kind, member.content) for member in found.members(commit)}
    assert members["run"] == ("program", b"x")
    assert members["link"] == ("link", b"a.txt")
    assert members["sub/b"] == ("file", b"$Format:%H$")
    packed = b"".join(
        git.pieces(git.address(f"file://{tmp_path}/served/one.git", commit), tmp_path / "aside", Network())
    )
    assert packed == b"".join(archive.pack(found.members(commit)))
    assert not (tmp_path / "aside").exists()


def test_submodules_are_refused(tmp_path: Path) -> None:
    inner = gits.Repository(tmp_path, "inner")
    inner.commit({"x": ""})
    outer = gits.Repository(tmp_path, "outer")
    outer._git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(inner.work), "vendor")
    commit = outer.commit({})
    found = git.Repository(tmp_path / "bare", f"file://{tmp_path}/served/outer.git", Network())
    found.fetch_commit(commit)
    with pytest.raises(DsenvError, match="has a submodule at vendor"):
        list(found.members(commit))


def test_a_commits_files_are_an_artifact(tmp_path: Path) -> None:
    """The store fetches them by what the lock says, and takes no others."""
    repository = gits.Repository(tmp_path, "one")
    first = repository.commit({"a": "1"})
    url = git.address(f"file://{tmp_path}/served/one.git", first)
    second = repository.commit({"a": "2"})
    tree = archive.pack([Member(path="a", kind="file", content=b"1")])
    artifact = Artifact(filename="one.tar", sha256=hashlib.sha256(b"".join(tree)).hexdigest(), urls=(url,))
    store = Store(tmp_path / "store")
    store.fetch([artifact])
    assert store.read_checked(artifact) == store.path(artifact)
    other = Artifact(filename="one.tar", sha256="0" * 64, urls=(url,))
    with pytest.raises(IntegrityError, match=r"one\.tar is not the file that the lock names") as caught:
        store.fetch([other])
    assert "has other files than the lock says" in caught.value.cause
    gone = Artifact(filename="one.tar", sha256="0" * 64, urls=(url.replace(first, "0" * 40),))
    with pytest.raises(DownloadError, match=r"one\.tar could not be downloaded"):
        store.fetch([gone])
    with pytest.raises(DownloadError, match="--offline"):
        Store(tmp_path / "empty", offline=True).fetch([artifact])
    del second


def test_what_lies_in_the_project_is_taken_from_there(tmp_path: Path) -> None:
    gits.write(tmp_path / "project", {"own/a": "1", "b.whl": "2"})
    artifacts = [
        Artifact(filename="own.tar", sha256=archive.state(tmp_path / "project" / "own"), urls=("own",)),
        Artifact(filename="b.whl", sha256=archive.state(tmp_path / "project" / "b.whl"), urls=("b.whl",)),
    ]
    store = Store(tmp_path / "store", offline=True, network=lambda: Network(directory=tmp_path / "project"))
    store.fetch(artifacts)
    assert not store.missing(artifacts)
    gits.write(tmp_path / "project", {"own/a": "2"})
    changed = Store(tmp_path / "other", network=lambda: store.network)
    with pytest.raises(StaleLockError, match="own changed since it was locked") as caught:
        changed.fetch(artifacts)
    assert caught.value.hint == "Run `dsenv lock`."
    (tmp_path / "project" / "out").symlink_to(tmp_path)
    stray = Artifact(filename="x", sha256="0" * 64, urls=("out",))
    with pytest.raises(DownloadError, match="x could not be downloaded") as lost:
        changed.fetch([stray])
    assert "out leads out of the project" in lost.value.cause
    (tmp_path / "project" / "b.whl").unlink()
    with pytest.raises(StaleLockError, match=r"there is no b\.whl any more"):
        Store(tmp_path / "third", network=lambda: store.network).fetch(artifacts[1:])


# What a source says of itself

STATIC = """
[project]
name = "Own_Pkg"
version = "1.0"
requires-python = ">=3.9"
dependencies = ["six ; python_version < '4'", "idna"]
[project.optional-dependencies]
plot = ["matplotlib>=3 ; os_name == 'posix' or os_name == 'nt'"]
"""


def test_static_metadata_is_read_and_stood_for(tmp_path: Path) -> None:
    gits.write(tmp_path / "own", {"pyproject.toml": STATIC})
    found = metadata.static(tmp_path / "own", "own")
    assert found == metadata.Metadata(
        name="own-pkg",
        version="1.0",
        requires_python=">=3.9",
        requires=(
            'six; python_version < "4"',
            "idna",
            'matplotlib>=3; (os_name == "posix" or os_name == "nt") and extra == "plot"',
        ),
        extras=("plot",),
    )
    stub = metadata.write_stub(tmp_path / "stub", found)
    assert stub.name == "own_pkg-1.0-py3-none-any.whl"
    assert metadata.of_wheel(stub, stub.name) == found
    wheel = metadata.write_stub(tmp_path / "wheel", found, "own_pkg-1.0-1-cp311-cp311-win_amd64.whl")
    assert wheel.name == "own_pkg-1.0-1-cp311-cp311-win_amd64.whl"


@pytest.mark.parametrize(
    ("files", "is_static"),
    [
        ({"PKG-INFO": "Metadata-Version: 2.2\nName: own\nVersion: 1\n"}, True),
        ({"PKG-INFO": "Metadata-Version: 2.1\nName: own\nVersion: 1\n"}, False),
        ({"PKG-INFO": "Metadata-Version: 2.4\nName: own\nVersion: 1\nDynamic: Requires-Dist\n"}, False),
        ({"PKG-INFO": "Metadata-Version: 2.4\nName: own\nVersion: 1\nDynamic: License\n"}, True),
        ({"pyproject.toml": '[project]\nname = "own"\ndynamic = ["version"]\n'}, False),
        ({"pyproject.toml": '[project]\nname = "own"\nversion = "1"\ndynamic = ["dependencies"]\n'}, False),
        ({"setup.py": ""}, False),
    ],
)
def test_only_what_building_cannot_change_is_static(tmp_path: Path, files: dict[str, str], is_static: bool) -> None:  # noqa: FBT001
    gits.write(tmp_path, files)
    assert (metadata.static(tmp_path, "own") is not None) == is_static


@pytest.mark.parametrize(
    "text", ["", "Name: a b\nVersion: 1\n", "Name: a\nVersion: x y\n", "Name: a\nVersion: 1\nRequires-Dist: ==\n"]
)
def test_metadata_that_lies_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="own has metadata that cannot be read"):
        metadata.parse(text, "own")


REQUIRES = """\
numpy>=1.20

[:python_version < "3.8"]
typing-extensions

[Fast]
numba

[fast:sys_platform == "linux"]
uvloop>=0.17
"""


def test_what_an_sdist_was_said_to_be_is_found(tmp_path: Path) -> None:
    info = "Metadata-Version: 2.1\nName: own\nVersion: 1\n"
    assert metadata.written(tmp_path, "own") is None
    gits.write(tmp_path, {"PKG-INFO": info})
    assert metadata.written(tmp_path, "own") == metadata.Metadata(name="own", version="1")
    gits.write(tmp_path, {"src/own.egg-info/requires.txt": REQUIRES})
    assert metadata.written(tmp_path, "own") == metadata.Metadata(
        name="own",
        version="1",
        requires=(
            "numpy>=1.20",
            'typing-extensions; python_version < "3.8"',
            'numba; extra == "fast"',
            'uvloop>=0.17; sys_platform == "linux" and extra == "fast"',
        ),
        extras=("fast",),
    )
    gits.write(tmp_path, {"PKG-INFO": info + "Requires-Dist: idna\n"})
    said = metadata.written(tmp_path, "own")
    assert said
    assert said.requires == ("idna",)


@given(st.text(alphabet=st.sampled_from("ab[]:;<>=. \n\r\x00'\""), max_size=60))
def test_any_requires_txt_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(IntegrityError):
        metadata.parse_requires_txt(text, "own")


def test_a_build_system_is_read(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    assert backend.read(tmp_path, "own") == backend.BuildSystem()
    text = '[build-system]\nrequires = ["b >= 1", "a"]\nbuild-backend = "x:y"\nbackend-path = ["src"]\n'
    gits.write(tmp_path, {"pyproject.toml": text})
    assert backend.read(tmp_path, "own") == backend.BuildSystem(requires=("a", "b>=1"), backend="x:y", path=("src",))
    for wrong, told in (
        ('requires = ["a @ https://host/a.whl"]', "by an address"),
        ('requires = ["="]', "cannot be read"),
        ("requires = 1", "cannot be read"),
        ('requires = []\nbackend-path = ["../x"]', "leads out of it"),
    ):
        gits.write(tmp_path, {"pyproject.toml": f"[build-system]\n{wrong}\n"})
        with pytest.raises(IntegrityError, match=told):
            backend.read(tmp_path, "own")


def test_compilers_are_needed_where_something_is_compiled(tmp_path: Path) -> None:
    gits.write(tmp_path, {"a.py": "", "README.C": ""})
    assert backend.languages(tmp_path) == ("c",), "as it may be on a machine that knows no case"
    (tmp_path / "README.C").unlink()
    assert backend.languages(tmp_path) == ()
    gits.write(tmp_path, {"src/a.pyx": "", "src/b.cpp": "", "src/c.f90": "", "src/d.rs": ""})
    assert backend.languages(tmp_path) == ("c", "c++", "fortran", "rust")


# All together, with a source that brings its own backend and requires nothing


def test_an_editable_source_is_asked_in_place_and_anew(tmp_path: Path) -> None:
    """Beside it may lie all the project's data: no copy is made, and nothing is remembered that may have changed."""
    gits.write(tmp_path / "own", OWN)

    def version() -> str:
        gathered = _gathered(tmp_path)
        (text,) = gathered.redirect(["own @ ./own#editable=true"])
        origin = gathered.of(Requirement(text).url or "")
        assert origin
        return origin.metadata.version

    assert version() == "1.5"
    assert not (tmp_path / "store" / "artifacts").exists()
    gits.write(tmp_path / "own", {"own_backend.py": BACKEND.replace("1.5", "1.6")})
    assert version() == "1.6"


def _request(tmp_path: Path, *, previous: Any = ()) -> Request:
    return Request(
        spec=None,
        platform=Platform(base="", targets=(MAC,), locale="C", timezone="UTC"),
        previous=previous,
        upgrade=Upgrade(),
        offers={},
        needs=(),
        provided=dict,
        store=Store(tmp_path / "store", network=lambda: Network(directory=tmp_path)),
        progress=Silent(),
    )


def _gathered(tmp_path: Path) -> Gathered:
    request = _request(tmp_path)

    def answer(question: Question) -> Answer:
        raise ResolutionError(f"no {', '.join(question.requirements)}")

    question = Question(space=Space((MAC,), "3.11.0"), requirements=())
    return Gathered(request, Inspector(request, question, answer), tmp_path / "stubs" / secrets.token_hex(4))


def test_a_source_is_asked_and_stood_for(tmp_path: Path) -> None:
    gits.write(tmp_path / "own", OWN)
    gathered = _gathered(tmp_path)
    texts = gathered.redirect(["own[x] @ ./own ; os_name == 'nt'", "six"])
    asked = Requirement(texts[0])
    assert (asked.name, asked.extras, str(asked.marker), texts[1]) == ("own", {"x"}, 'os_name == "nt"', "six")
    origin = gathered.of(asked.url or "")
    assert origin
    assert origin.inspected
    assert (origin.metadata.version, origin.metadata.requires) == ("1.5", ("six",))
    assert origin.inspected.system.backend == "own_backend"
    assert origin.inspected.system.path == (".",)
    kept = list((tmp_path / "store" / "caches" / "backends").iterdir())
    assert sorted(str(type(json.loads(path.read_text())).__name__) for path in kept) == ["list", "str"]
    gits.write(tmp_path / "own", {"own_backend.py": "raise SystemExit('asked again')"})
    with pytest.raises(ResolutionError, match="does not tell what building it takes") as caught:
        _gathered(tmp_path).redirect(["own @ ./own"])
    assert "asked again" in caught.value.cause
    gits.write(tmp_path / "own", OWN)
    _gathered(tmp_path).redirect(["own @ ./own"])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("other @ ./own", "asks for other, and what own has calls itself own"),
        ("own @ ./own#subdirectory=x", "has no directory x"),
        ("x @ ./none.whl", "there is no none.whl, which x is to come from"),
        ("x @ ./bad-1-py3-none-any.whl", "not a readable wheel"),
        ("x @ ./bad-1.tar.gz", "cannot be unpacked"),
        ("empty @ ./empty", "is no Python package"),
        ("wants @ ./wants", "what building wants"),
        ("chain @ ./chain", "which no other machine has"),
        ("own @ git+file://{root}/served/one.git@v9", "has no tag, branch or commit v9"),
        ("own @ git+file://{root}/served/none.git", "git could not fetch"),
    ],
)
def test_what_is_wrong_with_a_source_is_told(tmp_path: Path, written: str, told: str) -> None:
    gits.write(tmp_path / "own", OWN)
    gits.write(tmp_path / "empty", {"README": ""})
    gits.write(tmp_path / "wants", {"pyproject.toml": gits.pyproject("wants", requires='"docopt"')})
    chained = OWN | {"own_backend.py": BACKEND.replace('"own"', '"chain"').replace("six", "own @ ./own")}
    gits.write(tmp_path / "chain", chained)
    (tmp_path / "bad-1-py3-none-any.whl").write_bytes(b"x")
    (tmp_path / "bad-1.tar.gz").write_bytes(b"x")
    gits.Repository(tmp_path, "one").commit({"x": ""})
    with pytest.raises(DsenvError) as caught:
        _gathered(tmp_path).redirect([written.replace("{root}", str(tmp_path))])
    assert told in caught.value.sentence


def test_a_repository_is_fetched_once(tmp_path: Path) -> None:
    commit = gits.Repository(tmp_path, "one").commit(OWN, tag="v1")
    request = _request(tmp_path)
    (named,) = reference.all_of([f"own @ git+file://{tmp_path}/served/one.git@v1"])
    located = fetch.locate(named, request)
    assert (located.commit, located.form) == (commit, "tree")
    assert located.artifact.urls == (f"git+file://{tmp_path}/served/one.git@{commit}",)
    assert request.store.read_checked(located.artifact).is_file()
    fetch.checkout(located, tmp_path / "checkout", request.store)
    assert (tmp_path / "checkout" / ".git").is_dir()
    assert (tmp_path / "checkout" / "own_backend.py").is_file()
