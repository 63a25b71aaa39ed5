"""Python packages that are built: from an sdist of the index, a commit, C in a directory; and an editable one."""

from __future__ import annotations

import re
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import gits
from tests.integration import index as fake
from tests.integration.conftest import Dsenv

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.apt, pytest.mark.index]
RUN = "import docopt, ed, model, near, needy, own, pkg; print(own.answer(), pkg.x, ed.x, model.version)"
OWN = {
    "pyproject.toml": gits.pyproject("own"),
    "setup.py": "from setuptools import Extension, setup\n"
    "setup(packages=['own'], ext_modules=[Extension('own.fast', ['own/fast.c'])])\n",
    "own/__init__.py": "from own.fast import answer\n",
    "own/fast.c": gits.FAST,
}
ED = {
    "pyproject.toml": gits.pyproject("ed", more='scripts = { edrun = "ed:main" }\n'),
    "src/ed/__init__.py": "x = 7\ndef main():\n    print('editable', x)\n",
}

NEEDY = {  # asked on this machine it stops, as psycopg2 does without pg_config; its sdist says what it needs
    "PKG-INFO": "Metadata-Version: 2.1\nName: needy\nVersion: 1.0\n",
    "needy.egg-info/requires.txt": "idna\n",
    "setup.py": "import os, sys\nfrom setuptools import setup\n"
    "if not os.path.exists('/build/in'): sys.exit('Error: pg_config executable not found.')\n"
    "setup(name='needy', version='1.0', py_modules=['needy'], install_requires=['idna'])\n",
    "needy.py": "import idna\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gits.Server]:
    root = tmp_path_factory.mktemp("server")
    files = {"pkg/__init__.py": "x = 1\n", "pyproject.toml": gits.pyproject("pkg", more='dependencies = ["idna"]\n')}
    gits.Repository(root, "pkg").commit(files, tag="v1")
    (root / "served" / "model-2.0-py3-none-any.whl").write_bytes(fake.wheel("model", "2.0"))
    (root / "served" / "needy-1.0.tar.gz").write_bytes(gits.sdist(NEEDY, "needy-1.0"))
    with gits.serve(root) as found:
        yield found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, store: Path, server: gits.Server) -> Dsenv:
    """Return a project with every kind of source, locked and restored."""
    project = Dsenv(tmp_path_factory.mktemp("builds"), store)
    gits.write(project.directory / "pkgs" / "own", OWN)
    gits.write(project.directory / "pkgs" / "ed", ED)
    (project.directory / "pkgs" / "near-1.0-py3-none-any.whl").write_bytes(fake.wheel("near", "1.0"))
    project.spec(f"""
[python]
version = "3.11"
packages = [
    "docopt",
    "pkg @ git+{server.url}/pkg.git@v1",
    "model @ {server.url}/model-2.0-py3-none-any.whl",
    "needy @ {server.url}/needy-1.0.tar.gz",
    {{ name = "near", path = "pkgs/near-1.0-py3-none-any.whl" }},
    {{ name = "own", path = "pkgs/own" }},
    {{ name = "ed", path = "pkgs/ed", editable = true }},
]
build = ["docopt"]
""")
    project("lock")
    project("restore")
    return project


@pytest.fixture
def project(whole: Dsenv, tmp_path: Path) -> Dsenv:
    """Return the same project elsewhere, locked and not restored."""
    return whole.copy(tmp_path / "project")


def _sources(project: Dsenv) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in tomllib.loads(project.locks()["dsenv.lock"].decode())["python"]["sources"]}


def test_what_is_built_is_proven(whole: Dsenv) -> None:
    assert whole("run", "--", "python", "-c", RUN).stdout == "42 1 7 2.0\n"
    assert whole("run", "--", "edrun").stdout == "editable 7\n"
    assert whole.json("verify")["differences"] == []
    rows = _sources(whole)
    assert {name: [wheel["name"] for wheel in row.get("wheels", [])] for name, row in rows.items()} == {
        "docopt": ["docopt-0.6.2-py2.py3-none-any.whl"],
        "ed": [],
        "needy": ["needy-1.0-py3-none-any.whl"],
        "own": ["own-1.0-cp311-cp311-linux_x86_64.whl"],
        "pkg": ["pkg-1.0-py3-none-any.whl"],
    }
    assert (rows["own"]["languages"], "languages" in rows["docopt"]) == (["c"], False)
    packages = tomllib.loads(whole.locks()["dsenv.lock"].decode())["system"]["linux-amd64"]["packages"]
    assert next(row["why"] for row in packages if row["name"] == "gcc") == ["py:own"]
    assert not (whole.current / "root" / "usr" / "bin" / "gcc").exists()
    own = next(whole.current.glob("venv/lib/python3.11/site-packages/own/fast.*.so")).read_bytes()
    assert b"/build/" not in own
    assert b"own/fast.c" in own, "an assertion tells its file, without where that lay"


def test_another_user_elsewhere_builds_the_same(project: Dsenv, store: Path, server: gits.Server) -> None:
    """In a store that has built nothing and has not the commit's files; then locked anew without any pin."""
    tree = str(_sources(project)["pkg"]["tree"])
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        lonely = Path(directory) / "a store"
        shutil.copytree(
            store / "artifacts", lonely / "artifacts", copy_function=_link, ignore=shutil.ignore_patterns(tree)
        )
        for name in ("trees", "workshops"):
            (lonely / name).symlink_to(store / name)
        other = Dsenv(project.directory, lonely)
        completed = other("restore", "--offline", code=1)
        assert "pkg-" in completed.stderr
        asked = len(server.asked)
        completed = other(
            "restore", wrapper=("sh", "-c", 'umask 077; exec "$@"', "sh"), TZ="Asia/Tokyo", HOME=directory
        )
        assert any("pkg.git" in path for path in server.asked[asked:])
        assert "yet not the same files" not in completed.stderr
        assert other("run", "--", "python", "-c", RUN).stdout == "42 1 7 2.0\n"
        assert other.json("verify")["differences"] == []
        before = {name: (other.directory / name).read_bytes() for name in (*other.locks(), "pylock.build.toml")}
        for name in before:
            (other.directory / name).unlink()
        other("lock", TZ="Asia/Tokyo", LC_ALL="C", HOME=directory)
        assert {name: (other.directory / name).read_bytes() for name in before} == before


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def test_an_editable_source_is_seen_at_once_and_another_has_to_be_locked(project: Dsenv) -> None:
    project("restore")
    docopt = _sources(project)["docopt"]["wheels"]
    gits.write(project.directory, {"pkgs/ed/src/ed/__init__.py": "x = 8\ndef main():\n    print('changed', x)\n"})
    assert project.json("status")["lock"] == "fresh"
    assert project("run", "--", "edrun").stdout == "changed 8\n"
    assert project.json("verify")["differences"] == []
    pth = next(project.current.glob("venv/lib/python3.11/site-packages/*editable*.pth"))
    pth.write_text("/somewhere/else\n")
    differences = project.json("verify", code=4)["differences"]
    assert [row["path"].rpartition("/")[2] for row in differences] == [pth.name]
    broken = gits.FAST.replace("<assert.h>", "<libpq-fe.h>")
    gits.write(project.directory, {"pkgs/own/own/fast.c": broken})
    assert "pkgs/own changed since it was locked" in project("restore", code=3).stderr
    status = project.json("status", code=3)
    assert (status["lock"], status["differences"]) == ("stale", ["[python.local] pkgs/own changed since it was locked"])
    completed = project("lock")
    assert "own 1.0 could not be built" in completed.stderr
    assert _sources(project).keys() >= {"docopt", "own"}
    assert (_sources(project)["docopt"].get("wheels"), _sources(project)["own"].get("wheels")) == (docopt, None)
    completed = project("restore", code=1)
    assert "own 1.0: " in completed.stderr
    assert "libpq-fe.h" in completed.stderr
    assert "libpq-dev" in completed.stderr


def test_pip_tools_takes_the_same_sources(project: Dsenv) -> None:
    """The same pins in the same words; only that its answer is for one place."""
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("there is no /usr/bin/python3.11 on this machine")
    before = (project.directory / "pylock.toml").read_text()
    build = (project.directory / "pylock.build.toml").read_text()
    path = project.directory / "dsenv.toml"
    path.write_text(path.read_text().replace('version = "3.11"\n', 'version = "3.11"\nresolver = "pip-tools"\n'))
    (project.directory / "pylock.toml").unlink()
    (project.directory / "pylock.build.toml").unlink()
    project("lock")
    assert _plain((project.directory / "pylock.toml").read_text()) == _plain(before)
    assert _plain((project.directory / "pylock.build.toml").read_text()) == _plain(build)


def _plain(text: str) -> str:
    text = text.partition("[tool.dsenv")[0]
    text = re.sub(r"(?m)^requires-python = .*\n", "", text)
    return re.sub(r"(?m)^dependencies = \[\n(?:    .*\n)*\]\n", "", text)
