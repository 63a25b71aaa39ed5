"""dsenv.toml: what is right is read, and what is wrong is named. A case is a folder of tests/cases/spec."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsenv
from dsenv import spec, spec_edit
from dsenv.errors import Exit, SpecError, WrongUseError
from dsenv.formats import toml_write
from dsenv.pins import Target

CASES = sorted((Path(__file__).parents[1] / "cases" / "spec").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    """Every fault of ``dsenv.toml`` stands in ``faults.txt``, in order, and nothing else."""
    expected = (case / "faults.txt").read_text().splitlines()
    if not expected:
        spec.load(case / "dsenv.toml")
        return
    with pytest.raises(SpecError) as caught:
        spec.load(case / "dsenv.toml")
    assert caught.value.cause.splitlines() == expected
    assert caught.value.exit_code == Exit.WRONG_USE


EVIL = [
    "foo; touch x",
    "foo\nbar",
    "-foo",
    "--config=x",
    "$(id)",
    "`id`",
    "foo bar",
    "../foo",
    "/etc/passwd",
    "foo'",
    "",
]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize(
    "table",
    [
        '[python]\nversion = "3.11"\npackages = [{}]',
        '[python]\nversion = "3.11"\ngroups = {{ dev = [{}] }}',
        '[python]\nversion = "3.11"\nexclude = [{}]',
        '[r]\nversion = "4.2"\nrepositories = ["apt"]\npackages = [{}]',
        "[system]\npackages = [{}]",
    ],
)
def test_what_no_package_is_called_is_refused(table: str, name: str) -> None:
    head = '[project]\nname = "x"\n[platform]\nbase = "bootstrap:debian:bookworm"\ntargets = ["linux-amd64"]\n'
    with pytest.raises(SpecError):
        spec.parse(head + table.format(json.dumps(name)))


@pytest.mark.parametrize(
    "base", [*EVIL, "bootstrap:debian", "bootstrap:Debian:bookworm", "debian:book worm", "a@sha256:1"]
)
def test_what_is_no_base_is_refused(base: str) -> None:
    with pytest.raises(SpecError):
        spec.parse(f'[project]\nname = "x"\n[platform]\nbase = {json.dumps(base)}\ntargets = ["linux-amd64"]\n')


_SCALARS = st.one_of(st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["linux-amd64", "4.2", "a>=1"]))
_KEYS = st.one_of(
    st.sampled_from(["project", "platform", "python", "r", "system", "image", "name", "base", "targets", "version"]),
    st.sampled_from(["packages", "groups", "indexes", "from", "build", "copy", "ports", "tools", "as-of", "url"]),
    st.text(max_size=5),
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=6))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        spec.parse(toml_write.dumps(document))
    except SpecError as error:
        assert error.cause
        assert all(re.match(r"dsenv\.toml:\d+: ", line) for line in error.cause.split("\n"))


@pytest.mark.parametrize("text", ["x = " + "9" * 5000, "x = " + "[" * 5000 + "]" * 5000])
def test_what_python_cannot_count_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not valid TOML"):
        spec.parse(text)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[platform]\nbase = "debian:12"\ntargets = ["linux-amd64"]\n'
    (tmp_path / "dsenv.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert spec.load(tmp_path / "dsenv.toml").project.name == "x"


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        spec.parse(text)
    except SpecError as error:
        assert error.cause


def test_a_right_file_is_read_whole() -> None:
    found = spec.parse("""
        [project]
        name = "penguins"
        [platform]
        base = "debian:bookworm-slim"
        targets = ["linux-arm64", "linux-amd64", "linux-amd64"]
        [python]
        version = "3.11"
        packages = ["pandas>=2.2"]
        [image]
        ports = [8000]
    """)
    assert found.platform.targets == (Target("linux", "amd64"), Target("linux", "arm64"))
    assert found.parts["python"].packages == ("pandas>=2.2",)
    assert found.parts["r"] is None
    assert found.parts["system"].packages == ()
    assert found.image.ports == (8000,)


def test_no_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=r"no dsenv\.toml") as caught:
        spec.load(tmp_path / "dsenv.toml")
    assert "dsenv init" in caught.value.hint


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dsenv.toml").write_bytes(b"# \xff\n")
    with pytest.raises(SpecError, match="UTF-8"):
        spec.load(tmp_path / "dsenv.toml")


def test_the_shipped_schema_is_current() -> None:
    shipped = Path(dsenv.__file__).parent / "dsenv.schema.json"
    assert json.loads(shipped.read_text()) == spec.schema(), "run: dsenv schema > dsenv/dsenv.schema.json"


@pytest.mark.parametrize("name", ["My Project (2)", "penguins", "___", "Ünïcode", "a" * 300])
def test_the_starter_file_is_valid(name: str) -> None:
    found = spec.parse(spec_edit.starter(name, "linux-arm64"))
    assert found.platform.targets == (Target("linux", "arm64"),)
    assert found.project.name == spec_edit.project_name(name)
