"""The frozen slice of CRAN on loopback: real packages, locked with the distribution's real R."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import CRAN, EVERYTHING, Dsenv

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.apt,
    pytest.mark.cran,
    pytest.mark.skipif(not CRAN.is_dir(), reason=f"the slice of CRAN is not at {CRAN}"),
]
OLD = {"tibble": "3.2.1", "vctrs": "0.6.3", "rlang": "1.1.1", "purrr": "1.0.1", "pillar": "1.9.0", "cli": "3.6.1"}


def _lock(project: Dsenv) -> Any:
    return tomllib.loads(project.locks()["dsenv.lock"].decode())


def _versions(project: Dsenv) -> dict[str, str]:
    return {row["name"]: row["version"] for row in _lock(project)["r"]["packages"]}


def test_one_lock_of_everything(everything: Dsenv) -> None:
    """Each hash is the slice's own; what R brings is the distribution's; system packages say who asked for them."""
    lock = _lock(everything)
    rows = {row["name"]: row for row in lock["r"]["packages"]}
    sums = [line.split() for line in (CRAN / "SHA256SUMS").read_text().splitlines()]
    hashes = {name.rpartition("/")[2]: sha256 for sha256, name in sums}
    sources = [row["source"] for row in rows.values() if "source" in row]
    assert len(sources) > 100
    assert all(source["sha256"] == [hashes[source["filename"]]] for source in sources)
    assert rows["Matrix"]["version"] == "1.5-3"
    assert rows["Matrix"]["artifacts"]["linux-amd64"]["kind"] == "deb"
    assert (rows["sf"]["why"], rows["sf"]["linking-to"], rows["sf"]["compiles"]) == (["requested"], ["Rcpp"], True)
    system = {row["name"]: row for row in lock["system"]["linux-amd64"]["packages"]}
    assert "r:sf" in system["libgdal32"]["why"]
    assert not system["libgdal32"].get("build")
    assert system["libgdal-dev"]["build"]
    assert system["libgdal-dev"]["why"] == ["r:sf"]
    assert {"r:knitr", "r:rmarkdown"} <= set(system["pandoc"]["why"])
    assert everything.json("lock")["fresh"]
    asked = set(EVERYTHING)
    while new := {name for row in map(rows.get, asked) if row for name in row.get("requires", ())} - asked:
        asked |= new
    assert {name for name, row in rows.items() if "source" in row} <= asked


@pytest.fixture(scope="module")
def _tidy(tmp_path_factory: pytest.TempPathFactory, store: Path, slice_: str) -> Dsenv:
    project = Dsenv(tmp_path_factory.mktemp("tidy"), store).r(slice_, ["tibble", "purrr"])
    project("lock")
    return project


@pytest.fixture
def tidy(_tidy: Dsenv, tmp_path: Path) -> Dsenv:
    """Return a project of a few packages, locked as of today; apt need not be asked again for other versions."""
    return _tidy.copy(tmp_path / "tidy")


def test_to_an_older_state_and_back(tidy: Dsenv, slice_: str) -> None:
    """What is locked stays until it is to move; then the lock is what it was before, byte by byte."""
    today, now = tidy.locks(), _versions(tidy)
    pinned = [f"{name}=={version}" for name, version in OLD.items()]
    tidy.r(slice_, pinned)("lock")
    before = tidy.locks()
    assert {name: _versions(tidy)[name] for name in OLD} == OLD
    tidy.r(slice_, ["tibble", "purrr"])("lock")
    assert {name: _versions(tidy)[name] for name in OLD} == OLD
    moved = tidy.json("lock", "--upgrade-package", "r:tibble")["moved"]
    assert {"purrr", "cli"}.isdisjoint(change["name"] for change in moved)
    assert _versions(tidy)["tibble"] == now["tibble"]
    tidy("lock", "--upgrade")
    assert tidy.locks() == today
    tidy.r(slice_, pinned)("lock")
    assert tidy.locks() == before


def test_one_old_pin_takes_what_it_needs_along(tidy: Dsenv, slice_: str) -> None:
    told = tidy.r(slice_, ["tibble==3.2.1", "purrr"])("lock").stderr
    assert "tibble 3.2.1 is of 2023-03-20: what it needs is taken as of then" in told
    found = _versions(tidy)
    assert (found["tibble"], found["fansi"]) == ("3.2.1", "1.0.4")  # today's tibble needs no fansi
    assert "no older version fits of" in told  # the slice's Archive has few of them


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        (["dplyr==1.1.4", "vctrs==0.6.3"], ["vctrs (>= 0.6.4), asked for by dplyr 1.1.4, asked for by [r] packages"]),
        (["tible"], ["tible is not in CRAN: near: tibble"]),
        (["a5R"], ["the index lists what the repository does not have: a5R 1.0.0 (CRAN)"]),
    ],
)
def test_what_cannot_be_locked(tidy: Dsenv, slice_: str, packages: list[str], told: list[str]) -> None:
    before = tidy.locks()
    said = tidy.r(slice_, packages)("lock", code=1).stderr
    assert all(text in said for text in told), said
    assert tidy.locks() == before
