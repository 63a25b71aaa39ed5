"""Dates: an index as it stood at the end of a day, its exceptions, what was withdrawn, what is too young."""

from __future__ import annotations

import os
import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.integration import index as fake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Dsenv

pytestmark = pytest.mark.index
HEAD = """\
[project]
name = "test"
{project}

[platform]
base = "bootstrap:debian:bookworm"
targets = ["{target}"]

[python]
version = "3.11"
packages = [{packages}]
{python}
"""


@pytest.fixture
def index() -> Iterator[fake.Index]:
    with fake.serve() as found:
        found.json = True
        yield found


def _spec(
    dsenv: Dsenv, packages: str, *, project: str = "", python: str = "", target: str = "macos-arm64", url: str = ""
) -> Dsenv:
    text = HEAD.format(project=project, packages=packages, python=python, target=target)
    (dsenv.directory / "dsenv.toml").write_text(text)
    return type(dsenv)(dsenv.directory, dsenv.store, {**dsenv.env, **({"UV_INDEX": url} if url else {})})


def test_a_day_ends_at_midnight_utc(dsenv: Dsenv, index: fake.Index) -> None:
    """Whatever the machine's time zone is; the installer is of today all the same."""
    index.add("plain", "1.0", uploaded="2015-06-30T23:59:59Z")
    index.add("plain", "2.0", uploaded="2015-07-01T00:00:00Z")
    late = index.add("plain", "1.0", tag="py3-none-macosx_11_0_arm64", uploaded="2020-01-01T00:00:00Z")
    own = _spec(dsenv, '"plain"', project="as-of = 2015-06-30", url=index.url)
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        completed = own("lock", "--upgrade", TZ=zone)
        assert own.versions() == {"plain": "1.0"}
        assert late not in own.locks()["pylock.toml"].decode()
        assert "no build of Python 3.11 made before 2015-07-01 is listed for macos-arm64" in completed.stderr
        assert completed.stderr.count("warning: ") == 1
    inputs = tomllib.loads(own.locks()["pylock.toml"].decode())["tool"]["dsenv"]["inputs"]
    assert inputs["as-of"] == "2015-06-30"
    _spec(dsenv, '"plain"', url=index.url)("lock", "--locked", code=3)


def test_a_day_that_is_not_over_is_told(dsenv: Dsenv, index: fake.Index) -> None:
    index.add("plain", "1.0")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    completed = _spec(dsenv, '"plain"', project=f"as-of = {today}", url=index.url)("lock")
    assert "the day of `as-of` is not over" in completed.stderr


def test_exceptions_are_exact(dsenv: Dsenv, index: fake.Index) -> None:
    for name in ("plain", "other"):
        for year in (2015, 2016, 2017):
            index.add(name, f"{year}", uploaded=f"{year}-01-01T00:00:00Z")
    index.add("top", "1", requires=("plain", "other"), uploaded="2014-01-01T00:00:00Z")
    dates = 'as-of = 2015-06-30\nafter-as-of = ["Plain==2016", "unasked==1"]'
    own = _spec(dsenv, '"top"', project=dates, url=index.url)
    own("lock")
    assert own.versions() == {"top": "1", "plain": "2016", "other": "2015"}


def test_what_was_withdrawn_is_for_those_who_insist(dsenv: Dsenv, index: fake.Index) -> None:
    """``==`` by hand takes it, with a warning; a lock that has it lets it go."""
    index.add("plain", "1.0")
    withdrawn = index.add("plain", "2.0")
    index.add("other", "1.0")
    own = _spec(dsenv, '"plain"', url=index.url)
    own("lock")
    assert own.versions() == {"plain": "2.0"}
    index.yanked[withdrawn] = "broken"
    _spec(own, '"plain", "other"')("lock")
    assert own.versions() == {"plain": "1.0", "other": "1.0"}
    completed = _spec(own, '"plain==2.0", "other"')("lock")
    assert own.versions()["plain"] == "2.0"
    assert 'warning: `plain==2.0` is yanked (reason: "broken")' in completed.stderr
    _spec(own, '"plain==2.0"')("lock")
    assert own.versions()["plain"] == "2.0"
    completed = _spec(own, '"plain>=2.0"')("lock", "--upgrade", code=1)
    assert "yanked" in completed.stderr


def test_what_is_too_young_waits(dsenv: Dsenv, index: fake.Index) -> None:
    """The instant is kept in the lock until somebody wants newer packages, or another age."""
    now = datetime.now(UTC)
    for version, days in (("1.0", 30), ("2.0", 10), ("3.0", 3)):
        for name in ("plain", "other"):
            index.add(name, version, uploaded=f"{now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}")
    own = _spec(dsenv, '"plain"', python='min-age = "1w"', url=index.url)
    own("lock")
    assert own.versions() == {"plain": "2.0"}

    def held() -> datetime:
        found: datetime = tomllib.loads(own.locks()["dsenv.lock"].decode())["python"]["cool-down"]["before"]
        return found

    assert abs(now - timedelta(days=7) - held()) < timedelta(minutes=5)
    moved = now.replace(microsecond=0) - timedelta(days=20)  # as if it had been locked long ago
    lock = own.directory / "dsenv.lock"
    before = held()
    lock.write_text(lock.read_text().replace(f"{before:%Y-%m-%dT%H:%M:%SZ}", f"{moved:%Y-%m-%dT%H:%M:%SZ}"))
    _spec(own, '"other"', python='min-age = "1w"')("lock")
    assert (own.versions(), held()) == ({"other": "1.0"}, moved)
    own("lock", "--upgrade")
    assert own.versions() == {"other": "2.0"}
    assert held() > moved
    _spec(own, '"other"', python='min-age = "25h"')("lock", "--upgrade")
    assert own.versions() == {"other": "3.0"}
    _spec(own, '"other"')("lock")
    assert "cool-down" not in own.locks()["dsenv.lock"].decode()


@pytest.mark.parametrize("json", [False, True])
def test_an_index_that_tells_no_times_is_named(dsenv: Dsenv, index: fake.Index, *, json: bool) -> None:
    index.json = json
    for version in ("1.0", "2.0"):
        index.add("plain", version, uploaded="")
    own = _spec(dsenv, '"plain"', project="as-of = 2020-06-30", url=index.url)
    completed = own("lock", code=1)
    assert f"error: index {index.url} does not tell when files were uploaded" in completed.stderr
    assert "missing an upload date" not in completed.stderr
    routed = f'[[python.indexes]]\nname = "acme"\nurl = "{index.url}"\npackages = ["plain"]'
    _spec(dsenv, '"plain"', python=f'min-age = "7d"\n{routed}')("lock", code=1)
    dates = 'as-of = 2020-06-30\nafter-as-of = ["plain==1.0"]'
    _spec(dsenv, '"plain"', project=dates, url=index.url)("lock")
    assert dsenv.versions() == {"plain": "1.0"}


def test_files_without_a_time_are_left_out(dsenv: Dsenv, index: fake.Index) -> None:
    index.add("plain", "1.0")
    for version in range(20):
        index.add("plain", f"2.{version}", uploaded="")
    own = _spec(dsenv, '"plain"', project="as-of = 2020-06-30", url=index.url)
    completed = own("lock")
    assert own.versions() == {"plain": "1.0"}
    assert f"warning: index {index.url} does not tell when all its files were uploaded" in completed.stderr
    assert completed.stderr.count("warning: ") == 2  # of Python, too


@pytest.mark.apt
def test_pip_tools_keeps_a_date(dsenv: Dsenv, index: fake.Index) -> None:
    index.add("plain", "1.0", uploaded="2020-06-30T23:59:59Z")
    index.add("plain", "2.0", uploaded="2020-07-01T00:00:00Z")
    env = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": index.url}
    own = type(dsenv)(dsenv.directory, dsenv.store, env)
    own = _spec(own, '"plain"', project="as-of = 2020-06-30", python='resolver = "pip-tools"', target="linux-amd64")
    own("lock")
    assert own.versions() == {"plain": "1.0"}
    index.json = False
    completed = own("lock", "--upgrade", code=1)
    assert f"error: index {index.url} does not tell when files were uploaded" in completed.stderr
