"""Packages that name their own source: found, asked what they are, and refused in a clear sentence.

All locks here are for a target without a distribution, since apt has no part in this.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from packaging.pylock import Pylock

from tests import gits
from tests.integration import index as fake
from tests.integration.test_routes import _Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = pytest.mark.index
HEAD = """\
[project]
name = "test"

[platform]
base = "bootstrap:debian:bookworm"
targets = [{targets}]

[python]
version = "3.11"
"""
PURE = {"setup.py": "", "pkg/__init__.py": "x = 1\n"}


def _spec(project: Dsenv, text: str, targets: str = '"macos-arm64"') -> Dsenv:
    (project.directory / "dsenv.toml").write_text(HEAD.format(targets=targets) + text)
    return project


def _packages(project: Dsenv, name: str = "pylock.toml") -> dict[str, Any]:
    table = tomllib.loads((project.directory / name).read_text())
    Pylock.from_dict(table)
    return {package["name"]: package for package in table["packages"]}


def _sources(project: Dsenv) -> dict[str, Any]:
    lock = tomllib.loads((project.directory / "dsenv.lock").read_text())
    return {row["name"]: row for row in lock["python"]["sources"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[gits.Server]:
    with gits.serve(tmp_path) as found:
        yield found


def test_a_branch_stays_where_it_is_locked(dsenv: Dsenv, server: gits.Server, tmp_path: Path) -> None:
    """Its commit moves with an upgrade alone, and a version counted from tags is known without the history."""
    scm = {
        "py/pyproject.toml": gits.pyproject(
            "pkg",
            "",
            more='dependencies = ["six"]\n[project.optional-dependencies]\na = ["idna"]\n'
            '[tool.setuptools]\npackages = ["pkg"]\n[tool.setuptools_scm]\nroot = ".."\n',
            requires='"setuptools>=64", "setuptools_scm>=8"',
        ),
        "py/pkg/__init__.py": "",
    }
    repository = gits.Repository(tmp_path, "pkg")
    first = repository.commit(scm, tag="v1.2")
    url = f"git+{server.url}/pkg.git"
    _spec(dsenv, f'packages = ["pkg[a] @ {url}@main#subdirectory=py"]\n')("lock")
    assert _packages(dsenv)["pkg"]["vcs"] == {
        "type": "git",
        "url": f"{server.url}/pkg.git",
        "requested-revision": "main",
        "commit-id": first,
        "subdirectory": "py",
    }
    assert "version" not in _packages(dsenv)["pkg"], "PEP 751 has none for a tree of files"
    assert {"idna", "six"} <= _packages(dsenv).keys()
    assert _sources(dsenv)["pkg"]["version"] == "1.2"
    assert {"setuptools", "setuptools-scm"} <= _packages(dsenv, "pylock.build.toml").keys()
    second = repository.commit({"py/pkg/__init__.py": "x = 2\n"})
    before = dsenv.locks()
    asked = len(server.asked)
    dsenv("lock", "--refresh")
    assert dsenv.locks() == before
    assert len(server.asked) == asked, "a pin is not asked for"
    dsenv("lock", "--upgrade-package", "pkg")
    assert _packages(dsenv)["pkg"]["vcs"]["commit-id"] == second
    assert _sources(dsenv)["pkg"]["version"].startswith("1.3.dev1")
    _spec(dsenv, f'packages = [{{ name = "pkg", git = "{server.url}/pkg.git", tag = "v1.2", subdirectory = "py" }}]\n')
    dsenv("lock")
    assert _packages(dsenv)["pkg"]["vcs"]["commit-id"] == first
    assert "idna" not in _packages(dsenv)
    _spec(dsenv, 'packages = ["six"]\n')("lock")
    assert not (dsenv.directory / "pylock.build.toml").exists()


def test_every_kind_of_source(dsenv: Dsenv, server: gits.Server, tmp_path: Path) -> None:
    """A commit, a wheel and an sdist by address, one of each in the project, one that names another one's source."""
    inner = gits.Repository(tmp_path, "inner").commit({**PURE, "pyproject.toml": gits.pyproject("inner", "2.0")})
    more = f'dependencies = ["inner @ git+{server.url}/inner.git@{inner[:9]}", "six<2"]\n'
    gits.Repository(tmp_path, "outer").commit({**PURE, "pyproject.toml": gits.pyproject("outer", more=more)})
    served = tmp_path / "served"
    (served / "plain-1.0-py3-none-any.whl").write_bytes(fake.wheel("plain", "1.0", requires=("idna",)))
    files = {**PURE, "pyproject.toml": gits.pyproject("packed", "3.0")}
    (served / "packed-3.0.tar.gz").write_bytes(gits.sdist(files, "packed-3.0"))
    gits.write(dsenv.directory / "pkgs/own", {**PURE, "pyproject.toml": gits.pyproject("own", "4.0")})
    (dsenv.directory / "pkgs/near-1.0-py3-none-any.whl").write_bytes(fake.wheel("near", "1.0"))
    (dsenv.directory / "pkgs/old-1.0.tar.gz").write_bytes(gits.sdist({"setup.py": OLD}, "old-1.0"))
    text = f"""
packages = [
    "outer @ git+{server.url}/outer.git",
    "plain @ {server.url}/plain-1.0-py3-none-any.whl",
    "packed @ {server.url}/packed-3.0.tar.gz",
    {{ name = "own", path = "pkgs/own", editable = true }},
    {{ name = "near", path = "pkgs/near-1.0-py3-none-any.whl" }},
    {{ name = "old", path = "pkgs/old-1.0.tar.gz", marker = "python_version < '3.13'" }},
    "docopt",
]
build = ["docopt"]
"""
    _spec(dsenv, text, targets='"windows-amd64"')("lock")
    found = _packages(dsenv)
    assert {
        name: sorted(row.keys() & {"vcs", "archive", "directory", "sdist", "wheels"}) for name, row in found.items()
    } == {
        "docopt": ["sdist"],
        "idna": ["wheels"],
        "inner": ["vcs"],
        "near": ["archive"],
        "old": ["archive"],
        "outer": ["vcs"],
        "own": ["directory"],
        "packed": ["archive"],
        "plain": ["archive"],
        "six": ["wheels"],
    }
    assert found["own"]["directory"] == {"path": "pkgs/own", "editable": True}
    assert found["near"]["archive"]["path"] == "pkgs/near-1.0-py3-none-any.whl"
    assert found["inner"]["vcs"]["commit-id"] == inner
    assert found["outer"]["dependencies"] == [{"name": "inner"}, {"name": "six"}]
    assert _sources(dsenv).keys() == {"docopt", "inner", "old", "outer", "own", "packed"}


OLD = "from setuptools import setup\nsetup(name='old', version='1.0', py_modules=[], install_requires=['six'])\n"


def test_secrets_go_nowhere(dsenv: Dsenv, server: gits.Server, tmp_path: Path) -> None:
    """A repository and a file that ask who one is: by variables of the address; and nobody else can read them."""
    dsenv = replace(dsenv, store=tmp_path / "store")  # of which every file is read
    repository = gits.Repository(tmp_path, "pkg")
    repository.commit({**PURE, "pyproject.toml": gits.pyproject("pkg")})
    (tmp_path / "served" / "plain-1.0-py3-none-any.whl").write_bytes(fake.wheel("plain", "1.0"))
    server.login = ("ann", "s3cr3t/@:%")
    template = server.url.replace("://", "://${WHO}:${SECRET}@")
    text = f'packages = ["pkg @ git+{template}/pkg.git", "plain @ {template}/plain-1.0-py3-none-any.whl"]\n'
    completed = _spec(dsenv, text)("lock", code=2)
    assert "the address of pkg has the variable ${WHO}, which is not set" in completed.stderr
    with _Watch() as watch:
        completed = dsenv("lock", "--verbose", WHO="ann", SECRET="s3cr3t/@:%")
    seen = [*watch.lines, completed.stdout, completed.stderr, *(text.decode() for text in dsenv.locks().values())]
    assert any("git" in line and server.url in line for line in watch.lines)
    assert not [line for line in seen if "s3cr3t" in line or "ann:" in line]
    kept = [path for path in dsenv.store.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    assert not kept
    _spec(dsenv, f'packages = ["pkg @ git+{server.url}/pkg.git"]\n')
    (dsenv.directory / "dsenv.lock").unlink()
    (dsenv.directory / "pylock.toml").unlink()
    completed = dsenv("lock", code=1)
    assert f"error: git could not fetch {server.url}/pkg.git" in completed.stderr
    assert "Give git its credentials" in completed.stderr


def _troubles(root: Path, url: str) -> dict[str, tuple[str, str]]:
    """Return what is written, and what is told, by a name: what only an index or an engine knows."""
    wants = gits.pyproject("wants", requires='"setuptools>=64", "docopt"')
    (root / "served" / "wants-1.0.tar.gz").write_bytes(gits.sdist({**PURE, "pyproject.toml": wants}, "wants-1.0"))
    only = "only-1.0-cp311-cp311-win_amd64.whl"
    (root / "served" / only).write_bytes(fake.wheel("only", "1.0"))
    return {
        "no wheel to build with": (f"wants @ {url}/wants-1.0.tar.gz", "what building wants"),
        "no file": (f"none @ {url}/none-1.0.tar.gz", "answered 404"),
        "another target's": (f"only @ {url}/{only}", "only"),
        "an sdist of an index": ("docopt", 'add `build = ["docopt"]` to [python]'),
    }


def test_what_cannot_be_is_told(dsenv: Dsenv, server: gits.Server, tmp_path: Path) -> None:
    for name, (written, told) in _troubles(tmp_path, server.url).items():
        completed = _spec(dsenv, f'packages = ["{written}"]\n')("lock", code=None)
        assert completed.returncode in {1, 2}, name
        assert told in completed.stderr, (name, completed.stderr)
        assert not dsenv.locks(), name


def test_a_part_of_what_is_asked_for_is_taken_from_elsewhere(dsenv: Dsenv, server: gits.Server, tmp_path: Path) -> None:
    """A source replaces a package that others ask for, in its group alone where groups are solved apart."""
    repository = gits.Repository(tmp_path, "six")
    repository.commit({**PURE, "pyproject.toml": gits.pyproject("six", "1.20")}, tag="one")
    repository.commit({**PURE, "pyproject.toml": gits.pyproject("six", "1.30")}, tag="two")
    text = f"""
packages = ["idna"]
conflicts = [["a", "b"]]
[python.groups]
a = ["six @ git+{server.url}/six.git@one"]
b = [{{ name = "six", git = "{server.url}/six.git", tag = "two" }}]
"""
    _spec(dsenv, text)("lock")
    table = tomllib.loads((dsenv.directory / "pylock.toml").read_text())
    rows = [package for package in table["packages"] if package["name"] == "six"]
    assert [row["marker"] for row in rows] == ["'a' in dependency_groups", "'b' in dependency_groups"]
    lock = tomllib.loads((dsenv.directory / "dsenv.lock").read_text())
    assert [(row["version"], row["group"]) for row in lock["python"]["sources"]] == [("1.20", "six"), ("1.30", "six-2")]
    overrides = f'packages = ["python-dateutil<3"]\noverrides = ["six @ git+{server.url}/six.git@two"]\n'
    _spec(dsenv, overrides)("lock")
    assert _packages(dsenv)["six"]["vcs"]["requested-revision"] == "two"
