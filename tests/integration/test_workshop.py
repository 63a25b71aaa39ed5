"""Building in a root of locked packages: the same for everybody, with nothing of the machine in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT, Dsenv

pytestmark = pytest.mark.apt
CASES = ROOT / "tests/cases/workshop"
SYSTEM = '[system]\npackages = ["jq"]\n'
# Another user than root, who may still read where the tests lie.
SOMEBODY = ("setpriv", "--reuid=4321", "--regid=4321", "--clear-groups", "--no-new-privs")
READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def start(*wrapper: str, **plan: Any) -> subprocess.Popen[str]:
    """Start the builds of a plan."""
    argv = [*wrapper, sys.executable, "-m", "tests.integration.workshop", json.dumps(plan)]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=env
    )


def build(*wrapper: str, **plan: Any) -> Any:
    """Run the builds of a plan, and return what came of them."""
    process = start(*wrapper, **plan)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return json.loads(stdout)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Dsenv:
    """Return a project that is locked, first without a compiler and then with one, which only building takes."""
    project = Dsenv(tmp_path_factory.mktemp("tools"), store).spec(SYSTEM)
    project("lock")
    (project.directory / "before.lock").write_bytes(project.locks()["dsenv.lock"])
    project.spec(f'{SYSTEM}build = ["gcc", "libc6-dev", "make"]\n')
    assert "[system] build: + gcc, + libc6-dev, + make" in project("restore", code=3).stderr
    project("lock")
    return project


def _rows(text: bytes) -> dict[str, Any]:
    rows = tomllib.loads(text.decode())["system"]["linux-amd64"]["packages"]
    return {row["name"]: row for row in rows}


def test_what_building_takes_moves_nothing_else(tools: Dsenv) -> None:
    before, after = _rows((tools.directory / "before.lock").read_bytes()), _rows(tools.locks()["dsenv.lock"])
    assert {name: row for name, row in after.items() if not row.get("build")} == before
    assert after["gcc"]["why"] == ["requested"]
    assert after["gcc-12"]["why"] == ["dependency"]
    assert {row["origin"] for row in after.values()} <= {"bookworm", "bookworm-security", "bookworm-updates"}
    assert tools.json("lock")["fresh"]
    answer = tools.json("restore", "--dry-run")
    assert answer["build"] == []
    assert f"jq_{after['jq']['version']}_amd64.deb" in answer["download"] or not answer["download"]
    assert not any(name.startswith(("gcc", "cpp", "binutils")) for name in answer["download"])


def test_a_package_that_would_move_the_environment_is_refused(tools: Dsenv, tmp_path: Path) -> None:
    project = tools.copy(tmp_path / "moved").spec('[system]\npackages = ["nullmailer"]\nbuild = ["postfix"]\n')
    refused = project("lock", code=1)
    assert "what building takes does not go with the packages of the environment" in refused.stderr


def test_two_stores_and_two_users_build_the_same(tools: Dsenv, store: Path, fresh: Path) -> None:
    names = ["library", "program", "report"]
    own = build(project=str(tools.directory), store=str(store), names=names)
    assert all(built["canonical"] for built in own.values())
    wrapper: tuple[str, ...] = ()
    if os.geteuid() == 0:
        wrapper = (*SOMEBODY, *READING, "--")
        os.chown(fresh, 4321, 4321)
    other = build(*wrapper, project=str(tools.directory), store=str(fresh), names=names)
    assert "error" not in other, other
    for name, built in own.items():
        assert other[name]["sha256"] == built["sha256"], name
        assert other[name]["path"].startswith(str(fresh))
    assert Path(own["report"]["path"]).read_text() == (CASES / "report.txt").read_text()
    assert not [*(fresh / "scratch").iterdir()]


def test_beside_the_machine_results_are_kept_apart(tools: Dsenv, store: Path) -> None:
    plan = {"project": str(tools.directory), "store": str(store), "names": ["library", "program"]}
    found = build(**plan, beside=True)
    assert set(found) == {"library", "program"}
    if any(built["canonical"] for built in found.values()):
        for path in (store / "builds").iterdir():
            shutil.rmtree(path)
        found = build(**plan, beside=True)
    assert not any(built["canonical"] for built in found.values())
    again = build(**plan)
    assert all(built["canonical"] for built in again.values())
    assert {built["path"] for built in again.values()}.isdisjoint(built["path"] for built in found.values())


def test_a_failing_build_tells_what_to_add(tools: Dsenv, store: Path) -> None:
    told = build(project=str(tools.directory), store=str(store), names=["broken", "library"])
    assert told["error"] == "1 package could not be built"
    assert "broken.c:2:10: fatal error: libpq-fe.h: No such file or directory" in told["cause"]
    assert 'libpq-fe.h is missing: add "libpq-dev" to [system] build and run `dsenv lock`' in told["cause"]
    log = Path(told["cause"].rpartition("the whole log: ")[2].splitlines()[0])
    assert "compilation terminated" in log.read_text()


@pytest.mark.parametrize("beside", [False, True], ids=["entered", "beside"])
def test_a_kill_leaves_nothing_behind(tools: Dsenv, store: Path, *, beside: bool) -> None:
    plan = {"project": str(tools.directory), "store": str(store), "names": ["slow"], "beside": beside}
    seconds = f"{5000 + os.getpid()}.{int(beside)}"
    process = start(**plan, seconds=seconds)
    _wait_for(lambda: len(_sleeping(seconds)) == 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _wait_for(lambda: not _sleeping(seconds))
    assert str(store / "scratch") not in Path("/proc/mounts").read_text()
    answer = build(**plan, seconds=f"0.{seconds.replace('.', '')}")
    assert answer["slow"]["canonical"] is not beside
    assert not [*(store / "scratch").glob("build-*")]


def _sleeping(seconds: str) -> list[int]:
    """Return the processes that sleep for so long."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _wait_for(condition: Any) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen")
