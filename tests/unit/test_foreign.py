"""Other tools' locks in words of dsenv.toml. A case is a folder of tests/cases/foreign: lock, table, what is lost."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dsenv import spec
from dsenv.ecosystems.r.foreign import obstacles, translate
from dsenv.errors import LockFormatError, SpecError, WrongUseError
from dsenv.operations.init import init

CASES = sorted((Path(__file__).parents[1] / "cases" / "foreign").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path, tmp_path: Path) -> None:
    """``r.toml`` is the table, and ``lost.txt`` what could not be kept; the whole is a spec without faults."""
    lock = next(path for path in case.iterdir() if path.suffix == ".lock")
    result = init(tmp_path, source=lock)
    assert result.taken
    assert list(result.taken.lost) == (case / "lost.txt").read_text().splitlines()
    written = tomllib.loads(result.path.read_text())
    assert written["r"] == tomllib.loads((case / "r.toml").read_text())
    assert set(written) == {"project", "platform", "r"}
    assert spec.load(result.path).parts["r"]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "dsenv.toml").write_text("mine")
    with pytest.raises(WrongUseError, match="there is a dsenv"):
        init(tmp_path, source=CASES[0] / "pkg.lock")
    assert (tmp_path / "dsenv.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("renv.lock", "{}"),
        ("renv.lock", "[1]"),
        ("renv.lock", '{"R": {"Version": "x"}, "Packages": {}}'),
        ("renv.lock", '{"R": {"Version": "4.2"}, "Packages": {"a": 1}}'),
        ("rv.lock", "version = ["),
        ("rv.lock", 'r_version = "4.2"\npackages = [{ name = "a" }]'),
        ("pkg.lock", '{"lockfile_version": 2, "r_version": "4.2", "packages": []}'),
    ],
)
def test_what_cannot_be_read(name: str, text: str) -> None:
    with pytest.raises(LockFormatError, match=f"{name} cannot be read"):
        translate(name, text)


def test_what_is_no_lock_of_these(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text("")
    with pytest.raises(WrongUseError, match="is no lock that is known"):
        init(tmp_path, source=tmp_path / "poetry.lock")
    with pytest.raises(WrongUseError, match="there is no"):
        init(tmp_path, source=tmp_path / "renv.lock")


def test_what_a_lock_smuggles_in_is_no_spec(tmp_path: Path) -> None:
    (tmp_path / "renv.lock").write_text(
        '{"R": {"Version": "4.2", "Repositories": [{"Name": "x", "URL": "file:///etc"}]}, "Packages": {}}'
    )
    with pytest.raises(SpecError):
        init(tmp_path, source=tmp_path / "renv.lock")
    assert not (tmp_path / "dsenv.toml").exists()


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ('source("renv/activate.R")\n', "renv's library in place of the environment's: delete that line; `dsenv init"),
        ("options(x = 1)\nif (TRUE) source('renv/activate.R')\n", "renv's library"),
        ('source("packrat/init.R")', "packrat's library"),
        ('# source("renv/activate.R")\n', ""),
        ('source("analysis/setup.R")\n', ""),
    ],
)
def test_a_profile_that_hands_over_to_another_tool(tmp_path: Path, profile: str, told: str) -> None:
    assert obstacles(tmp_path) == ()
    (tmp_path / ".Rprofile").write_text(profile)
    found = obstacles(tmp_path)
    assert bool(found) == bool(told)
    assert all(told in sentence for sentence in found)
