"""The workshop: what a key covers, who is built when, what is kept, and what a failure tells."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dsenv.builds import Build
from dsenv.ecosystems.system.packages import development
from dsenv.errors import BuildError, IntegrityError
from dsenv.operations import build as operation
from dsenv.outputs import build_log, building
from dsenv.outputs.build_log import Missing
from dsenv.outputs.schedule import Schedule, share
from dsenv.outputs.workshop import Demand, Root, Workshop
from dsenv.pins import Artifact
from dsenv.progress import Silent
from dsenv.steps import Input, PrependPath, Recipe, Run
from dsenv.store import Store
from tests.unit.test_build_rows import AMD64, HASH, locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.outputs.workshop import Order
    from dsenv.steps import Place

SHOW = "cp @/in/a.tar @/out/a.txt"
CASES = Path(__file__).parents[1] / "cases" / "build-log"


class Told(Silent):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text.partition(" in ")[0])

    def warn(self, text: str) -> None:
        self.warned.append(text)


def script(place: Place, text: str) -> tuple[Run, ...]:
    """Return steps that run a shell script at a place."""
    return (Run(argv=("sh", "-ec", text.replace("@", place.prefix))),)


def root(key: str) -> Root:
    """Return a root without packages."""
    return Root(
        key=key,
        artifacts=(),
        recipe=lambda place: Recipe(
            name="system", title="nothing", steps=(PrependPath(name="PATH", directories=(f"{place.root}/usr/bin",)),)
        ),
    )


def demand(builds: dict[str, str], after: dict[str, Sequence[str]] | None = None, **changes: object) -> Demand:
    """Return a demand of scripts, by name, to be run by the machine's own shell."""

    def at(place: Place) -> dict[str, list[Build]]:
        found = [
            Build(
                name=name,
                title=f"{name} 1",
                inputs=(Input(name=f"{name}.txt", source=name),),
                steps=script(place, text),
                after=tuple((after or {}).get(name, ())),
            )
            for name, text in builds.items()
        ]
        return {"x": found}

    whole = Demand(
        root=lambda names: root(f"a root with {sorted(names)}"),
        misfit="",
        builds=at,
        suggest=lambda lost: "libpq-dev" if lost.name == "libpq-fe.h" else "",
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def beside(wanted: Demand, store: Path, told: Told | None = None) -> Workshop:
    """Return a workshop that builds beside the machine's files."""
    return Workshop(wanted, Store(store), told or Told(), beside=True)


def _order(build: Build, **changes: object) -> Order:
    wanted = replace(demand({}), builds=lambda _: {"x": [build]}, **changes)  # type: ignore[arg-type]
    return Workshop(wanted, Store(Path("/nonexistent")), Silent(), beside=True).orders["x", build.name]


BUILD = Build(
    name="a", title="a 1", inputs=(Input(name="a.c", source="int a;"),), steps=(Run(argv=("cc",), env=(("A", "1"),)),)
)


@pytest.mark.parametrize(
    "other",
    [
        replace(BUILD, inputs=(Input(name="b.c", source="int a;"),)),
        replace(BUILD, inputs=(Input(name="a.c", source="int b;"),)),
        replace(BUILD, inputs=(Input(name="a.c", source="int a;", executable=True),)),
        replace(BUILD, inputs=(Input(name="a.c", source=Artifact(filename="a.c", sha256=HASH)),)),
        replace(BUILD, inputs=()),
        replace(BUILD, steps=(Run(argv=("cc", "-g"), env=(("A", "1"),)),)),
        replace(BUILD, steps=(Run(argv=("cc",), env=(("A", "2"),)),)),
        replace(BUILD, steps=BUILD.steps * 2),
    ],
)
def test_a_key_covers_all_that_a_result_depends_on(other: Build) -> None:
    assert _order(other).key != _order(BUILD).key


def test_a_key_covers_nothing_else() -> None:
    told = replace(BUILD, title="A!", sha256=HASH, record=True, pure=True)
    assert _order(told).key == _order(BUILD).key
    assert _order(BUILD, root=lambda _: root("another")).key != _order(BUILD).key
    assert _order(replace(BUILD, sees=("zlib1g-dev",))).key != _order(BUILD).key


def test_a_key_covers_what_was_built_before(tmp_path: Path) -> None:
    def keys(text: str) -> dict[tuple[str, str], str]:
        made = beside(demand({"a": text, "b": "true", "c": "true"}, {"b": ["a"]}), tmp_path)
        return {name: order.key for name, order in made.orders.items()}

    one, other = keys("true"), keys("false")
    assert {name for name in one if one[name] != other[name]} == {("x", "a"), ("x", "b")}


def test_results_are_handed_on_and_kept(tmp_path: Path) -> None:
    wanted = demand(
        {"a": "cat @/in/a.txt > @/out/a.whl", "b": "cat @/in/built/a/a.whl @/in/b.txt > @/out/b; umask >> @/out/b"},
        {"b": ["a"]},
    )
    told = Told()
    made = building.make(beside(wanted, tmp_path, told))["x"]
    assert made["a"].path.name == "a.whl"
    assert made["b"].path.read_text() == "ab0022\n"
    assert not made["b"].canonical
    assert told.said == ["built a 1", "built b 1"]
    assert len(told.warned) == 1
    assert "kept apart" in told.warned[0]
    again = Told()
    assert building.make(beside(wanted, tmp_path, again))["x"] == made
    assert (again.said, again.warned) == ([], [])
    assert not [*(tmp_path / "scratch").iterdir()]


def test_the_network_leads_nowhere_and_the_environment_is_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFLAGS", "-march=native")
    env = building.make(beside(demand({"a": "env > @/out/a"}), tmp_path))["x"]["a"].path.read_text()
    found = dict(line.split("=", 1) for line in env.splitlines())
    assert "CFLAGS" not in found
    assert found["https_proxy"] == "http://127.0.0.1:9"
    assert (found["TZ"], found["LC_ALL"], found["SOURCE_DATE_EPOCH"]) == ("UTC", "C.UTF-8", "315532800")
    assert found["HOME"].startswith(str(tmp_path))


FAILING = {
    "a": "echo fine > @/out/a",
    "bad": "echo 'x.c:1:10: fatal error: libpq-fe.h: No such file or directory' >&2; exit 3",
    "c": "echo fine > @/out/c",
    "d": "echo never > @/out/d",
}


def test_a_failure_stops_only_what_needs_it(tmp_path: Path) -> None:
    wanted = demand(FAILING, {"c": ["bad"], "d": ["c"]})
    told = Told()
    with pytest.raises(BuildError) as caught:
        building.make(beside(wanted, tmp_path, told))
    assert caught.value.sentence == "1 package could not be built"
    (log,) = (tmp_path / "logs").glob("x-bad-*.log")
    lines = caught.value.cause.splitlines()
    assert lines[0].startswith("bad 1: `sh -ec")
    assert lines[0].endswith("ended with exit code 3")
    assert lines[1:] == [
        "    x.c:1:10: fatal error: libpq-fe.h: No such file or directory",
        '  libpq-fe.h is missing: add "libpq-dev" to [system] build and run `dsenv lock`',
        f"  the whole log: {log}",
        "  not built, since they need it: c 1, d 1",
    ]
    mended = demand({**FAILING, "bad": "echo fine > @/out/bad"}, {"c": ["bad"], "d": ["c"]})
    again = Told()
    building.make(beside(mended, tmp_path, again))
    assert again.said == ["built bad 1", "built c 1", "built d 1"]


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("true", "its steps left nothing in "),
        ("touch @/out/a @/out/b", "its steps left a, b in "),
        ("mkdir @/out/a", "its steps left a in "),
        ("ln -s /etc/passwd @/out/a", "its steps left a in "),
        ("kill -9 $$", "ended with exit code 137"),
    ],
)
def test_a_result_is_one_file(tmp_path: Path, text: str, trouble: str) -> None:
    with pytest.raises(BuildError) as caught:
        building.make(beside(demand({"a": text}), tmp_path))
    assert trouble in caught.value.cause


def test_a_damaged_result_is_made_anew(tmp_path: Path) -> None:
    wanted = demand({"a": "echo fine > @/out/a"})
    path = building.make(beside(wanted, tmp_path))["x"]["a"].path
    path.chmod(0o644)
    path.write_text("worse")
    told = Told()
    assert building.make(beside(wanted, tmp_path, told))["x"]["a"].path.read_text() == "fine\n"
    assert "was damaged" in told.warned[0]


def test_what_has_come_out_is_held_against_the_lock(tmp_path: Path) -> None:
    wanted = demand({"a": "echo fine > @/out/a", "b": "echo fine > @/out/b"})
    made = building.make(beside(wanted, tmp_path))["x"]

    def said(**changes: object) -> Demand:
        def builds(place: Place) -> dict[str, list[Build]]:
            return {"x": [replace(build, **changes) for build in wanted.builds(place)["x"]]}  # type: ignore[arg-type]

        return replace(wanted, builds=builds)

    told = Told()
    building.make(beside(said(sha256=made["a"].sha256, pure=True), tmp_path, told))
    assert not told.warned
    building.make(beside(said(sha256=HASH), tmp_path, told))
    assert told.warned == ["built from the locked sources, yet not the same files as where they were locked: a 1, b 1"]
    with pytest.raises(IntegrityError, match="a 1, built from the locked source, is not what the lock says"):
        building.make(beside(said(sha256=HASH, pure=True), tmp_path))
    building.make(beside(said(sha256=HASH, pure=True), tmp_path), compare=False)


def test_a_machine_of_another_kind_cannot_build_beside(tmp_path: Path) -> None:
    wanted = demand({"a": "echo fine > @/out/a"}, misfit="this machine is arch, the lock is for debian bookworm")
    with pytest.raises(BuildError, match="a 1 cannot be built from source here") as caught:
        building.make(beside(wanted, tmp_path))
    assert "this machine is arch" in caught.value.cause
    with pytest.raises(BuildError, match="a 1: the lock has no system packages to build it with"):
        building.make(beside(demand({"a": "true"}, root=None), tmp_path))


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left = tmp_path / "scratch" / "build-1"
    left.mkdir(parents=True)
    (tmp_path / "scratch" / "build-1.lock").touch()
    with store.claimed("build-2") as claimed:
        store.sweep()
        assert not left.exists()
        assert claimed.stat().st_mode & 0o777 == 0o700
    assert not [*(tmp_path / "scratch").iterdir()]


def test_two_that_claim_a_name_take_turns(tmp_path: Path) -> None:
    order = []

    def work(number: int) -> None:
        with Store(tmp_path).claimed("a") as directory:
            (directory / "b").mkdir()
            order.append(number)

    with Store(tmp_path).claimed("a"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        assert not order
    for thread in threads:
        thread.join()
    assert sorted(order) == [0, 1, 2]


def test_the_longest_way_comes_first() -> None:
    plan = Schedule({"a": 1, "b": 5, "c": 1, "d": 9, "e": 2}, {"c": ["a"], "d": ["c"], "e": ["b", "elsewhere"]})
    assert plan.ready() == ["a", "b"]
    plan.begin("a")
    assert plan.ready() == ["b"]
    plan.finish("a")
    assert plan.ready() == ["c", "b"]
    assert plan.left() == ["c", "d", "b", "e"]
    plan.begin("c")
    assert plan.fail("c") == ["d"]
    assert plan.left() == ["b", "e"]


@pytest.mark.parametrize(
    ("cpus", "running", "ready", "jobs"), [(2, 0, 1, 2), (2, 0, 9, 1), (8, 0, 2, 4), (8, 7, 1, 1), (8, 1, 1, 4)]
)
def test_idle_cpus_are_lent(cpus: int, running: int, ready: int, jobs: int) -> None:
    assert share(cpus, running, ready) == jobs


@pytest.mark.parametrize(
    ("log", "lost", "line"),
    [
        ("header", Missing("header", "libpq-fe.h"), "fatal error: libpq-fe.h"),
        ("library", Missing("library", "udunits2"), "cannot find -ludunits2"),
        ("module", Missing("module", "numpy"), "ModuleNotFoundError: No module named 'numpy'"),
        ("other", None, "error: expected ';' before 'return'"),
        (
            "pkg-config",
            Missing("library", "libxml-2.0"),
            "Package 'libxml-2.0', required by 'virtual:world', not found",
        ),
        ("program", Missing("program", "cmake"), "cmake: command not found"),
        ("executable", Missing("program", "pg_config"), "Error: pg_config executable not found."),
        ("python-program", Missing("program", "cmake"), "No such file or directory: 'cmake'"),
        ("r-configure", Missing("header", "curl/curl.h"), "Configuration failed because libcurl was not found"),
    ],
)
def test_a_log_tells_what_is_missing(log: str, lost: Missing | None, line: str) -> None:
    text = (CASES / f"{log}.log").read_text("utf-8")
    assert build_log.missing(text) == lost
    shown = build_log.excerpt(text)
    assert len(shown) <= 12
    assert any(line in one for one in shown)


def test_a_long_log_is_cut_around_the_first_error() -> None:
    lines = [f"gcc -c {number}.c" for number in range(200)]
    lines[100] = "100.c:1:1: error: what"
    assert build_log.excerpt("\n".join(lines)) == lines[97:109]
    assert build_log.excerpt("\n".join(lines[101:])) == lines[-12:]
    assert build_log.excerpt("") == []


@pytest.mark.parametrize(
    ("kind", "name", "package"),
    [
        ("header", "openssl/ssl.h", "libssl-dev"),
        ("header", "Python.h", "python3-dev"),
        ("header", "nobody/knows.h", ""),
        ("library", "foo", "libfoo-dev"),
        ("library", "z", "zlib1g-dev"),
        ("program", "ninja", "ninja-build"),
        ("program", "nobody-knows", ""),
        ("package", "libcurl4-openssl-dev", "libcurl4-openssl-dev"),
        ("package", "zlib1g", ""),
    ],
)
def test_which_package_has_what_is_missing(kind: str, name: str, package: str) -> None:
    assert development.bringing(locked(), AMD64, kind, name) == package


def test_a_module_is_nothing_that_a_system_package_brings() -> None:
    assert build_log.sentence(Missing("module", "numpy"), "") == (
        "the Python module numpy is missing: the package does not name it among its build requirements"
    )


def test_only_what_is_recorded_is_built_for_a_lock() -> None:
    builds = [
        Build(name="a", title="", inputs=(), steps=()),
        Build(name="b", title="", inputs=(), steps=(), after=("a",), record=True),
        Build(name="c", title="", inputs=(), steps=(), after=("b",)),
    ]
    assert [build.name for build in operation._recorded(builds)] == ["a", "b"]


def test_another_packing_of_the_same_content_is_the_same_build(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = HASH, store.keep(b"the same, packed again")

    def wanted(*hashes: str, identity: str = "the content") -> Demand:
        artifact = Artifact(filename="a.tar", sha256=hashes[0], accepted=hashes[1:])
        item = Input(name="a.tar", source=artifact, identity=identity)

        def at(place: Place) -> dict[str, list[Build]]:
            return {"x": [Build(name="a", title="a 1", inputs=(item,), steps=script(place, SHOW))]}

        return replace(demand({}), builds=at)

    made = building.make(beside(wanted(first, second), tmp_path / "store"))["x"]
    assert made["a"].path.read_text() == "the same, packed again"
    assert not beside(wanted(first), tmp_path / "store").lacking
    assert beside(wanted(first, identity=""), tmp_path / "store").lacking
    assert beside(wanted(first, identity="another content"), tmp_path / "store").lacking
