"""Edits of dsenv.toml: what is added and removed, and that all else stays as its author wrote it."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from dsenv import spec_edit
from dsenv.errors import SpecError, WrongUseError
from dsenv.operations.edit import edited
from dsenv.project import Project
from dsenv.spec_edit import Entry

if TYPE_CHECKING:
    from pathlib import Path

_SPEC = """\
[project]
name = "x"  # ours

[platform]
base = "debian:12"
targets = ["linux-amd64"]

[python]
version = "3.11"
packages = [
  "pandas>=2.2",  # the tables
  { path = "pkgs/own" },
  # "scipy",
]

[system]
packages = ["jq"]
"""


@pytest.mark.parametrize(
    ("text", "part", "rest"),
    [
        ("pandas", "python", "pandas"),
        ("python:pandas>=2", "python", "pandas>=2"),
        ("r:dplyr", "r", "dplyr"),
        ("r:bioc::limma", "r", "bioc::limma"),
        ("system:g++", "system", "g++"),
        ("own @ git+https://git.example/own", "python", "own @ git+https://git.example/own"),
    ],
)
def test_an_entry_says_its_part(text: str, part: str, rest: str) -> None:
    assert Entry.parse(text) == Entry(part, rest)


def test_added_packages_get_lines_of_their_own() -> None:
    after = spec_edit.add(_SPEC, [Entry.parse("numpy>=2"), Entry.parse("system:pandoc")])
    assert after == _SPEC.replace('  # "scipy",\n', '  # "scipy",\n  "numpy>=2",\n').replace('"jq"', '"jq", "pandoc"')


@pytest.mark.parametrize("name", ["pandas==2.3", "Pandas == 2.3", "pandas[excel]==2.3"])
def test_a_package_that_is_there_is_replaced(name: str) -> None:
    assert spec_edit.add(_SPEC, [Entry.parse(name)]) == _SPEC.replace("pandas>=2.2", name)


def test_groups_are_made() -> None:
    after = spec_edit.add(_SPEC, [Entry.parse("pytest")], group="dev")
    assert tomllib.loads(after)["python"]["groups"] == {"dev": ["pytest"]}


def test_a_removed_package_leaves_the_others_alone() -> None:
    assert spec_edit.remove(_SPEC, [Entry.parse("system:jq")]) == _SPEC.replace('"jq"', "")
    assert "own" not in spec_edit.remove(_SPEC, [Entry.parse("own")])


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(WrongUseError, match="does not name jq") as caught:
        spec_edit.remove(_SPEC, [Entry.parse("jq")])
    assert "system:jq" in caught.value.hint


def test_a_missing_table_is_a_persons_to_write() -> None:
    with pytest.raises(WrongUseError, match=r"no table \[r\]"):
        spec_edit.add(_SPEC, [Entry.parse("r:dplyr")])
    assert tomllib.loads(spec_edit.add("", [Entry.parse("system:jq")])) == {"system": {"packages": ["jq"]}}


def _project(directory: Path, text: str = _SPEC.replace('  { path = "pkgs/own" },\n', "")) -> Project:
    (directory / "dsenv.toml").write_bytes(text.encode())
    return Project(directory)


def test_a_failure_brings_the_old_file_back(tmp_path: Path) -> None:
    project = _project(tmp_path)
    before = project.spec.read_bytes()
    with pytest.raises(ZeroDivisionError), edited(project, lambda text: text.replace("2.2", "2.3")) as spec:
        assert spec.parts["python"].packages == ("pandas>=2.3",)
        raise ZeroDivisionError
    with pytest.raises(SpecError), edited(project, lambda text: text.replace("pandas", "-")):
        pass
    assert project.spec.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["dsenv.toml"]


def test_lines_keep_their_ends(tmp_path: Path) -> None:
    project = _project(tmp_path, "\ufeff" + _SPEC.replace('  { path = "pkgs/own" },\n', "").replace("\n", "\r\n"))
    with edited(project, lambda text: spec_edit.add(text, [Entry.parse("numpy")])):
        pass
    content = project.spec.read_bytes()
    assert b"numpy" in content
    assert content.count(b"\r\n") == content.count(b"\n")


def test_somebody_elses_change_is_not_lost(tmp_path: Path) -> None:
    project = _project(tmp_path)
    with pytest.raises(WrongUseError, match="somebody else"), edited(project, lambda text: text + "\n# a"):
        project.spec.write_text("theirs")
        raise ZeroDivisionError
    assert project.spec.read_text() == "theirs"
