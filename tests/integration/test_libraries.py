"""What wheels take from the system: locked with the package that has it, or named before the import fails."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.elf import shared_library
from tests.integration import index as fake

if TYPE_CHECKING:
    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]


def _why(project: Dsenv) -> dict[str, list[str]]:
    rows = tomllib.loads(project.locks()["dsenv.lock"].decode())["system"]["linux-amd64"]["packages"]
    return {row["name"]: row["why"] for row in rows}


def test_a_known_need_is_locked_and_an_unknown_one_named(dsenv: Dsenv) -> None:
    """The need of a package that only the resolution reveals is met, too; nothing is said of what is met."""
    library = shared_library(needed=("libc.so.6", "libgomp.so.1", "libzbar.so.0"))
    with fake.serve() as index:
        index.add("lightgbm", "99", content=fake.wheel("lightgbm", "99", {"lightgbm/lib_lightgbm.so": library}))
        index.add("app", "1", content=fake.wheel("app", "1", requires=("lightgbm",)))
        dsenv.spec('[python]\nversion = "3.11"\npackages = ["app"]\n')
        dsenv("lock", UV_INDEX=index.url)
        assert _why(dsenv)["libgomp1"] == ["py:lightgbm"]
        completed = dsenv("restore", UV_INDEX=index.url)
        assert 'libzbar.so.0, wanted by lightgbm: add "libzbar0" to [system] packages' in completed.stderr
        assert "libgomp" not in completed.stderr
        dsenv.spec('[python]\nversion = "3.11"\npackages = ["app"]\n[system]\npackages = ["libzbar0"]\n')
        dsenv("lock", UV_INDEX=index.url)
        assert "wanted by" not in dsenv("restore", UV_INDEX=index.url).stderr


def test_a_package_that_needs_the_system_works_after_one_restore(dsenv: Dsenv) -> None:
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["lightgbm", "scikit-learn"]\n')("lock")
    assert _why(dsenv)["libgomp1"] == ["py:lightgbm"]
    completed = dsenv("restore")
    assert "libgomp.so.1 comes twice: within scikit-learn" in completed.stderr
    path = dsenv("run", "--", "python", "-c", "import lightgbm; print(open('/proc/self/maps').read())").stdout
    assert f"{dsenv.current}/root/usr/lib/x86_64-linux-gnu/libgomp.so.1" in path
