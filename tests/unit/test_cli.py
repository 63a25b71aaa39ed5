"""The command line: what it imports, how it answers, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsenv.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = {"pydantic", "docker", "rich", "tomlkit", "requests", "urllib3", "httpx", "http.client", "packaging", "uv"}


def _dsenv(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dsenv", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DSENV_STORE": str(cwd / "store"), **env},
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["lock", "--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\nfrom dsenv.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert completed.stdout.splitlines()[-1] == "HEAVY []"


def test_status_imports_no_client(tmp_path: Path) -> None:
    """It asks nobody; a client of the network or of an engine alone would cost it a third of its time."""
    script = (
        "import sys\nfrom dsenv.cli.main import main\n"
        "try: main(['status'])\nexcept SystemExit: pass\n"
        f"print('HEAVY', sorted({HEAVY - {'pydantic', 'packaging', 'http.client'}!r} & set(sys.modules)))"
    )
    _dsenv("init", cwd=tmp_path)
    completed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert completed.stdout.splitlines()[-1] == "HEAVY []"


def test_the_readme_shows_the_help() -> None:
    completed = _dsenv("--help", cwd=ROOT, COLUMNS="80", TERMINAL_WIDTH="80")
    readme = (ROOT / "README.md").read_text()
    assert completed.stdout.strip() in readme, "README.md does not show what `dsenv --help` prints"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    completed = _dsenv(command, "--help", cwd=tmp_path)
    assert completed.returncode == 0
    assert "--json" in completed.stdout


@pytest.mark.parametrize("command", ["lock", "restore", "status", "verify", "docker"])
def test_no_project_is_wrong_use(command: str, tmp_path: Path) -> None:
    completed = _dsenv(command, "--json", cwd=tmp_path)
    assert completed.returncode == 2
    assert "no dsenv.toml" in completed.stderr
    envelope = json.loads(completed.stdout)
    assert (envelope["command"], envelope["exit"]) == (command, 2)
    assert "dsenv init" in envelope["error"]["hint"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["lock", "--frobnicate"], "No such option '--frobnicate'"),
        (["run"], "Missing argument"),
        (["run", "--imgae", "--", "true"], "No such option '--imgae'"),
        (["docker", "--target", "x"], "Invalid value for '--target'"),
    ],
)
def test_unknown_words_are_wrong_use(words: list[str], told: str, tmp_path: Path) -> None:
    completed = _dsenv(*words, cwd=tmp_path)
    assert completed.returncode == 2
    assert told in completed.stderr


def test_a_project_begins_with_init(tmp_path: Path) -> None:
    made = _dsenv("init", "--name", "my study", cwd=tmp_path)
    assert made.returncode == 0
    assert 'name = "my-study"' in (tmp_path / "dsenv.toml").read_text()
    again = _dsenv("init", cwd=tmp_path)
    assert again.returncode == 2
    assert "already" in again.stderr
    (tmp_path / "below").mkdir()
    status = _dsenv("status", "--json", cwd=tmp_path / "below")
    assert status.returncode == 3
    assert json.loads(status.stdout)["data"]["lock"] == "missing"
    for command in ("restore", "verify", "docker"):
        completed = _dsenv(command, cwd=tmp_path, DOCKER_HOST="unix:///nonexistent.sock")
        assert completed.returncode in {1, 3}, completed.stderr
        assert "hint: " in completed.stderr
    ran = _dsenv("run", "--", "true", cwd=tmp_path)
    assert ran.returncode == 4
    assert "dsenv restore" in ran.stderr


def test_a_wrong_file_is_told_on_stderr_alone(tmp_path: Path) -> None:
    (tmp_path / "dsenv.toml").write_text("[project]\nname = 1\n")
    completed = _dsenv("lock", cwd=tmp_path)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert "dsenv.toml:2: [project] name: 1: expected a text in quotes" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert "Traceback" in _dsenv("lock", "--debug", cwd=tmp_path).stderr


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "dsenv.toml").mkdir()
    completed = _dsenv("init", cwd=tmp_path)
    assert completed.returncode == 2
    assert "dsenv.toml already" in completed.stderr
    completed = _dsenv("init", "-C", "/proc", cwd=tmp_path)
    assert completed.returncode == 1
    assert "/proc/dsenv.toml" in completed.stderr


def test_a_project_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    _dsenv("init", cwd=tmp_path)
    completed = _dsenv("status", "-C", str(tmp_path / "typo"), cwd=tmp_path)
    assert completed.returncode == 2
    assert "does not exist" in completed.stderr


def test_the_schema_is_printed(tmp_path: Path) -> None:
    completed = _dsenv("schema", cwd=tmp_path)
    assert json.loads(completed.stdout)["properties"]["platform"]
