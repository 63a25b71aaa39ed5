"""The file formats: canonical TOML, positions in TOML, deb822 stanzas."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv.formats import deb822
from dsenv.formats.toml_lines import key_lines
from dsenv.formats.toml_write import Inline, Lines, dumps, spread

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCALARS = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda value: value.replace(tzinfo=UTC)),  # noqa: DTZ001
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


@given(DOCUMENTS)
def test_what_is_written_reads_back(document: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(document)) == document


@given(DOCUMENTS)
def test_writing_is_canonical(document: dict[str, Any]) -> None:
    text = dumps(document)
    assert dumps(tomllib.loads(text)) == text


@given(DOCUMENTS)
def test_every_key_has_a_line(document: dict[str, Any]) -> None:
    text = dumps(document)
    lines = key_lines(text)
    count = text.count("\n") + 1

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if path:
            assert 1 <= lines[path] <= count
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, (*path, index))

    walk(document, ())


def test_lists_and_tables_have_one_form() -> None:
    text = dumps(
        {
            "name": "x",
            "short": ["a", "b"],
            "lines": Lines(["a"]),
            "table": {"inner": {"key": 1}},
            "rows": [{"name": "one"}, {"name": "two", "links": [Inline(a=1)]}],
        }
    )
    assert text == (
        'name = "x"\nshort = ["a", "b"]\nlines = [\n    "a",\n]\n\n[table.inner]\nkey = 1\n\n[[rows]]\nname = "one"\n\n'
        '[[rows]]\nname = "two"\nlinks = [\n    { a = 1 },\n]\n'
    )


def test_spread_reaches_inner_tables() -> None:
    assert dumps(spread({"a": {"b": ["x"]}})) == '[a]\nb = [\n    "x",\n]\n'


def test_none_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        dumps({"a": [None]})


LINES = '''\
# a comment with [brackets] = "and" quotes
title = "x"            # 2
"quoted key".'b' = 1   # 3

[python]               # 5
packages = [           # 6
    "a",               # 7: ] is no end in a "string ]"
    """multi
    line ] """,        # 8 to 9
    'c',               # 10
]
groups = { dev = ["x", "y"], docs = [] }   # 12
[python.inner]         # 13
key = 1979-05-27       # 14
[[rows]]               # 15
name = 'one'           # 16
[[rows]]               # 17
name = "two"           # 18
[rows.sub]             # 19
deep.er = [[1, 2], [3]]   # 20
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted key", "b"), 3),
        (("python",), 5),
        (("python", "packages"), 6),
        (("python", "packages", 0), 7),
        (("python", "packages", 1), 8),
        (("python", "packages", 2), 10),
        (("python", "groups", "dev", 1), 12),
        (("python", "groups", "docs"), 12),
        (("python", "inner", "key"), 14),
        (("rows", 0, "name"), 16),
        (("rows", 1), 17),
        (("rows", 1, "name"), 18),
        (("rows", 1, "sub"), 19),
        (("rows", 1, "sub", "deep", "er", 1, 0), 20),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_of_hand_written_toml(path: tuple[str | int, ...], line: int, newline: str) -> None:
    text = LINES.replace("\n", newline)
    tomllib.loads(text)
    assert key_lines(text)[path] == line


def test_stanzas_continue_and_end() -> None:
    text = "# comment\nPackage: a\nDescription: first\n  second\n .\nEmpty:\n\n\nPackage: b\n"
    assert list(deb822.stanzas(text)) == [
        {"Package": "a", "Description": "first\nsecond\n.", "Empty": ""},
        {"Package": "b"},
    ]
    assert deb822.one_stanza("\n\n") == {}
    assert deb822.one_line("a,\n b") == "a, b"


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85", "\r"])
def test_a_value_ends_with_its_line(character: str) -> None:
    """Other characters at which Python splits lines begin no field."""
    text = f"Package: a\r\nDescription: x{character}SHA256: evil\r\n\r\nPackage: b"
    assert list(deb822.stanzas(text)) == [
        {"Package": "a", "Description": f"x{character}SHA256: evil"},
        {"Package": "b"},
    ]


@given(st.text(max_size=80))
def test_stanzas_never_fail(text: str) -> None:
    for stanza in deb822.stanzas(text):
        assert stanza
