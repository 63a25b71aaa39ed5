"""Other tools read our locks: packaging, uv, pip, renv."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.pylock import Pylock

from dsenv.ecosystems.python import uv
from tests.integration.conftest import CRAN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]


def _run(*words: str | Path, cwd: Path) -> str:
    completed = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def _versions(project: Dsenv) -> dict[str, str]:
    lock = tomllib.loads(project.locks()["pylock.toml"].decode())
    return {package["name"]: package["version"] for package in lock["packages"]}


def test_packaging_validates_pylock(penguins: Dsenv) -> None:
    lock = Pylock.from_dict(tomllib.loads(penguins.locks()["pylock.toml"].decode()))
    lock.validate()
    assert {str(package.version) for package in lock.packages} == set(_versions(penguins).values())
    assert all(package.index and package.wheels for package in lock.packages)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="installs the lock into this machine's own Python")
def test_uv_and_pip_install_the_same_versions_from_pylock(small: Dsenv, tmp_path: Path) -> None:
    for tool in ("uv", "pip"):
        venv = tmp_path / tool
        _run(uv.program(), "venv", "--seed", "--python", sys.executable, venv, cwd=tmp_path)
        if tool == "uv":
            _run(uv.program(), "pip", "sync", "--python", venv, small.directory / "pylock.toml", cwd=tmp_path)
        else:
            _run(uv.program(), "pip", "install", "--python", venv, "pip>=26.1", cwd=tmp_path)
            _run(venv / "bin" / "python", "-m", "pip", "install", "-r", small.directory / "pylock.toml", cwd=tmp_path)
        listed = json.loads(_run(uv.program(), "pip", "list", "--python", venv, "--format", "json", cwd=tmp_path))
        found = {row["name"]: row["version"] for row in listed}
        assert {name: found.get(name) for name in _versions(small)} == _versions(small)


@pytest.fixture(scope="module")
def renv(penguins: Dsenv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library with renv in it."""
    tarball = next((CRAN / "src" / "contrib").glob("renv_*.tar.gz"))
    library = tmp_path_factory.mktemp("renv")
    penguins("run", "--", "R", "CMD", "INSTALL", "--no-docs", f"--library={library}", str(tarball), HOME=str(library))
    return library


def _answered(penguins: Dsenv, home: Path, script: str) -> Any:
    """Run R beside the lock in a home's ``project``, and return the JSON that it ends with."""
    completed = penguins(
        "run",
        "--",
        "sh",
        "-c",
        f"cd {home}/project && Rscript - <<'END'\n{script}\nEND\n",
        HOME=str(home),
        RENV_CONFIG_SANDBOX_ENABLED="FALSE",
    )
    match = re.search(r"\{.*\}\s*$", completed.stdout)
    assert match, completed.stdout + completed.stderr
    return json.loads(match[0])


@pytest.mark.cran
@pytest.mark.skipif(not CRAN.is_dir(), reason=f"the slice of CRAN is not at {CRAN}")
def test_renv_reads_the_export(penguins: Dsenv, renv: Path, tmp_path: Path) -> None:
    """renv reads every record, takes its own hash of the installed packages for ours, and finds nothing to change."""
    (tmp_path / "project").mkdir()
    shutil.copy(penguins.directory / "renv.lock", tmp_path / "project")
    script = f"""
        library(renv, lib.loc = "{renv}")
        lock <- renv::lockfile_read("renv.lock")
        Sys.setenv(RENV_LOCKFILE_VERSION = "1")
        packages <- names(lock$Packages)
        installed <- vapply(packages, function(p) renv:::renv_hash_description(
            file.path(find.package(p), "DESCRIPTION")), character(1))
        renv::lockfile_write(lock, "again.lock")
        cat(jsonlite::toJSON(list(versions = lapply(lock$Packages, `[[`, "Version"),
                                  hashes = as.list(installed), r = lock$R$Version), auto_unbox = TRUE))
    """
    found = _answered(penguins, tmp_path, script)
    ours = json.loads(penguins.locks()["renv.lock"])
    assert found["r"] == "4.2.2"
    assert found["versions"] == {name: record["Version"] for name, record in ours["Packages"].items()}
    assert found["hashes"] == {name: record["Hash"] for name, record in ours["Packages"].items()}
    again = json.loads((tmp_path / "project" / "again.lock").read_text())
    assert again["Packages"] == ours["Packages"]


@pytest.mark.cran
@pytest.mark.skipif(not CRAN.is_dir(), reason=f"the slice of CRAN is not at {CRAN}")
def test_renv_reads_the_export_of_sources(everything: Dsenv, penguins: Dsenv, renv: Path, tmp_path: Path) -> None:
    """renv reads every record and computes from each DESCRIPTION the hash that stands there."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "renv.lock").write_bytes(everything.locks()["renv.lock"])
    for row in tomllib.loads(everything.locks()["dsenv.lock"].decode())["r"]["packages"]:
        if "source" in row:
            tarball = everything.store / "artifacts" / row["source"]["sha256"][0][:2] / row["source"]["sha256"][0]
            (tmp_path / "tarballs").mkdir(exist_ok=True)
            (tmp_path / "tarballs" / row["source"]["filename"]).symlink_to(tarball)
    script = f"""
        library(renv, lib.loc = "{renv}")
        lock <- renv::lockfile_read("renv.lock")
        Sys.setenv(RENV_LOCKFILE_VERSION = "1")
        hashes <- vapply(names(lock$Packages), function(name) {{
            record <- lock$Packages[[name]]
            file <- sprintf("{tmp_path}/tarballs/%s_%s.tar.gz", name, record$Version)
            untar(file, files = file.path(name, "DESCRIPTION"), exdir = tempdir())
            renv:::renv_hash_description(file.path(tempdir(), name, "DESCRIPTION"))
        }}, character(1))
        renv::lockfile_write(lock, "again.lock")
        cat(jsonlite::toJSON(as.list(hashes), auto_unbox = TRUE))
    """
    ours = json.loads(everything.locks()["renv.lock"])
    assert _answered(penguins, tmp_path, script) == {name: record["Hash"] for name, record in ours["Packages"].items()}
    again = json.loads((tmp_path / "project" / "again.lock").read_text())
    assert again["Packages"] == ours["Packages"]


def _tool(venv: Path, *wanted: str) -> Path:
    """Return the directory of programs of an environment that holds other tools."""
    _run(uv.program(), "venv", "--seed", "--python", sys.executable, venv, cwd=venv.parent)
    _run(uv.program(), "pip", "install", "--python", venv, *wanted, cwd=venv.parent)
    return venv / "bin"


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_lock_that_another_tool_wrote_is_adopted(dsenv: Dsenv, tmp_path: Path, tool: str) -> None:
    """Its versions stay, the file itself is kept, and the next lock has nothing to adopt."""
    path = dsenv.directory / "pylock.toml"
    (tmp_path / "r.in").write_text("idna<3.5\nsix<1.17\n")
    if tool == "uv":
        words = ("pip", "compile", "--python-version", "3.11", "--format", "pylock.toml", "-o", path)
        _run(uv.program(), *words, tmp_path / "r.in", cwd=tmp_path)
    else:
        pip = _tool(tmp_path / "venv", "pip>=26.1") / "pip"
        _run(pip, "lock", "--requirement", tmp_path / "r.in", "--output", path, cwd=tmp_path)
    text = path.read_bytes()
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["idna", "six"]\n')
    completed = dsenv("lock")
    assert f"pylock.toml was written by {tool}: its 2 versions are preferred" in completed.stderr
    assert "kept the other tool's pylock.toml as pylock.toml.orig" in completed.stdout
    assert (dsenv.directory / "pylock.toml.orig").read_bytes() == text
    versions = _versions(dsenv)
    assert versions["idna"] == "3.4"
    assert versions["six"].startswith("1.16")
    assert dsenv.json("lock")["fresh"]
    path.write_bytes(text)  # the other tool has written its file again
    assert "does not answer" in dsenv("restore", code=3).stderr
    assert dsenv.json("lock")["kept"] == {"pylock.toml": "pylock.toml.orig"}
    assert _versions(dsenv) == versions
    path.write_bytes(text)
    dsenv("lock", "--upgrade")
    assert _versions(dsenv)["idna"] != "3.4"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="installs the lock into this machine's own Python")
def test_uv_and_pip_install_the_exported_requirements(small: Dsenv, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(small("export", "requirements").stdout)
    for tool in ("uv", "pip"):
        venv = tmp_path / tool
        pip = _tool(venv, "pip") / "pip"
        if tool == "uv":
            _run(uv.program(), "pip", "install", "--python", venv, "--require-hashes", "-r", path, cwd=tmp_path)
        else:
            _run(pip, "install", "--no-deps", "--require-hashes", "-r", path, cwd=tmp_path)
        listed = json.loads(_run(uv.program(), "pip", "list", "--python", venv, "--format", "json", cwd=tmp_path))
        found = {row["name"]: row["version"] for row in listed}
        assert {name: found.get(name) for name in _versions(small)} == _versions(small)
    path.write_text(path.read_text().replace("sha256:", "sha256:0", 1)[:-1])
    completed = subprocess.run(
        [uv.program(), "pip", "install", "--python", tmp_path / "uv", "--reinstall", "-r", path], check=False
    )
    assert completed.returncode


def test_uv_resolves_to_the_exported_constraints(dsenv: Dsenv, tmp_path: Path) -> None:
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["idna<3.5", "six"]\n')("lock")
    table = dsenv("export", "uv-constraints").stdout
    head = '[project]\nname = "x"\nversion = "0"\nrequires-python = "==3.11.*"\ndependencies = ["idna", "six"]\n'
    (tmp_path / "pyproject.toml").write_text(head + table)
    _run(uv.program(), "lock", cwd=tmp_path)
    lock = tomllib.loads((tmp_path / "uv.lock").read_text())
    found = {package["name"]: package["version"] for package in lock["package"]}
    assert {name: found[name] for name in ("idna", "six")} == _versions(dsenv)


def test_an_export_is_refused_where_it_would_lie(small: Dsenv) -> None:
    assert "Exports: requirements, uv-constraints" in small("export", "conda", code=2).stderr
    assert "no target macos-arm64" in small("export", "requirements", "--target", "macos-arm64", code=2).stderr
    spec = small.directory / "dsenv.toml"
    spec.write_text(spec.read_text().replace('"six"', '"six", "attrs"'))
    assert small("export", "requirements", code=3).stdout == ""
