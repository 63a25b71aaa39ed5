"""A Python that the distribution does not have: a build, made of one of this machine's and served on loopback."""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.ecosystems.python import uv
from dsenv.errors import ToolError
from dsenv.tools import engine as engines
from tests.integration import pythons
from tests.integration.conftest import Dsenv
from tests.integration.index import Index, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.apt, pytest.mark.index]
DATE = "20240107"
DEAD = "http://127.0.0.1:9/files"
FACTS = "import sys, json, six; print(json.dumps([sys.version.split()[0], sys.base_prefix, sys.prefix]))"


@dataclass(frozen=True)
class Build:
    """What is served, and as what."""

    version: str
    content: bytes
    index: Index
    lists: Path  # where lists of builds may be written

    @property
    def minor(self) -> str:
        """The version without its patch."""
        return self.version.rpartition(".")[0]

    @property
    def files(self) -> str:
        """The address below which it is served, by its day and name."""
        return self.index.url.replace("/simple", "/files")

    def serve(self, content: bytes) -> str:
        """Serve an archive; return the end of its address."""
        name = f"cpython-{self.version}%2B{DATE}-{hashlib.sha256(content).hexdigest()[:8]}.tar.gz"
        self.index.files.setdefault(DATE, {})[name] = content
        return f"{DATE}/{name}"

    def listed(self, *, sha256: str | None, os: str = "linux") -> dict[str, str]:
        """Return the setting of uv's that names a list of the build alone."""
        path = self.lists / f"{os}.json"
        url = f"{self.files}/{self.serve(self.content)}"
        path.write_text(pythons.listing(self.version, url, sha256, build=DATE, os=os))
        return {"UV_PYTHON_DOWNLOADS_JSON_URL": path.as_uri()}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Return a build of a Python that bookworm does not have: of 3.12, or of another 3.11 than its own."""
    own = Path(sys.base_prefix)
    home = next(iter(sorted(own.parent.glob("3.12.*"))), own)  # where pyenv puts them
    minor = ".".join(home.name.split(".")[:2]) if home != own else f"3.{sys.version_info.minor}"
    content = pythons.archive(home, minor)
    with serve() as index:
        version = uv.python_version(str(home / "bin" / f"python{minor}"))
        yield Build(version, content, index, tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def _locked(build: Build, tmp_path_factory: pytest.TempPathFactory, store: Path) -> Dsenv:
    env = build.listed(sha256=hashlib.sha256(build.content).hexdigest())
    project = Dsenv(tmp_path_factory.mktemp("built"), store, env)
    # The same packages as in the project of the other tests, so that both have one system layer.
    asked = f'[python]\nversion = "{build.version}"\npackages = ["six"]\n[system]\npackages = ["jq", "python3.11"]\n'
    project.spec(asked, name="built")("lock")
    return project


@pytest.fixture
def built(_locked: Dsenv, tmp_path: Path) -> Dsenv:
    """Return a project on the build, locked."""
    return _locked.copy(tmp_path / "built")


def _interpreter(project: Dsenv) -> dict[str, Any]:
    row: dict[str, Any] = tomllib.loads(project.locks()["dsenv.lock"].decode())["python"]["interpreters"][0]
    return row


def _names(project: Dsenv, content: bytes, url: str) -> None:
    """Make a project's lock name another archive."""
    path = project.directory / "dsenv.lock"
    row = _interpreter(project)["build"]
    text = path.read_text().replace(row["sha256"], hashlib.sha256(content).hexdigest())
    path.write_text(text.replace(row["url"], url))


def test_a_build_is_locked_restored_run_and_proved(built: Dsenv, build: Build) -> None:
    row = _interpreter(built)
    assert row["version"] == build.version
    assert "package" not in row
    assert row["build"]["sha256"] == hashlib.sha256(build.content).hexdigest()
    assert row["build"]["date"] == DATE
    assert f">={build.version}" in built.locks()["pylock.toml"].decode()
    answer = built.json("restore")
    assert (answer["mode"], answer["differs"]) == ("project", [])
    current = built.current
    found = json.loads(built("run", "--", "python", "-c", FACTS).stdout)
    assert found == [build.version, f"{current}/python", f"{current}/venv"]
    library = current / "python" / "lib" / f"python{build.minor}"
    sources = [path for path in library.rglob("*.py") if not path.is_symlink()]
    tag = f"cpython-{build.minor.replace('.', '')}"
    assert len(sources) > 300
    assert [path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()] == []
    built("run", "--", "python", "-c", "import email, json, http.client")  # running leaves nothing behind that counts
    assert built.json("restore")["unchanged"]
    proof = built.json("verify")
    assert proof["differences"] == []
    assert proof["total"] > len(sources)
    source = library / "json" / "__init__.py"
    source.write_text(source.read_text() + "# changed\n")
    (library / "site-packages").mkdir(exist_ok=True)
    (library / "site-packages" / "evil.pth").write_text("import evil\n")
    (library / "calendar.py").unlink()
    below = f"python/lib/python{build.minor}"
    assert {(item["path"], item["what"]) for item in built.json("verify", code=4)["differences"]} == {
        (f"{below}/json/__init__.py", "changed"),
        (f"{below}/site-packages/evil.pth", "unexpected"),
        (f"{below}/calendar.py", "missing"),
    }
    built("restore")
    assert built.current != current
    assert not (built.current / below / "site-packages" / "evil.pth").exists()


def test_another_archive_under_its_name_is_refused(built: Dsenv, build: Build) -> None:
    _names(built, b"another one", f"{build.files}/{build.serve(build.content)}")
    completed = built("restore", code=1)
    assert f"cpython-{build.version}+{DATE}" in completed.stderr
    assert "is not the file that the lock names" in completed.stderr
    assert not list((built.directory / ".dsenv").glob("envs/*"))


def test_a_mirror_serves_what_the_locked_address_does_not(built: Dsenv, build: Build) -> None:
    """The hash decides; the mirror, and who one is there, are in no lock and in no message."""
    content = build.content + bytes(8)  # which gzip passes over: the same files in another archive
    _names(built, content, f"{DEAD}/{build.serve(content)}")
    completed = built("restore", code=1)
    assert "could not be downloaded" in completed.stderr
    assert DEAD in completed.stderr
    assert "hint: Name a mirror" in completed.stderr
    assert "python-install-mirror" in completed.stderr
    locks = built.locks()
    build.index.login = ("ann", "s3cret")
    mirror = build.files.replace("//", "//ann:s3cret@")
    try:
        completed = built("restore", "-v", UV_PYTHON_INSTALL_MIRROR=mirror)
    finally:
        build.index.login = None
    assert built.locks() == locks
    assert "s3cret" not in completed.stderr + completed.stdout
    assert built("run", "--", "python", "-V").stdout == f"Python {build.version}\n"


def test_a_list_without_hashes_has_the_archive_hashed(dsenv: Dsenv, build: Build) -> None:
    text = dsenv.spec(f'[python]\nversion = "{build.minor}"\npackages = ["six"]\n').directory / "dsenv.toml"
    text.write_text(text.read_text().replace("linux-amd64", "macos-amd64"))
    completed = Dsenv(dsenv.directory, dsenv.store, build.listed(sha256=None, os="darwin"))("lock")
    assert "nobody tells the sha256 of cpython-" in completed.stderr
    assert _interpreter(dsenv)["build"]["sha256"] == hashlib.sha256(build.content).hexdigest()


@pytest.mark.root
def test_a_build_serves_a_host_of_another_release(built: Dsenv, tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=trixie\n")
    script = f'mount --bind {tmp_path}/os-release /etc/os-release && exec "$@"'

    def there(*words: str, code: int) -> Any:
        return built(*words, code=code, wrapper=("unshare", "--mount", "sh", "-c", script, "sh"))

    completed = there("restore", "--strict", code=4)
    assert "this machine is debian trixie, the lock is for debian bookworm" in completed.stderr
    assert not (built.directory / ".dsenv" / "current").exists()
    answer = json.loads(there("restore", "--json", code=5).stdout)["data"]
    assert (answer["mode"], answer["differs"]) == ("host", [])
    assert json.loads(there("run", "--", "python", "-c", FACTS, code=0).stdout)[1] == f"{built.current}/python"
    assert "0 differences" in there("verify", code=0).stdout
    assert "does not have exactly what is locked" in there("verify", "--strict", code=4).stderr


@pytest.mark.engine
def test_an_image_has_the_same_build(built: Dsenv, build: Build) -> None:
    try:
        engines.connect().__exit__()
    except ToolError as error:
        pytest.skip(f"{error.sentence}: {error.cause}")
    tag = built.json("docker")["tag"]
    proof = built.json("verify", "--image")
    assert proof["differences"] == []
    assert proof["bytecode"] > 300
    assert proof["compared"]["python"] > 300
    found = json.loads(built("run", "--image", "--", "python", "-c", FACTS).stdout)
    assert found == [build.version, "/opt/dsenv/python", "/opt/dsenv/venv"]
    with engines.connect() as engine:
        assert engine.image(tag) is not None
