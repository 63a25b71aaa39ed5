"""The index of a repository, R's version rules, listings: what is read of texts, whatever they look like."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv.ecosystems.r import description
from dsenv.ecosystems.r.cran.index import Index, read
from dsenv.ecosystems.r.cran.repositories import parse_listing
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import DownloadError
from dsenv.formats import deb822

CASES = sorted((Path(__file__).parents[1] / "cases" / "packages").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path) -> None:
    """Every row is found by its name, and reads as a reader of the whole file has it."""
    text = case.read_bytes().decode()
    index = Index(text)
    expected = [row for row in deb822.stanzas(text) if "Package" in row]
    assert len(index) == len(expected)
    for name in {row["Package"] for row in expected}:
        assert index.rows(name) == [row for row in expected if row["Package"] == name]


_WORD = st.text("abcXYZ019.-", min_size=1, max_size=8)
_FIELD = st.tuples(st.sampled_from(["Version", "Imports", "Title", "License", "Path"]), _WORD, st.booleans())
_ROW = st.tuples(_WORD, st.lists(_FIELD, max_size=4, unique_by=lambda field: field[0]), st.integers(0, 4))


@given(st.lists(_ROW, max_size=6), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", " ", "\t "]))
def test_any_index(rows: list[tuple[str, list[tuple[str, str, bool]], int]], end: str, blank: str) -> None:
    """Wherever the name stands in its row, however lines end, whatever white space stands in empty lines."""
    texts = []
    for name, fields, place in rows:
        lines = [f"{key}: {value}" + (f"{end}  more {value}" if folded else "") for key, value, folded in fields]
        lines.insert(min(place, len(lines)), f"Package: {name}")
        texts.append(end.join(lines) + end)
    text = f"{blank}{end}".join(texts)
    index = Index(text)
    whole = list(deb822.stanzas(text))
    assert len(index) == len(rows)
    for name in {name for name, _, _ in rows}:
        assert index.rows(name) == [row for row in whole if row.get("Package") == name]
    assert not index.rows("nowhere")


@given(st.binary(max_size=200))
def test_what_is_no_index_is_refused_or_empty(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("index") / "PACKAGES"
    path.write_bytes(content)
    try:
        assert len(read(path, "x")) >= 0
    except DownloadError as error:
        assert error.sentence.startswith("x is ")


def test_a_compressed_index(tmp_path: Path) -> None:
    path = tmp_path / "PACKAGES.gz"
    path.write_bytes(gzip.compress("Package: aa\nVersion: 1.0\nTitle: \xe4\n".encode("latin-1")))
    assert read(path, "x").rows("aa") == [{"Package": "aa", "Version": "1.0", "Title": "ä"}]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DownloadError, match="x is a damaged index"):
        read(path, "x")
    path.write_text("<html>Please log in</html>")
    with pytest.raises(DownloadError, match="x is no index of R packages"):
        read(path, "x")


_NUMBERS = st.lists(st.integers(0, 10**12), min_size=1, max_size=6)


def _spelled(numbers: list[int], separators: str, zeros: int) -> str:
    parts = [f"{'0' * (zeros if place else 0)}{number}" for place, number in enumerate(numbers)]
    return "".join(
        f"{'' if place == 0 else separators[place % len(separators)]}{part}" for place, part in enumerate(parts)
    )


@given(_NUMBERS, _NUMBERS, st.sampled_from([".", "-", ".-", "-."]), st.integers(0, 2), st.integers(0, 3))
def test_versions_compare_as_r_compares_them(
    one: list[int], other: list[int], separators: str, zeros: int, missing: int
) -> None:
    """Component by component; missing ones count as 0, ``-`` is ``.``, leading zeros mean nothing."""
    length = max(len(one), len(other)) + missing
    padded = [numbers + [0] * (length - len(numbers)) for numbers in (one, other)]
    left, right = RVersion(_spelled(one, separators, zeros)), RVersion(_spelled(other, ".", 0))
    assert (left < right) == (padded[0] < padded[1])
    assert (left == right) == (padded[0] == padded[1])
    assert (left >= right) == (padded[0] >= padded[1])
    assert left == RVersion(_spelled(one + [0] * missing, ".", 0))
    if left == right:
        assert hash(left) == hash(right)
    for operator, holds in ((">=", left >= right), ("<", left < right), ("==", left == right), ("!=", left != right)):
        assert left.satisfies(operator, right) == holds


@pytest.mark.parametrize("text", ["", "1.", "a", "1.2a", ".1", "1..2", "1 2", "r123", "1\n", "\u0661"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        RVersion(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R (>= 3.5), methods", ["R (>= 3.5)", "methods"]),
        ("R (>= 2.10),", ["R (>= 2.10)"]),
        ("lifecycle (>=\n1.0.5), R6", ["lifecycle (>= 1.0.5)", "R6"]),
        ("a.b (>= 0.7-0)", ["a.b (>= 0.7-0)"]),
        ("R (>= r12345), x(<2)", ["R", "x (< 2)"]),
        (" ,, (>= 1), 1x", []),
        ("R(>=3.0)stats", ["R (>= 3.0)"]),
    ],
)
def test_dependencies(text: str, expected: list[str]) -> None:
    assert [str(item) for item in description.dependencies({"Depends": text}, ("Depends",))] == expected


APACHE = (
    '<a href="aa_1.0.tar.gz">aa_1.0.tar.gz</a>   2020-05-06 12:30   1.2M\n<a href="aa_1.0-1.tar.gz">x</a> 2021-01-02 '
)
NGINX = (
    '<a href="aa_1.0.tar.gz">aa_1.0.tar.gz</a>    06-May-2020 12:30    123\n<a href="aa_1.0-1.tar.gz">x</a> 02-Jan-2021'
)
PLAIN = '<li><a href="aa_1.0.tar.gz">aa_1.0.tar.gz</a></li><li><a href="/cran/aa/aa_1.0-1.tar.gz">x</a></li>'


@pytest.mark.parametrize(("text", "dated"), [(APACHE, True), (NGINX, True), (PLAIN, False)])
def test_listings(text: str, dated: bool) -> None:  # noqa: FBT001
    found = parse_listing(text + '<a href="aab_2.0.tar.gz">y</a><a href="../">up</a><a href="aa_x.tar.gz">z</a>', "aa")
    assert {version: str(day) for version, day in found.items()} == (
        {"1.0": "2020-05-06", "1.0-1": "2021-01-02"} if dated else {"1.0": "None", "1.0-1": "None"}
    )
