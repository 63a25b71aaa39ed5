"""Two engines, one lock: uv and pip-tools find the same pins where there is one answer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]
PYTHON = Path("/usr/bin/python3.11")
SETS = [
    ["six"],
    ["requests==2.32.3", "urllib3<2.3"],
    ["pandas==2.2.3", "numpy<2"],
    ["requests[socks]==2.32.3"],
    ["flask==3.0.3", "werkzeug<3.1"],
    ["httpx[http2]==0.27.2"],
    ["redis==5.0.8"],
    ["pydantic==2.9.2"],
    ["scikit-learn==1.5.2", "scipy<1.15"],
    ["sqlalchemy[asyncio]==2.0.36", "importlib-metadata; python_version < '3.8'"],
    ["pytest==8.3.3", "pluggy==1.5.0", "colorama; sys_platform == 'win32'"],
    ["jinja2==3.1.4", "markupsafe<3"],
]


@pytest.fixture(autouse=True)
def _has_the_locked_python() -> None:
    if not PYTHON.exists():
        pytest.skip(f"there is no {PYTHON} on this machine")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Dsenv:
    """Return a project with a locked system and no Python packages yet."""
    project = Dsenv(tmp_path_factory.mktemp("bare"), store)
    _spec(project, "uv", [])("lock")
    return project


def _spec(dsenv: Dsenv, resolver: str, requirements: list[str], more: str = "") -> Dsenv:
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    return dsenv.spec(f'[python]\nversion = "3.11"\nresolver = "{resolver}"\npackages = [{listed}]\n{more}')


def _pins(dsenv: Dsenv) -> str:
    """Return pylock.toml without what an engine that answers for one place cannot know."""
    text = dsenv.locks()["pylock.toml"].decode().partition("[tool.dsenv")[0]
    text = re.sub(r"(?m)^requires-python = .*\n", "", text)
    text = re.sub(r"(?m)^marker = \"python_full_version < .*\n", "", text)
    return re.sub(r"(?m)^dependencies = \[\n(?:    .*\n)*\]\n", "", text)


@pytest.mark.parametrize("requirements", SETS, ids=lambda requirements: requirements[0])
def test_both_engines_lock_the_same(bare: Dsenv, tmp_path: Path, requirements: list[str]) -> None:
    project = bare.copy(tmp_path / "project")
    found = []
    for resolver in ("pip-tools", "uv"):
        (project.directory / "pylock.toml").unlink()  # neither is given the other's pins
        completed = _spec(project, resolver, requirements)("lock")
        alone = "pip-tools has resolved for linux-amd64 and Python 3.11.2 alone"
        assert (alone in completed.stderr) == (resolver == "pip-tools")
        found.append(_pins(project))
    assert found[0] == found[1]


def test_pip_tools_groups_pins_and_constraints(dsenv: Dsenv) -> None:
    more = 'constraints = ["numpy<2.1"]\ngroups = { dev = ["pytest==8.3.3", "pandas"] }\n'
    _spec(dsenv, "pip-tools", ["pandas==2.2.2", "idna==3.6"], more)("lock")
    text = dsenv.locks()["pylock.toml"].decode()
    assert re.search(r'name = "pytest"\nversion = "8.3.3"\nmarker = "\'dev\' in dependency_groups"', text)
    assert re.search(r'name = "numpy"\nversion = "2\.0\.', text)
    _spec(dsenv, "pip-tools", ["pandas==2.2.2", "idna"], more)("lock")
    assert 'name = "idna"\nversion = "3.6"' in dsenv.locks()["pylock.toml"].decode()
    dsenv("lock", "--upgrade-package", "idna")
    assert 'name = "idna"\nversion = "3.6"' not in dsenv.locks()["pylock.toml"].decode()
    dsenv("restore", "--group", "dev")
    assert dsenv("run", "--", "python", "-m", "pytest", "--version").stdout.strip() == "pytest 8.3.3"


def test_pip_tools_takes_pips_settings(dsenv: Dsenv, tmp_path: Path) -> None:
    """pip.conf counts; what lies in a directory of this machine alone is told, and locked by nobody."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    from tests.integration.index import wheel  # noqa: PLC0415 - beside its only use

    (wheels / "dsenv_only_here-1.0-py3-none-any.whl").write_bytes(wheel("dsenv_only_here", "1.0"))
    (tmp_path / "pip.conf").write_text("[global]\n")
    _spec(dsenv, "pip-tools", ["dsenv-only-here"])
    completed = dsenv("lock", code=1, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"), PIP_FIND_LINKS=str(wheels))
    assert "pip took packages that no index lists" in completed.stderr
    assert "dsenv-only-here 1.0" in completed.stderr
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 0\n")
    completed = dsenv("lock", code=1, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert "127.0.0.1" in completed.stderr


def test_what_has_no_solution_names_its_chain(dsenv: Dsenv) -> None:
    completed = _spec(dsenv, "pip-tools", ["requests>=2.32", "idna<2.5"])("lock", code=1)
    assert "have no solution" in completed.stderr
    for word in ("requests", "idna"):
        assert word in completed.stderr
    assert "Traceback" not in completed.stderr


def test_another_python_than_the_locked_one_is_told(dsenv: Dsenv) -> None:
    """pip resolves under the interpreter that it runs on; another patch would lock other things."""
    hide = f'mount --bind /dev/null {PYTHON}; exec "$@"'
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    _spec(dsenv, "pip-tools", ["six"])
    own = type(dsenv)(dsenv.directory, dsenv.directory.parent / "store")
    completed = own("lock", code=1, wrapper=("unshare", "--mount", "sh", "-c", hide, "sh"))
    assert "this machine has no 3.11.2" in completed.stderr


def test_an_old_pin_is_pointed_out(dsenv: Dsenv) -> None:
    completed = _spec(dsenv, "uv", ["idna<3", "six"])("lock")
    assert re.search(r"warning: idna 2\.10 \(2020-\d\d-\d\d\) is \d years behind its newest release", completed.stderr)
