"""What is locked of packages that are built, how they are built, and what comes of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.pylock import Pylock
from packaging.utils import canonicalize_name

from dsenv import locks
from dsenv.builds import PLACE, Built
from dsenv.ecosystem import LockFiles
from dsenv.ecosystems.python import digests, interop, pins
from dsenv.ecosystems.python.building import editable, hooks, needs, wheels
from dsenv.ecosystems.python.building import lock as building_lock
from dsenv.errors import IntegrityError, LockFormatError, TornLockError, WrongUseError
from dsenv.pins import Need, Selection, Target
from dsenv.steps import Place
from dsenv.tools import archive
from tests import gits
from tests.integration.index import wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

LINUX, ARM = Target("linux", "amd64"), Target("linux", "arm64")
COMMIT = "0f" * 20
PYLOCK = f"""
lock-version = "1.0"
requires-python = ">=3.11.2,<3.12"
created-by = "dsenv"

[[packages]]
name = "both"
version = "1"
sdist = {{ url = "https://files.example/both-1.tar.gz", hashes = {{ sha256 = "{"1" * 64}" }} }}
wheels = [
    {{ url = "https://files.example/both-1-cp311-cp311-linux_x86_64.whl", hashes = {{ sha256 = "{"2" * 64}" }} }},
]

[[packages]]
name = "committed"
vcs = {{ type = "git", url = "https://c/c.git", requested-revision = "1", commit-id = "{COMMIT}", subdirectory = "py" }}

[[packages]]
name = "direct"
version = "3"
archive = {{ url = "https://files.example/direct-3-py3-none-any.whl", hashes = {{ sha256 = "{"3" * 64}" }} }}

[[packages]]
name = "own"
directory = {{ path = "pkgs/own", editable = true }}
"""
BUILD = f"""
lock-version = "1.0"
requires-python = ">=3.11.2,<3.12"
dependency-groups = ["both", "committed", "own"]
created-by = "dsenv"

[[packages]]
name = "setuptools"
version = "80"
marker = "'both' in dependency_groups or 'committed' in dependency_groups"
wheels = [{{ url = "https://files.example/setuptools-80-py3-none-any.whl", hashes = {{ sha256 = "{"8" * 64}" }} }}]

[[packages]]
name = "setuptools"
version = "70"
marker = "'own' in dependency_groups"
wheels = [{{ url = "https://files.example/setuptools-70-py3-none-any.whl", hashes = {{ sha256 = "{"7" * 64}" }} }}]

[tool.dsenv.inputs.requires]
both = ["setuptools"]
committed = ["setuptools"]
own = ["setuptools<80"]
"""


def _row(name: str, version: str, source: str, **more: Any) -> dict[str, Any]:
    requires = ["setuptools<80"] if name == "own" else ["setuptools"]
    return {
        "name": name,
        "version": version,
        "source": source,
        "backend": "setuptools.build_meta",
        "group": name,
        "requires": requires,
        **more,
    }


def _interpreter(target: str) -> dict[str, str]:
    return {"target": target, "version": "3.11.2", "package": "python3.11", "libc": "2.36"}


def _installer(target: str) -> dict[str, str]:
    name = "uv-0.13.9-py3-none-any.whl"
    return {"target": target, "version": "0.13.9", "filename": name, "sha256": "9" * 64, "url": f"https://x/{name}"}


TARGETS = ("linux-amd64", "linux-arm64")
TABLE = {
    "interpreters": [_interpreter(target) for target in TARGETS],
    "installers": [_installer(target) for target in TARGETS],
    "sources": [
        _row("both", "1", "1" * 64, languages=["c"]),
        _row("committed", "1.2", f"{COMMIT}#py", tree="c" * 64, subdirectory="py"),
        _row("own", "4", "pkgs/own"),
    ],
}


def _pins(build: str = BUILD, **table: Any) -> pins.Pins:
    files = {"pylock.toml": PYLOCK, **({"pylock.build.toml": build} if build else {})}
    return pins.read(LockFiles(table={**TABLE, **table}, files=files))[0]


def _chosen(target: Target = LINUX) -> dict[str, pins.Chosen]:
    return {row.name: row for row in _pins().select(Selection(target=target))}


def test_a_wheel_is_taken_where_there_is_one() -> None:
    here, there = _chosen(), _chosen(ARM)
    assert [(name, bool(row.wheel), bool(row.source)) for name, row in here.items()] == [
        ("both", True, False),
        ("committed", False, True),
        ("direct", True, False),
        ("own", False, True),
    ]
    assert (there["both"].wheel, there["both"].source is None) == (None, False)
    assert {name: row.version for name, row in here.items()} == {
        "both": "1",
        "committed": "1.2",
        "direct": "3",
        "own": "4",
    }
    assert pins.versions(_pins())["committed"] == "1.2"
    assert [name for name, row in here.items() if row.is_editable] == ["own"]


def test_what_is_written_reads_back() -> None:
    written = pins.write(_pins(), {"packages": ["both"]})
    for name in ("pylock.toml", "pylock.build.toml"):
        Pylock.from_dict(tomllib.loads(written.files[name]))
    again, inputs = pins.read(LockFiles(table=written.table, files=written.files))
    assert inputs == {"packages": ["both"]}
    assert digests.canonical(again) == digests.canonical(_pins())
    assert pins.write(again, inputs).files == written.files
    assert pins.owns("pylock.build.toml", written.files["pylock.build.toml"])
    found = tomllib.loads(written.files["pylock.toml"])["packages"]
    assert found[1]["vcs"] == {
        "type": "git",
        "url": "https://c/c.git",
        "requested-revision": "1",
        "commit-id": COMMIT,
        "subdirectory": "py",
    }
    assert found[3]["directory"] == {"path": "pkgs/own", "editable": True}


@pytest.mark.parametrize("build", ["", BUILD.replace('own = ["setuptools<80"]', 'own = ["setuptools"]')])
def test_a_torn_set_is_noticed(build: str) -> None:
    with pytest.raises(TornLockError, match=r"pylock\.build\.toml is missing or another one: .* own takes|both, comm"):
        _pins(build)


def test_another_tools_build_lock_is_left_alone(tmp_path: Path) -> None:
    """Where nothing is built it is none of ours: it is neither read nor deleted."""
    foreign = 'lock-version = "1.0"\ncreated-by = "nab"\npackages = []\n'
    lock = PYLOCK.partition("[[packages]]")[0] + "packages = []\n"
    read = pins.read(
        LockFiles(table={**TABLE, "sources": []}, files={"pylock.toml": lock, "pylock.build.toml": foreign})
    )
    assert read[0].build is None
    (tmp_path / "pylock.build.toml").write_text(foreign)
    held = locks.Locks(targets=(LINUX,), parts={})
    assert locks.write(tmp_path, held)[0] == ["dsenv.lock"]
    assert (tmp_path / "pylock.build.toml").exists()
    (tmp_path / "pylock.build.toml").write_text(foreign.replace("nab", "dsenv"))
    assert locks.write(tmp_path, held)[0] == ["pylock.build.toml"]
    assert not (tmp_path / "pylock.build.toml").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("direct-3-py3-none-any", "direct-3-py3-none-win_amd64", "no wheel for linux-amd64 of direct"),
        ('commit-id = "0f', 'commit-id = "1f', "no version of committed"),
        ('path = "pkgs/own"', 'path = "pkgs/x"', "no version of own"),
    ],
)
def test_what_nothing_says_how_to_build_is_refused(old: str, new: str, told: str) -> None:
    files = {"pylock.toml": PYLOCK.replace(old, new), "pylock.build.toml": BUILD}
    with pytest.raises(LockFormatError, match=told):
        pins.read(LockFiles(table=TABLE, files=files))[0].select(Selection(target=LINUX))


@pytest.mark.parametrize(
    ("old", "new"),
    [('path = "pkgs/own"', 'path = "../own"'), ('archive = { url = "https:/', 'archive = { path = "/srv')],
)
def test_a_lock_does_not_lead_out_of_the_project(old: str, new: str) -> None:
    text = PYLOCK.replace(old, new)
    assert text != PYLOCK
    with pytest.raises(LockFormatError, match="leads out of the project"):
        pins.read(LockFiles(table=TABLE, files={"pylock.toml": text, "pylock.build.toml": BUILD}))


@pytest.mark.parametrize(
    "changed", [{"subdirectory": "../x"}, {"backend": "x; import os"}, {"backend_path": ["/x"]}, {"tree": "x"}]
)
def test_a_row_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    row = {key.replace("_", "-"): value for key, value in changed.items()}
    with pytest.raises(LockFormatError, match="damaged"):
        _pins(sources=[{**TABLE["sources"][0], **row}, *TABLE["sources"][1:]])


def _with_wheels(*rows: Mapping[str, str], of: str = "committed") -> dict[str, Any]:
    sources = [dict(row) for row in TABLE["sources"]]
    for row in sources:
        if row["name"] == of:
            row["wheels"] = list(rows)
    return {"sources": sources}


PURE = {"name": "committed-1.2-py3-none-any.whl", "sha256": "a" * 64}
COMPILED = {"name": "committed-1.2-cp311-cp311-linux_x86_64.whl", "sha256": "b" * 64, "target": "linux-amd64"}


@pytest.mark.parametrize(
    "table",
    [
        _with_wheels(PURE),
        {"sources": [{**row, "tree": "d" * 64} if row["name"] == "committed" else row for row in TABLE["sources"]]},
    ],
)
def test_the_environment_id_covers_what_is_built(table: dict[str, Any]) -> None:
    here = Selection(target=LINUX)
    before = digests.identity(_pins(), here)
    assert digests.identity(_pins(**table), here) != before
    other = BUILD.replace("8" * 64, "e" * 64)
    assert digests.identity(_pins(other), here) != before
    assert digests.canonical(_pins(other)) != digests.canonical(_pins())
    moved = BUILD.replace("https://files.example", "https://mirror.example")
    assert digests.identity(_pins(moved), here) == before
    assert digests.canonical(_pins(moved)) == digests.canonical(_pins())


def test_a_pure_wheel_counts_everywhere() -> None:
    row = _pins(**_with_wheels(COMPILED)).sources[1]
    assert row.wheel(LINUX)
    assert row.wheel(ARM) is None
    pure = _pins(**_with_wheels(PURE)).sources[1].wheel(ARM)
    assert pure
    assert pure.is_pure


@pytest.mark.parametrize(
    ("changed", "is_kept"),
    [
        ({}, True),
        ({"build": BUILD.replace("8" * 64, "e" * 64)}, False),
        ({"build": BUILD.replace("7" * 64, "e" * 64)}, True),
        (
            {"sources": [{**row, "tree": "d" * 64 if row["name"] == "committed" else ""} for row in TABLE["sources"]]},
            False,
        ),
        ({"sources": [{**row, "backend": "x"} for row in TABLE["sources"]]}, False),
    ],
)
def test_a_recorded_wheel_stays_while_its_build_does(changed: dict[str, Any], is_kept: bool) -> None:  # noqa: FBT001
    held = _pins(**_with_wheels(PURE))
    found = building_lock.carried(_pins(**changed), [held])
    assert [len(row.wheels) for row in found.sources] == [0, int(is_kept), 0]


def test_building_takes_compilers_only_where_something_is_compiled() -> None:
    assert not list(needs.needs(_pins(), LINUX)), "there it has a wheel"
    names = [need.name for need in needs.needs(_pins(), ARM)]
    assert names == ["gcc", "libc6-dev", "make", "pkg-config", "python3.11-dev"]
    assert Need("gcc", why="py:both", build=True) in set(needs.needs(_pins(), ARM))


def test_a_build_has_exactly_its_locked_inputs() -> None:
    built = {build.name: build for build in wheels.builds(_pins(**_with_wheels(PURE)), Selection(target=ARM), PLACE)}
    assert list(built) == ["both", "committed"], "an editable package is not built"
    assert [item.name for item in built["committed"].inputs] == [
        "hooks.py",
        "uv-0.13.9-py3-none-any.whl",
        f"committed-{COMMIT[:12]}.tar",
        "wheels/setuptools-80-py3-none-any.whl",
    ]
    assert (built["committed"].sha256, built["committed"].pure) == ("a" * 64, True)
    assert built["committed"].sees == ("python3.11",)
    assert built["both"].sees == ("python3.11", "gcc", "libc6-dev", "make", "pkg-config", "python3.11-dev")
    assert (built["both"].sha256, built["both"].pure, built["both"].record) == ("", False, True)
    last = built["committed"].steps[-1]
    assert last.argv[-5:] == ("wheel", "/build/work/source/py", "setuptools.build_meta", "", "/build/out")
    assert dict(last.env)["SETUPTOOLS_SCM_PRETEND_VERSION"] == "1.2"
    assert "-g0" in dict(last.env)["CFLAGS"]
    assert built["both"].steps[0].argv[-1] == "sdist"


def _built(path: Path, name: str, version: str, filename: str = "") -> Built:
    path.mkdir(exist_ok=True)
    file = path / (filename or f"{name}-{version}-py3-none-any.whl")
    file.write_bytes(wheel(name, version))
    return Built(path=file, sha256=archive.state(file), canonical=True)


def test_what_comes_of_a_build_is_recorded(tmp_path: Path) -> None:
    here = Selection(target=LINUX)
    built = _built(tmp_path, "committed", "1.2")
    found = wheels.recorded(_pins(), here, {"committed": built})
    assert [row.model_dump() for row in found.sources[1].wheels] == [
        {"target": "", "name": "committed-1.2-py3-none-any.whl", "sha256": built.sha256}
    ]
    assert wheels.recorded(found, here, {"committed": _built(tmp_path / "x", "committed", "1.2")}) == found
    compiled = _built(tmp_path, "both", "1", "both-1-cp311-cp311-linux_aarch64.whl")
    found = wheels.recorded(_pins(), Selection(target=ARM), {"both": compiled})
    assert found.sources[0].wheels[0].target == "linux-arm64"


@pytest.mark.parametrize(
    ("name", "version", "filename", "told"),
    [
        ("committed", "1.3", "", "building committed 1.2 made version 1.3"),
        ("other", "1.2", "", "made a wheel of other"),
        ("committed", "1.2", "committed-1.3-py3-none-any.whl", "made version"),
    ],
)
def test_a_built_wheel_is_the_right_one(tmp_path: Path, name: str, version: str, filename: str, told: str) -> None:
    built = {"committed": _built(tmp_path, name, version, filename)}
    with pytest.raises(IntegrityError, match=told):
        wheels.files([_chosen()["committed"]], built)


def test_a_built_wheel_leads_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "committed-1.2-py3-none-any.whl"
    path.write_bytes(wheel("committed", "1.2", {"../../evil": ""}))
    with pytest.raises(IntegrityError, match="leads outside"):
        wheels.check(path, "committed", "1.2")


def test_requirements_name_what_is_built() -> None:
    with pytest.raises(WrongUseError, match="cannot hold committed, own"):
        interop.export("requirements", _pins(), [Selection(target=LINUX)])
    rest = "".join(part for part in PYLOCK.split("\n\n") if "vcs" not in part and "directory" not in part)
    files = {"pylock.toml": rest.replace("[[packages]]", "\n[[packages]]"), "pylock.build.toml": BUILD}
    found = pins.read(LockFiles(table=TABLE, files=files))[0]
    text = interop.export("requirements", found, [Selection(target=ARM)])
    assert "\n--no-binary both\n" in text
    assert f"both==1 \\\n    --hash=sha256:{'1' * 64}\n" in text
    assert f"direct @ https://files.example/direct-3-py3-none-any.whl \\\n    --hash=sha256:{'3' * 64}\n" in text
    assert "--no-binary" not in interop.export("requirements", found, [Selection(target=LINUX)])


# Editable packages


def test_an_image_takes_what_a_project_only_leads_to(tmp_path: Path) -> None:
    gits.write(tmp_path / "pkgs" / "own", {"own.py": ""})
    found = editable.delivered(_pins(), tmp_path)
    builds = [build.name for build in wheels.builds(found, Selection(target=LINUX), PLACE)]
    assert builds == ["committed", "own"]
    here = Selection(target=LINUX)
    assert digests.identity(found, here) != digests.identity(_pins(), here)
    gits.write(tmp_path / "pkgs" / "own", {"own.py": "x = 1\n"})
    assert digests.identity(editable.delivered(_pins(), tmp_path), here) != digests.identity(found, here)
    with pytest.raises(WrongUseError, match="there is no pkgs/own"):
        editable.delivered(_pins(), tmp_path / "x")


def test_what_leads_to_a_package_is_expected(tmp_path: Path) -> None:
    site = tmp_path / "env" / "venv" / "lib" / "python3.11" / "site-packages"
    record = "__editable___own_4_finder.py,,\n_own.pth,,\n../../../bin/own,,\n/etc/passwd,,\nown-4.dist-info/RECORD,,\n"
    gits.write(site, {"own-4.dist-info/RECORD": record, "__pycache__/__editable___own_4_finder.cpython-311.pyc": ""})
    place = Place(kind="project", prefix=str(tmp_path / "env"), root="", inputs="", project=str(tmp_path))
    found = editable.files(list(_chosen().values()), place, str(site))
    library = "venv/lib/python3.11/site-packages"
    assert found.keys() == {
        f"{library}/__editable___own_4_finder.py",
        f"{library}/__pycache__/__editable___own_4_finder.cpython-311.pyc",
        f"{library}/_own.pth",
        f"{library}/own-4.dist-info/RECORD",
        "venv/bin/own",
    }
    assert "leads to pkgs/own" in found["venv/bin/own"]
    steps = list(editable.steps(list(_chosen().values()), (), place, str(site)))
    assert steps[0].argv[-2:] == ("--editable", f"{tmp_path}/pkgs/own")
    assert not list(editable.steps(list(_chosen().values()), (), PLACE, str(site)))


# The program that runs in a build environment


def test_hooks_answer_by_themselves(tmp_path: Path) -> None:
    """It needs nothing of dsenv, and what lies beside it is not imported instead of the standard library."""
    backend = (
        "import zipfile\ndef build_wheel(directory, settings=None):\n    open(directory + '/x-1.whl', 'w').close()\n"
    )
    source = gits.write(tmp_path / "source", {"inner/own_backend.py": backend})
    program = gits.write(
        tmp_path / "in", {"hooks.py": Path(hooks.__file__).read_text(), "inspect.py": "raise SystemExit(1)"}
    )
    (tmp_path / "out").mkdir()

    def run(*words: str) -> None:
        subprocess.run([sys.executable, program / "hooks.py", *words], check=True, cwd=tmp_path, env={})

    run("wheel", str(source), "own_backend", "inner", str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x-1.whl"]
    run("requires", str(source), "own_backend", "inner", str(tmp_path / "answer"))
    assert json.loads((tmp_path / "answer").read_text()) == []


def test_the_rows_of_two_versions_have_two_groups() -> None:
    assert building_lock._group("six", set()) == "six"
    assert building_lock._group("six", {"six"}) == "six-2"
    assert building_lock._group("six", {"six", "six-2"}) == "six-3"
    assert canonicalize_name("six-2") == "six-2"
