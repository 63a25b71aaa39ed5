"""``dsenv add`` and ``dsenv remove``: dsenv.toml, the lock and the environment move together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]


def test_packages_come_and_go(small: Dsenv) -> None:
    spec = small.directory / "dsenv.toml"
    spec.write_text(spec.read_text().replace('"idna"]', '"idna"]  # ours'))
    small("add", "idna==3.6", "iniconfig")
    assert 'packages = ["six", "idna==3.6", "iniconfig"]  # ours' in spec.read_text()
    code = "import idna, iniconfig; print(idna.__version__)"
    assert small("run", "--", "python", "-c", code).stdout == "3.6\n"

    before, locks = spec.read_bytes(), small.locks()
    refused = small("add", "idna>=99", code=1)
    assert "no solution" in refused.stderr
    assert (spec.read_bytes(), small.locks()) == (before, locks)

    small("remove", "iniconfig", "--no-restore")
    assert "iniconfig" not in small.versions()
    assert small("run", "--", "python", "-c", code).stdout == "3.6\n"  # the environment is still the one before
