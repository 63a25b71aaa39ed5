"""What was built goes from one store to another by way of a plain directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dsenv.errors import IntegrityError
from dsenv.outputs import building, handover
from dsenv.outputs.workshop import Workshop
from dsenv.progress import Silent
from dsenv.store import Store
from tests.unit.test_workshop import beside, demand

if TYPE_CHECKING:
    from pathlib import Path

WANTED = demand({"one": "", "two": ""}, {"two": ["one"]})


def _workshop(store: Path, *made: str) -> Workshop:
    """Return a workshop whose store has these results, as one that can enter a root has made them."""
    workshop = Workshop(WANTED, Store(store), Silent())
    workshop.forbidden = ""
    for name in made:
        (store / "out").mkdir(parents=True, exist_ok=True)
        (store / "out" / f"{name}.tar").write_text(f"the files of {name}")
        workshop.keep(workshop.orders["x", name], store / "out" / f"{name}.tar", 1.0)
    if made:
        del workshop.orders
    return workshop


def test_what_one_store_has_another_need_not_build(tmp_path: Path) -> None:
    written = handover.export(_workshop(tmp_path / "a", "one", "two"), tmp_path / "shelf")
    assert [order.build.title for order in written] == ["one 1", "two 1"]
    assert handover.export(_workshop(tmp_path / "a"), tmp_path / "shelf") == [], "it is there already"
    other = beside(WANTED, tmp_path / "b")
    other.forbidden = "no namespaces here"
    assert [order.build.title for order in handover.take(other, tmp_path / "shelf")] == ["one 1", "two 1"]
    again = beside(WANTED, tmp_path / "b")
    assert again.lacking == []
    assert {name: built.path.read_text() for name, built in building.make(again)["x"].items()} == {
        "one": "the files of one",
        "two": "the files of two",
    }
    assert all(built.canonical for built in building.make(again)["x"].values())


def test_what_is_not_there_stays_to_be_built(tmp_path: Path) -> None:
    handover.export(_workshop(tmp_path / "a", "one"), tmp_path / "shelf")
    other = _workshop(tmp_path / "b")
    assert [order.build.title for order in handover.take(other, tmp_path / "shelf")] == ["one 1"]
    del other.orders
    assert [order.build.title for order in other.lacking] == ["two 1"]


def test_what_tools_of_a_machine_took_part_in_is_not_handed_over(tmp_path: Path) -> None:
    workshop = beside(WANTED, tmp_path / "a")
    (tmp_path / "one").write_text("this machine's")
    workshop.keep(workshop.orders["x", "one"], tmp_path / "one", 1.0)
    del workshop.orders
    assert [order.build.title for order in workshop.lacking] == ["two 1"]
    assert handover.export(workshop, tmp_path / "shelf") == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"title": "two 1"}, "is not about one 1"),
        ({"format": 2}, "is not about one 1"),
        ({"file": "../../etc/passwd"}, "is damaged"),
        ({"file": "two.tar"}, "is not the file that"),
        ({"sha256": "0" * 64}, "is not the file that"),
        ({"sha256": "0"}, "is damaged"),
    ],
)
def test_a_directory_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    handover.export(_workshop(tmp_path / "a", "one"), tmp_path / "shelf")
    (facts,) = (tmp_path / "shelf").glob("*/facts.json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), **changes}))
    with pytest.raises(IntegrityError, match=told):
        handover.take(_workshop(tmp_path / "b"), tmp_path / "shelf")
    assert len(_workshop(tmp_path / "b").lacking) == 2
