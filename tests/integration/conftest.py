"""Real projects, locked and restored once for all tests, in a store of the session's own."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.errors import ToolError
from dsenv.tools import engine as engines

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CRAN = Path(os.environ.get("DSENV_TEST_CRAN") or ROOT.parent / "shared" / "cran")  # the frozen slice
HEAD = """\
[project]
name = "{name}"

[platform]
base = "{base}"
targets = ["linux-amd64"]

"""
SMALL = """\
[python]
version = "3.11"
packages = ["six", "idna"]

[system]
packages = ["jq"]
"""
EVERYTHING = [
    *("dplyr", "ggplot2", "tidyr", "readr", "purrr", "stringr", "shiny", "rmarkdown", "sf", "lme4", "data.table"),
    *("plumber", "testthat", "targets"),
]
BOOTSTRAP = "bootstrap:debian:bookworm"


@dataclass(frozen=True)
class Dsenv:
    """dsenv as a user runs it, in one project."""

    directory: Path
    store: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, code: int | None = 0, wrapper: tuple[str, ...] = (), **env: Any) -> Any:
        """Run a command; fail unless it ends with ``code``."""
        completed = self.start(*words, wrapper=wrapper, **env)
        stdout, stderr = completed.communicate(timeout=600)
        if code is not None:
            assert completed.returncode == code, f"{words}: {completed.returncode}\n{stdout}\n{stderr}"
        return subprocess.CompletedProcess(words, completed.returncode, stdout, stderr)

    def start(self, *words: str, wrapper: tuple[str, ...] = (), **env: Any) -> subprocess.Popen[str]:
        """Start a command and return it."""
        return subprocess.Popen(
            [*wrapper, sys.executable, "-m", "dsenv", *words],
            cwd=self.directory,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "DSENV_STORE": str(self.store), **self.env, **env},
        )

    def json(self, *words: str, code: int | None = 0, **env: Any) -> Any:
        """Run a command and return the data of its JSON answer."""
        return json.loads(self(*words, "--json", code=code, **env).stdout)["data"]

    def spec(self, tables: str, *, name: str = "test", base: str = BOOTSTRAP) -> Dsenv:
        """Write the project's dsenv.toml."""
        (self.directory / "dsenv.toml").write_text(HEAD.format(name=name, base=base) + tables)
        return self

    def r(self, url: str, packages: list[str], tables: str = "") -> Dsenv:
        """Write the project's dsenv.toml for R packages of one repository."""
        head = f'[r]\nversion = "4.2"\nrepositories = [{{ name = "CRAN", url = "{url}" }}]\n'
        return self.spec(f"{head}packages = {json.dumps(packages)}\n{tables}")

    def versions(self) -> dict[str, str]:
        """Return what is locked of Python, by name."""
        packages = tomllib.loads(self.locks()["pylock.toml"].decode())["packages"]
        return {package["name"]: package["version"] for package in packages}

    def locks(self) -> dict[str, bytes]:
        """Return the lock files, by name."""
        names = ("dsenv.lock", "pylock.toml", "renv.lock")
        return {name: (self.directory / name).read_bytes() for name in names if (self.directory / name).exists()}

    def copy(self, directory: Path) -> Dsenv:
        """Return the same project elsewhere: its files without its environments."""
        shutil.copytree(
            self.directory, directory, ignore=shutil.ignore_patterns(".dsenv", ".venv", "results*"), dirs_exist_ok=True
        )
        return Dsenv(directory, self.store, self.env)

    @property
    def current(self) -> Path:
        """The environment in use."""
        return (self.directory / ".dsenv" / "current").resolve()


def docker(*words: str, code: int | None = 0, timeout: int = 600) -> str:
    """Run a command of the engine; fail unless it ends with ``code``. Return what it wrote."""
    completed = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=timeout)
    if code is not None:
        assert completed.returncode == code, f"{words}: {completed.returncode}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout + completed.stderr


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip where no engine answers."""
    try:
        engines.connect().__exit__()
    except ToolError as error:
        pytest.skip(f"{error.sentence}: {error.cause}")


@pytest.fixture(scope="session")
def bookworm(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make the image of a fresh Debian 12 and return its name."""
    del engine
    name = f"dsenv-test-bookworm:{os.getpid()}"  # of this process alone: another may end earlier
    tar = tmp_path_factory.mktemp("bookworm") / "root.tar"
    words = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", str(tar)]
    subprocess.run(words, check=True, capture_output=True)
    docker("import", str(tar), name)
    yield name
    docker("image", "rm", "--force", name, code=None)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store that all tests share, as one user's projects do."""
    return Path(os.environ.get("DSENV_TEST_STORE") or tmp_path_factory.mktemp("store"))


@pytest.fixture
def fresh(store: Path) -> Iterator[Path]:
    """Return a store that has what the session's has downloaded and unpacked, and has built nothing.

    Anybody may reach it.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "a store"
        path.mkdir()
        for name in ("artifacts", "trees"):
            (path / name).symlink_to(store / name)
        yield path


@pytest.fixture
def dsenv(tmp_path: Path, store: Path) -> Dsenv:
    """Return a new, empty project."""
    (tmp_path / "project").mkdir()
    return Dsenv(tmp_path / "project", store)


@pytest.fixture(scope="session")
def _small(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Dsenv:
    project = Dsenv(tmp_path_factory.mktemp("small"), store).spec(SMALL)
    project("lock")
    return project


@pytest.fixture
def small(_small: Dsenv, tmp_path: Path) -> Dsenv:
    """Return a small project of Python and system packages, locked."""
    return _small.copy(tmp_path / "small")


@pytest.fixture(scope="session")
def penguins(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Dsenv:
    """Return the shipped example, locked, restored and run."""
    directory = tmp_path_factory.mktemp("penguins")
    ignored = shutil.ignore_patterns(".dsenv", "results*", "*.lock", "pylock.toml")
    shutil.copytree(ROOT / "examples" / "penguins", directory, ignore=ignored, dirs_exist_ok=True)
    project = Dsenv(directory, store)
    project("lock")
    project("restore")
    project("run", "--", "sh", "analysis/run.sh", "results")
    return project


@pytest.fixture(scope="session")
def slice_() -> Iterator[str]:
    """Return the address of the slice, without listings' dates, as Python's server has them."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(CRAN)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory, store: Path, slice_: str) -> Dsenv:
    """Return a project of well-known R packages, locked as sources."""
    project = Dsenv(tmp_path_factory.mktemp("everything"), store).r(slice_, EVERYTHING)
    project("lock")
    return project
