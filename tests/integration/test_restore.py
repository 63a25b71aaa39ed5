"""Restoring with real packages: whole, once, checked, and never at the cost of what was there."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv import tree

if TYPE_CHECKING:
    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]
USES = ("run", "--", "python", "-c", "import six, idna, sys; print(sys.prefix)")


def _artifact(project: Dsenv, filename: str) -> Path:
    """Return where the store has an artifact of the locks."""
    text = project.locks()["dsenv.lock"].decode() + project.locks()["pylock.toml"].decode()
    match = re.search(rf'{re.escape(filename)}[^\n]*sha256 = "([0-9a-f]{{64}})"', text)
    if match is None:
        rows = tomllib.loads(text.partition("\n# Generated")[0])["system"]["linux-amd64"]["packages"]
        sha256 = str(next(row["sha256"] for row in rows if row["name"] == filename))
    else:
        sha256 = match[1]
    return project.store / "artifacts" / sha256[:2] / sha256


def _flip(path: Path, at: int = -20) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def test_the_environment_is_whole_and_isolated(small: Dsenv, tmp_path: Path) -> None:
    answer = small.json("restore")
    assert answer["complete"]
    assert answer["mode"] == "project"
    planted = tmp_path / "home/.local/lib/python3.11/site-packages"
    planted.mkdir(parents=True)
    (planted / "planted.py").write_text("")
    script = (
        "import sys, os, json; print(json.dumps({'path': sys.path, 'version': sys.version_info[:3], 'id': os.environ["
        "'DSENV_ID'], 'tz': os.environ['TZ'], 'lang': os.environ['LC_ALL'], 'executable': sys.executable}))"
    )
    env: dict[str, Any] = {
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(planted),
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
        "LD_LIBRARY_PATH": "/nonexistent",
    }
    found = json.loads(small("run", "--", "python", "-c", script, **env).stdout)
    current = str(small.current)
    assert found["version"] == [3, 11, 2]
    assert found["executable"] == f"{current}/venv/bin/python"
    assert all(path == "" or path.startswith(current) for path in found["path"])
    assert (found["id"], found["tz"], found["lang"]) == (answer["id"], "UTC", "C.UTF-8")
    small("run", "--", "python", "-c", "import planted", code=1, **env)
    assert small("run", "--", "sh", "-c", "command -v jq").stdout.strip() == f"{current}/root/usr/bin/jq"
    assert small("run", "--", "jq", "--version").stdout.startswith("jq-1.6")
    assert small("run", "--", "sh", "-c", "exit 7", code=7)
    assert small("run", "--", "sh", "-c", "kill -s PIPE $$; echo alive", code=-signal.SIGPIPE).stdout == ""
    assert "cannot be started" in small("run", "--", "", code=1).stderr


def test_a_program_from_elsewhere_is_told(small: Dsenv, tmp_path: Path) -> None:
    """What another environment has on PATH never runs without a word."""
    small("restore")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pytest").write_text("#!/bin/sh\necho other\n")
    (tmp_path / "bin" / "pytest").chmod(0o755)
    completed = small("run", "--", "pytest", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert completed.stdout == "other\n"
    assert f"pytest is not of this environment: {tmp_path}/bin/pytest runs" in completed.stderr
    assert "not of this environment" not in small("run", "--", "sh", "-c", "true").stderr


def test_a_damaged_environment_runs_nothing(small: Dsenv, tmp_path: Path) -> None:
    small("restore")
    (small.current / "root").rename(tmp_path / "gone")
    completed = small("run", "--", "jq", "--version", code=4)
    assert "is damaged" in completed.stderr
    assert small.json("status", code=4)["environment"] == "damaged"
    small("restore")
    assert small("run", "--", "jq", "--version").returncode == 0


@pytest.mark.parametrize("content", ["[]", "{", '{"root": []}', '{"root": 7}'])
def test_a_damaged_record_is_healed(small: Dsenv, content: str) -> None:
    small("restore")
    (small.current / "manifest.json").write_text(content)
    assert "manifest is damaged" in small("verify", code=4).stderr
    small("restore")
    assert small.json("verify")["differences"] == []


def test_going_back_takes_what_is_there(dsenv: Dsenv) -> None:
    """Another group and back again: the environment from before is current at once, and not built anew."""
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["six"]\ngroups = { dev = ["idna"] }\n')("lock")
    dsenv("restore")
    first = dsenv.current
    (dsenv.directory / ".dsenv" / "cache" / first.name / "numba").mkdir(parents=True)
    dsenv("restore", "--group", "dev")
    assert dsenv.current != first
    assert dsenv.json("restore")["unchanged"]
    assert dsenv.current == first
    (first / "root" / "usr" / "bin" / "drift").write_text("")
    dsenv("restore", "--group", "dev")
    dsenv("restore")
    assert dsenv.current != first
    assert not (dsenv.directory / ".dsenv" / "cache" / first.name).exists()


def test_a_row_that_lies_about_its_package_is_refused(small: Dsenv) -> None:
    path = small.directory / "dsenv.lock"
    text = path.read_text()
    start = text.index('name = "jq"')
    version = re.search(r'version = "([^"]*)"', text[start:])
    assert version
    path.write_text(text[:start] + text[start:].replace(version[0], 'version = "9.9-9"', 1))
    completed = small("restore", code=1)
    assert f"is jq {version[1]}, and the lock says that it is jq 9.9-9" in completed.stderr


def test_a_second_restore_has_nothing_to_do(small: Dsenv) -> None:
    small("restore")
    before = small.current
    answer = small.json("restore")
    assert answer["unchanged"]
    assert small.current == before
    small("run", "--", "python", "-c", "import six, json, email")  # running leaves nothing behind that counts
    assert small.json("restore")["unchanged"]
    assert small.json("verify")["differences"] == []


def test_a_dry_run_says_what_it_would_do(small: Dsenv, tmp_path: Path) -> None:
    own = _with_own_store(small, tmp_path)
    wanted = own.json("restore", "--dry-run")
    assert wanted["unchanged"] is False
    assert any(name.startswith("jq_") for name in wanted["download"])
    assert wanted["size"] > 1_000_000
    assert not (own.directory / ".dsenv").exists()
    assert not own.store.exists()
    assert own.json("restore")["id"] == wanted["id"]
    assert own.json("restore", "--dry-run")["unchanged"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_everything_at_once(small: Dsenv, tmp_path: Path, number: int) -> None:
    """Engines run in threads and in groups of their own; none of them outlives dsenv."""
    marker = f"dsenv-interrupt-{os.getpid()}-{number}"
    lock = small.start("lock", "--upgrade", DSENV_TEST_MARKER=marker, DSENV_STORE=str(tmp_path / "store"))
    deadline = time.monotonic() + 20
    while len(_marked(marker)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(lock.pid, number)
    _, stderr = lock.communicate(timeout=10)
    assert lock.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    while _marked(marker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _marked(marker: str) -> list[str]:
    """Return the processes that have ``marker`` in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_every_file_is_held_against_its_artifact(small: Dsenv) -> None:
    small("restore")
    answer = small.json("verify")
    assert answer["total"] == sum(answer["compared"].values()) > 700
    assert answer["differences"] == []
    reasons = {item["reason"] for item in answer["generated"]}
    assert all("uv" in reason or "bytecode" in reason for reason in reasons)


SITE = "venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    "changes",
    [
        {
            f"{SITE}/six.py": ("flip", "changed"),
            f"{SITE}/evil.pth": ("create", "unexpected"),
            f"{SITE}/idna/core.py": ("delete", "missing"),
            "venv/pyvenv.cfg": ("flip", "changed"),
            "venv/bin/activate": ("delete", "missing"),
            "venv/bin/python": ("delete", "missing"),
            "root/usr/bin/jq": ("flip", "changed"),
            "root/usr/lib/python3.11/os.py": ("flip", "changed"),
            "root/usr/bin/new": ("create", "unexpected"),
            "bin/dpkg-query": ("flip", "changed"),
            f"{SITE}/__pycache__/six.cpython-311.pyc": ("flip", "changed"),
            f"{SITE}/__pycache__/evil.cpython-311.pyc": ("create", "unexpected"),
            "root/usr/lib/python3.11/__pycache__/os.cpython-311.pyc": ("flip", "changed"),
        },
        {
            "venv/pyvenv.cfg": ("delete", "missing"),
            "root/usr/bin/jq": ("mode", "mode"),
            f"{SITE}/__pycache__/six.cpython-311.pyc": ("delete", "missing"),
        },
        {f"{SITE}/evil.pth": ("create", "unexpected")},
    ],
    ids=["many", "others", "one"],
)
def test_drift_is_named_and_healed(small: Dsenv, changes: dict[str, tuple[str, str]]) -> None:
    """Each change by both ways of looking: against the artifacts, and against how the environment was left."""
    small("restore")
    for path, (change, _) in changes.items():
        file = small.current / path
        if change == "flip":
            _flip(file, len(file.read_bytes()) // 2)
        elif change == "create":
            file.write_text("import os\n")
        elif change == "mode":
            file.chmod(0o777)
        else:
            file.unlink()
    answer = small.json("verify", code=4)
    found = {item["path"]: item["what"] for item in answer["differences"]}
    assert found == {path: what for path, (_, what) in changes.items()}
    text = small("verify", code=4).stdout
    assert all(path in text for path in changes)
    completed = small("restore")
    assert "changed by hand" in completed.stderr
    named = [path for path in sorted(changes) if f"{path} ({changes[path][1]})" in completed.stderr]
    assert named == sorted(changes)[:5]
    more = len(changes) - len(named)
    assert (f" and {more} more" in completed.stderr) == (more > 0)
    assert small.json("verify")["differences"] == []


def test_running_leaves_nothing_behind(small: Dsenv) -> None:
    """Everything that can be imported has its bytecode, the interpreter's own modules included."""
    small("restore")
    before = {path: path.lstat().st_mtime_ns for path in small.current.rglob("*")}
    (small.directory / "own.py").write_text("import six, idna\n")
    script = "import own, ctypes.util, json, sqlite3.dump, xml.dom.minidom, site, sitecustomize, idna.codec"
    small("run", "--", "python", "-c", script, PYTHONPYCACHEPREFIX=str(small.directory / "planted"))
    assert {path: path.lstat().st_mtime_ns for path in small.current.rglob("*")} == before
    assert not (small.directory / "planted" / str(small.current).lstrip("/")).exists()
    small("run", "--", "python", "-O", "-c", script)
    assert small.json("restore")["unchanged"]


def test_every_file_is_the_same_at_any_time_and_path(small: Dsenv, tmp_path: Path) -> None:
    """Bytecode included; elsewhere, only what leads to the interpreter and to dpkg's database names its own path."""

    def files(project: Dsenv, wrapper: tuple[str, ...] = (), **settings: Any) -> tree.Tree:
        project("restore", wrapper=wrapper, **settings)
        found = tree.scan(project.current, skip={"environment.json", "manifest.json", "variables.env"}.__contains__)
        return {path: replace(entry, mtime=0) for path, entry in found.items()}

    def different(first: tree.Tree, other: tree.Tree) -> set[str]:
        return {path for path in first.keys() | other.keys() if first.get(path) != other.get(path)}

    here = small.copy(tmp_path / "here")
    first = files(here)
    assert sum(path.endswith(".pyc") for path in first) > 500
    shutil.rmtree(here.directory / ".dsenv")
    umask = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    assert different(first, files(here, umask, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")) == set()
    paths = {"bin/dpkg-query", "entry/bin/activate", "entry/start", "venv/bin/python", "venv/pyvenv.cfg"}
    assert different(first, files(small.copy(tmp_path / "elsewhere" / "and deeper"))) == paths
    for pack in (small.store / "caches" / "bytecode").iterdir():
        _flip(pack)
    assert different(first, files(small.copy(tmp_path / "third"))) == paths, "a damaged pack is made anew"
    own = _with_own_store(small, tmp_path)
    assert different(first, files(own)) == paths
    for pack in (own.store / "caches" / "bytecode").iterdir():
        pack.unlink()
    assert own.json("verify")["differences"] == []
    _flip(own.current / "venv/lib/python3.11/site-packages/__pycache__/six.cpython-311.pyc")
    assert len(own.json("verify", code=4)["differences"]) == 1, "without its pack it is held against the manifest"


@pytest.mark.parametrize("filename", ["jq", "six-"])
def test_a_flipped_byte_in_the_store_is_named(small: Dsenv, tmp_path: Path, filename: str) -> None:
    """verify fails and names the artifact, a restore without network fails, one with it heals; all goes on working."""
    own = _with_own_store(small, tmp_path)
    own("restore")
    prefix = own(*USES).stdout
    artifact = _artifact(own, filename)
    _flip(artifact)
    completed = own("verify", code=1)
    assert filename in completed.stderr
    assert "damaged" in completed.stderr
    elsewhere = own.copy(tmp_path / "elsewhere")
    offline = elsewhere("restore", "--offline", code=1)
    assert filename in offline.stderr
    assert own(*USES).stdout == prefix
    healed = own.copy(tmp_path / "healed")
    healed("restore")
    assert healed.json("verify")["differences"] == []


def _with_own_store(project: Dsenv, tmp_path: Path) -> Dsenv:
    """Return the project with a copy of the artifacts that it needs in a store of its own."""
    own = project.copy(tmp_path / "own")
    return type(own)(own.directory, tmp_path / "own-store")


def test_a_flipped_byte_in_an_unpacked_package_is_healed(small: Dsenv, tmp_path: Path) -> None:
    own = _with_own_store(small, tmp_path)
    own("restore")
    unpacked = own.store / "trees"
    _flip(next(path for path in unpacked.rglob("usr/bin/jq") if path.is_file()))
    other = own.copy(tmp_path / "other")
    completed = other("restore")
    assert "usr/bin/jq" in completed.stderr
    assert "unpacked anew" in completed.stderr
    _flip(next(path for path in unpacked.rglob("scripts/uv") if path.is_file()))
    _flip(next(path for path in unpacked.rglob("entries") if "usr/bin/jq" in path.read_text()))
    other.copy(tmp_path / "third")("restore")
    assert other.json("verify")["differences"] == []


@pytest.mark.parametrize("name", ["jq", "six"])
def test_a_changed_hash_in_a_lock_stops_and_keeps_the_old(small: Dsenv, name: str) -> None:
    small("restore")
    prefix, before = small(*USES).stdout, small.current
    filename = "dsenv.lock" if name == "jq" else "pylock.toml"
    path = small.directory / filename
    text = path.read_text()
    start = text.index(f'name = "{name}"')
    at = text.index('sha256 = "', start) + len('sha256 = "')
    path.write_text(text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :])
    completed = small("restore", code=1)
    assert re.search(rf"{name}[_-][^\n]* is not the file that the lock names", completed.stderr)
    assert small.current == before
    assert "is not that of the lock" in small("run", "--", "true").stderr
    assert small(*USES).stdout == prefix


def test_a_stale_lock_is_not_restored(small: Dsenv) -> None:
    path = small.directory / "dsenv.toml"
    path.write_text(path.read_text().replace('"six"', '"six", "attrs"'))
    for command in ("restore", "verify", "docker"):
        completed = small(command, code=None, DOCKER_HOST="unix:///nonexistent.sock")
        assert completed.returncode in {1, 3}
    assert "[python] packages: + attrs" in small("restore", code=3).stderr
    status = small.json("status", code=3)
    assert (status["lock"], status["environment"]) == ("stale", "missing")


def test_status_tells_all_three_and_the_mode(small: Dsenv) -> None:
    assert small.json("status", code=4)["environment"] == "missing"
    assert "\nenvironment  there is none yet" in small("status", code=4).stdout
    small("restore")
    status = small.json("status")
    assert (status["lock"], status["environment"], status["mode"]) == ("fresh", "current", "project")
    assert status["environment_id"] == status["locked_id"]
    text = small("status").stdout
    assert "answers dsenv.toml" in text
    assert "mode         project" in text


def test_a_moved_project_is_told_and_restored(small: Dsenv, tmp_path: Path) -> None:
    small("restore")
    small.directory.rename(tmp_path / "moved")
    moved = type(small)(tmp_path / "moved", small.store)
    assert "dsenv restore" in moved("run", "--", "true", code=4).stderr
    moved("restore")
    assert moved.json("verify")["differences"] == []


def test_paths_with_odd_characters_work(small: Dsenv, tmp_path: Path) -> None:
    odd = small.copy(tmp_path / 'it\'s a "project" (ä) & $HOME')
    odd("restore")
    assert odd(*USES).stdout.strip() == f"{odd.current}/venv"
    assert odd("run", "--", "dpkg", "-s", "jq").stdout.startswith("Package: jq")
    assert odd.json("verify")["differences"] == []


def test_a_kill_at_any_moment_leaves_a_working_environment(small: Dsenv, tmp_path: Path) -> None:
    """Ten kills of a restore that changes the environment; then one that is left alone finishes."""
    small("restore")
    old = small.current
    other = small.copy(tmp_path / "other")
    other.spec(
        '[python]\nversion = "3.11"\npackages = ["six", "idna", "attrs"]\n\n[system]\npackages = ["jq", "unzip"]\n'
    )
    other("lock")
    for name, content in {**other.locks(), "dsenv.toml": (other.directory / "dsenv.toml").read_bytes()}.items():
        (small.directory / name).write_bytes(content)
    began = time.monotonic()
    other("restore")
    usual = time.monotonic() - began
    chance = random.Random(3)  # noqa: S311 - moments, not secrets
    for _ in range(10):
        restore = small.start("restore")
        time.sleep(chance.uniform(0, usual * 0.9))
        os.killpg(restore.pid, signal.SIGKILL)
        restore.communicate()
        if small.current == old:
            assert small(*USES).stdout.strip() == f"{old}/venv"
        else:
            small("run", "--", "python", "-c", "import attrs")
            (small.directory / ".dsenv" / "current").unlink()
            (small.directory / ".dsenv" / "current").symlink_to(old.relative_to(small.directory / ".dsenv"))
    small("restore")
    assert small.current != old
    small("run", "--", "python", "-c", "import attrs")
    assert small.json("verify")["differences"] == []
    assert len(list((small.directory / ".dsenv" / "envs").iterdir())) <= 2


def test_two_restores_at_once(small: Dsenv) -> None:
    both = [small.start("restore") for _ in range(2)]
    for restore in both:
        stdout, stderr = restore.communicate(timeout=300)
        assert restore.returncode == 0, stdout + stderr
    assert small.json("verify")["differences"] == []
    assert len(list((small.directory / ".dsenv" / "envs").iterdir())) == 1


def test_an_environment_in_use_is_not_swept(small: Dsenv) -> None:
    small("restore")
    first = small.current
    running = small.start("run", "--", "sleep", "60")
    try:
        for number in range(3):
            (small.current / "root" / "usr" / "bin" / f"drift{number}").write_text("")
            small("restore")
        assert first.exists()
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    (small.current / "root" / "usr" / "bin" / "drift").write_text("")
    small("restore")
    assert not first.exists()


def _on_small_disk(tmp_path: Path, size: str) -> tuple[str, ...]:
    mount = f"mount -t tmpfs -o size={size} tmpfs {tmp_path}/disk && cd {tmp_path}/disk && cp -r {tmp_path}/from/. ."
    return ("unshare", "--mount", "sh", "-c", f'{mount} && "$@"; code=$?; ls -A .dsenv/envs >&2; exit $code', "sh")


@pytest.mark.root
@pytest.mark.parametrize("size", ["400k", "3m", "20m"])
def test_a_full_disk_is_told_and_left_clean(small: Dsenv, tmp_path: Path, size: str) -> None:
    small("restore")  # so that the store has everything
    small.copy(tmp_path / "from")
    (tmp_path / "disk").mkdir()
    completed = small("restore", "-C", str(tmp_path / "disk"), code=1, wrapper=_on_small_disk(tmp_path, size))
    assert "No space left on device" in completed.stderr
    assert str(tmp_path / "disk") in completed.stderr
    assert "nothing that was there is lost" in completed.stderr
    assert completed.stderr.splitlines()[-1].startswith("hint: "), "no unfinished environment is left"


@pytest.mark.root
def test_a_full_disk_of_the_store(small: Dsenv, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    wrapper = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk && "$@"', "sh")
    completed = small("restore", code=1, wrapper=wrapper, DSENV_STORE=str(tmp_path / "disk" / "store"))
    assert "No space left on device" in completed.stderr


@pytest.mark.root
def test_a_read_only_directory_is_told(small: Dsenv) -> None:
    directory = small.directory
    script = f'mount --bind {directory} {directory} && mount -o remount,ro,bind {directory} && cd {directory} && "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", script, "sh")
    for words in (("restore",), ("lock", "--upgrade")):
        completed = small(*words, code=1, wrapper=wrapper)
        assert "Read-only file system" in completed.stderr
        assert "hint: " in completed.stderr


@pytest.mark.root
def test_a_host_of_another_release_gets_python_alone(small: Dsenv, tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=debian\nVERSION_CODENAME=trixie\n")
    script = f'mount --bind {release} /etc/os-release && exec "$@"'
    wrapper = ("unshare", "--mount", "sh", "-c", script, "sh")

    def there(*words: str, code: int) -> Any:
        return small(*words, code=code, wrapper=wrapper)

    completed = there("restore", code=5)
    assert completed.stderr.startswith("warning: this machine is debian trixie, the lock is for debian bookworm")
    assert "not provided here: jq" in completed.stdout
    assert "dsenv run --image" in completed.stdout
    assert there("restore", code=5).stdout.count("nothing to do") == 1
    assert "mode         host" in there("status", code=0).stdout
    there(*USES, code=0)
    assert "0 differences" in there("verify", code=0).stdout
    small("restore")  # at home again, the whole environment
    assert small.json("status")["mode"] == "project"


def test_only_the_commands_own_words_are_handed_on(small: Dsenv) -> None:
    small("restore")
    assert small("run", "python", "-c", "print(1)").stdout == "1\n"
    assert small("run", "--", "python", "-c", "print(2)").stdout == "2\n"
    assert "--imgae" in small("run", "--imgae", "--", "true", code=2).stderr


def test_the_environments_may_lie_on_another_disk(small: Dsenv, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (small.directory / ".dsenv").symlink_to(tmp_path / "scratch")
    small("restore")
    assert small.json("restore")["unchanged"]
    assert small(*USES).stdout.strip().startswith(str(tmp_path / "scratch"))
    assert small.json("verify")["differences"] == []


def test_a_colon_in_a_path_is_refused(small: Dsenv, tmp_path: Path) -> None:
    there = small.copy(tmp_path / "2026-07-01T12:00")
    assert "T12:00" in there("restore", code=2).stderr


def test_no_engine_is_told(small: Dsenv) -> None:
    for words in (("docker",), ("run", "--image", "--", "true"), ("verify", "--image")):
        completed = small(*words, code=1, DOCKER_HOST="unix:///nonexistent.sock")
        assert "no container engine answers" in completed.stderr
        assert "hint: " in completed.stderr
