"""What moved between two locks, and locks that version control has left in two halves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv import locks, spec
from dsenv.formats import conflicts
from dsenv.operations import changes
from tests.unit.test_locks import SPEC, _locks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("", "1.0", "new"),
        ("1.0", "", "gone"),
        ("1.9.3", "2.0", "major"),
        ("1.9.3", "1.10.0", "minor"),
        ("1.9.3", "1.9.4", "patch"),
        ("1:2.3-1", "1:2.3-1+deb12u1", "patch"),
        ("2.0", "1.9", "back"),
        ("2024.1", "2025.2", "major"),
    ],
)
def test_a_step_has_a_size(old: str, new: str, step: str) -> None:
    assert changes.step(old, new) == step


def test_what_moved_is_told_by_part() -> None:
    before, after = _locks(), _locks()
    pins = after.parts["r"].pins
    moved = pins.model_copy(update={"packages": (pins.packages[0].model_copy(update={"version": "1.7.0"}),)})
    after = locks.Locks(
        targets=after.targets, parts={**after.parts, "r": locks.Part(pins=moved, inputs=after.parts["r"].inputs)}
    )
    (change,) = changes.between(before, after)
    assert (change.part, change.name, change.old, change.new, change.step) == ("r", "glue", "1.6-2", "1.7.0", "minor")
    assert list(changes.between(None, after)) == []


LINES = st.lists(st.sampled_from(["a", "b", "", "= 1", "=======x"]), max_size=5)


@given(LINES, LINES, LINES, LINES, st.booleans())
def test_both_sides_come_out(head: list[str], ours: list[str], theirs: list[str], tail: list[str], base: bool) -> None:  # noqa: FBT001
    old = ["||||||| merged", "old"] if base else []
    text = "\n".join([*head, "<<<<<<< HEAD", *ours, *old, "=======", *theirs, ">>>>>>> other", *tail])
    assert conflicts.is_torn(text)
    assert conflicts.sides(text) == ("\n".join([*head, *ours, *tail]), "\n".join([*head, *theirs, *tail]))


def test_a_whole_text_has_equal_sides() -> None:
    assert conflicts.sides("a\n=======\nb") == ("a\n=======\nb", "a\n=======\nb")
    assert not conflicts.is_torn("a\n=======\nb")


def test_both_sides_of_a_merge_are_read(tmp_path: Path) -> None:
    """Each file may be torn on its own; the other is the same on both sides."""
    locks.write(tmp_path, _locks())
    path = tmp_path / "pylock.toml"
    text = path.read_text()
    other = text.replace('version = "1"\n', 'version = "3"\n').replace("one-1-", "one-3-")
    path.write_text(f"<<<<<<< ours\n{text}=======\n{other}>>>>>>> theirs\n")
    ours, theirs = locks.read_previous(tmp_path)
    found = [str(held.parts["python"].pins.lock.packages[0].version) for held in (ours, theirs)]
    assert found == ["1", "3"]
    assert locks.differences(spec.parse(SPEC), ours) == []
