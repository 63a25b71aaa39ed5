"""Shared values: targets, artifacts, digests, addresses, and R's versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv.ecosystems.r.requests import parse_request
from dsenv.ecosystems.r.versions import RVersion
from dsenv.pins import TARGETS, Artifact, Target, digest, without_credentials

HASH = "0" * 64
R_VERSIONS = st.lists(st.integers(0, 30), min_size=1, max_size=5).map(lambda parts: ".".join(map(str, parts)))


@pytest.mark.parametrize("text", TARGETS)
def test_targets_read_back(text: str) -> None:
    assert str(Target.parse(text)) == text


@pytest.mark.parametrize("text", ["linux", "linux-386", "Linux-amd64", "", "linux-amd64-x"])
def test_other_targets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a target"):
        Target.parse(text)


@pytest.mark.parametrize("filename", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_an_artifact_is_a_plain_file(filename: str) -> None:
    with pytest.raises(ValueError, match="not a file name"):
        Artifact(filename=filename, sha256=HASH)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "G" * 64, HASH.replace("0", "A")])
def test_an_artifact_has_a_hash(sha256: str) -> None:
    with pytest.raises(ValueError, match="not a sha256"):
        Artifact(filename="a", sha256=sha256)


def test_a_digest_has_one_form() -> None:
    assert digest({"b": 1, "a": ["ä"]}) == digest({"a": ["ä"], "b": 1})
    assert digest([1]) != digest(["1"])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:secret@host.example/simple", "https://host.example/simple"),
        ("https://host.example/a.whl?token=secret", "https://host.example/a.whl"),
        ("http://host.example/a@b", "http://host.example/a@b"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


@given(R_VERSIONS, R_VERSIONS)
def test_r_versions_are_ordered(left: str, right: str) -> None:
    one, other = RVersion(left), RVersion(right)
    assert (one < other) + (one == other) + (one > other) == 1
    assert RVersion(left.replace(".", "-")) == one
    assert hash(RVersion(f"{left}.0")) == hash(one)


@pytest.mark.parametrize(
    ("version", "comparison", "bound", "holds"),
    [
        ("1.2", "==", "1.2.0", True),
        ("1.01", "==", "1.1", True),
        ("0.8-84", ">=", "0.8.84", True),
        ("3.4.1", ">=", "3.4", True),
        ("3.10", "<", "3.9", False),
        ("1.0.10", ">", "1.0.9", True),
        ("2", "!=", "2.0", False),
    ],
)
def test_r_bounds(version: str, comparison: str, bound: str, holds: bool) -> None:  # noqa: FBT001
    assert RVersion(version).satisfies(comparison, RVersion(bound)) is holds


@pytest.mark.parametrize("text", ["", "1.a", "v1", "1..2", "1.2\n"])
def test_what_is_no_r_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        RVersion(text)


def test_r_requests_have_bounds() -> None:
    request = parse_request(" ggplot2 >= 3.4, < 4 ")
    assert str(request) == "ggplot2>=3.4,<4"
    assert request.allows(RVersion("3.5"))
    assert not request.allows(RVersion("4.0.0"))
