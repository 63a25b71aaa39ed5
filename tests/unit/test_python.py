"""Python packages: markers in one form, wheel tags, what uv is asked and answers, what a wheel says of itself."""

from __future__ import annotations

import platform
import sys
import tomllib
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.pylock import Package, PackageWheel, Pylock
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name
from packaging.version import Version

from dsenv.ecosystem import LockFiles
from dsenv.ecosystems.python import digests, freshness, pins, platforms, simple, uv
from dsenv.ecosystems.python.engines import pip_tools
from dsenv.ecosystems.python.engines import uv as engine
from dsenv.ecosystems.python.engines.interface import Found, Question
from dsenv.ecosystems.python.markers import Space
from dsenv.errors import IntegrityError, LockFormatError, ToolError, TornLockError, WrongUseError
from dsenv.network import Network
from dsenv.pins import TARGETS, Artifact, Provided, Selection, Target
from dsenv.tools import process
from dsenv.tools.wheel import Wheel

if TYPE_CHECKING:
    from pathlib import Path

LINUX, MAC = Target("linux", "amd64"), Target("macos", "arm64")
SPACE = Space((LINUX, Target("linux", "arm64"), MAC, Target("windows", "amd64")), "3.11.2")
PLACES = st.frozensets(st.sampled_from(sorted(SPACE.everywhere)), max_size=60)
RANGES = st.tuples(st.integers(2, 60), st.integers(2, 60), st.frozensets(st.sampled_from(SPACE.targets))).map(
    lambda it: frozenset(
        (target, patch) for target, patch in SPACE.everywhere if it[0] <= patch <= it[1] and target in it[2]
    )
)


@given(st.one_of(PLACES, RANGES), st.one_of(PLACES, RANGES))
def test_a_marker_is_true_where_it_should_be(always: frozenset[Any], in_group: frozenset[Any]) -> None:
    groups = {"dev": in_group} if in_group else {}
    if not always and not groups:
        return
    text = SPACE.marker(always, groups)
    marker = Marker(text) if text else None
    for target, patch in SPACE.everywhere:
        environment: dict[str, Any] = dict(platforms.environment(target, f"3.11.{patch}"))
        for asked in (frozenset[str](), frozenset({"dev"})):
            expected = (target, patch) in always or ("dev" in asked and (target, patch) in in_group)
            found = marker is None or marker.evaluate({**environment, "dependency_groups": asked}, context="lock_file")
            assert found == expected, text


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("", ""),
        ("python_version >= '3.8'", ""),
        ("sys_platform == 'linux'", "sys_platform == 'linux'"),
        ("platform_machine == 'x86_64'", "sys_platform == 'linux' and platform_machine == 'x86_64'"),
        ("python_full_version < '3.11.3'", "python_full_version < '3.11.3'"),
        (
            "sys_platform == 'darwin' and python_full_version >= '3.11.4'",
            "sys_platform == 'darwin' and python_full_version >= '3.11.4'",
        ),
        ("os_name == 'posix'", "sys_platform == 'linux' or sys_platform == 'darwin'"),
    ],
)
def test_markers_have_one_form(marker: str, text: str) -> None:
    assert SPACE.marker(SPACE.where(marker), {}) == text


def test_groups_stand_in_markers() -> None:
    early = SPACE.where("python_full_version < '3.11.3'")
    text = SPACE.marker(frozenset(), {"dev": SPACE.everywhere, "docs": SPACE.everywhere, "old": early})
    assert text == (
        "('dev' in dependency_groups or 'docs' in dependency_groups) or "
        "('old' in dependency_groups and python_full_version < '3.11.3')"
    )
    assert SPACE.requires_python == ">=3.11.2,<3.12"


@pytest.mark.parametrize("text", TARGETS)
def test_every_target_is_told_from_the_others(text: str) -> None:
    target = Target.parse(text)
    environments = {name: platforms.environment(Target.parse(name), "3.11.2") for name in TARGETS}
    true = [name for name in TARGETS if Marker(platforms.clause(target)).evaluate(cast("Any", environments[name]))]
    assert true == [text]


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="compares with this very machine")
def test_tags_are_those_of_a_real_interpreter() -> None:
    libc = platform.libc_ver()[1]
    version = platform.python_version()
    assert platforms.tags(LINUX, version, libc) == list(sys_tags())


def test_tags_stop_at_the_bases_libc() -> None:
    names = {tag.platform for tag in platforms.tags(Target("linux", "arm64"), "3.11.2", "2.36")}
    assert "manylinux_2_36_aarch64" in names
    assert "manylinux_2_37_aarch64" not in names
    assert "manylinux2014_aarch64" in names
    assert "manylinux2010_aarch64" not in names


def test_uv_is_given_a_project_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space((LINUX,), "3.11.2")
    question = Question(space=space, requirements=["a>=1"], groups={"dev": ["b"]}, constraints=["c<2"])
    document = tomllib.loads(engine.project(question))
    assert document["project"]["dependencies"] == ["a>=1"]
    assert document["dependency-groups"] == {"dev": ["b"]}
    tool = document["tool"]["uv"]
    assert tool["constraint-dependencies"] == ["c<2"]
    assert "override-dependencies" not in tool
    assert len(tool["environments"]) == 1
    assert space.where(tool["environments"][0]) == space.everywhere
    monkeypatch.setenv("UV_RESOLUTION", "lowest")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.example/simple")
    monkeypatch.setenv("VIRTUAL_ENV", "/x")
    environment = uv.environment()
    assert "UV_RESOLUTION" not in environment
    assert "VIRTUAL_ENV" not in environment
    assert environment["UV_DEFAULT_INDEX"] == "https://index.example/simple"


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        (
            "Using CPython 3.11\nerror: No solution found when resolving for split (markers: x and (y)):\n  because",
            "Res",
        ),
        ("error: Request failed after 3 retries\n  cause: Failed to fetch: https://index.example", "Dow"),
        ("error: something else", "Res"),
    ],
)
def test_uvs_troubles_are_told_apart(stderr: str, kind: str) -> None:
    completed = process.Completed(argv=("uv",), code=1, stdout="", stderr=stderr)
    error = engine._trouble(completed, Question(space=SPACE, requirements=()), {})
    assert type(error).__name__.startswith(kind)
    assert "split" not in error.cause
    assert not error.cause.startswith("error")


@pytest.mark.parametrize(
    ("debian", "upstream"),
    [
        ("3.11.2-6+deb12u6", "3.11.2"),
        ("2.36-9+deb12u14", "2.36"),
        ("1:2.3~rc1-1", "2.3"),
        ("3.11.2+dfsg-1", "3.11.2"),
    ],
)
def test_upstream_versions(debian: str, upstream: str) -> None:
    assert pins.upstream(debian) == upstream


PYLOCK = """
lock-version = "1.0"
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64' and implementation_name == 'cpython'"]
requires-python = ">=3.11.2,<3.12"
dependency-groups = ["dev"]
created-by = "dsenv"

[[packages]]
name = "one"
version = "1"
wheels = [{ url = "https://files.example/one-1-py3-none-any.whl", hashes = { sha256 = "HASH" } }]

[[packages]]
name = "two"
version = "2"
marker = "'dev' in dependency_groups"
wheels = [{ url = "https://files.example/two-2-cp311-cp311-macosx_11_0_arm64.whl", hashes = { sha256 = "HASH" } }]
""".replace("HASH", "0" * 64)
TABLE = {"interpreters": [{"target": "linux-amd64", "version": "3.11.2", "package": "python3.11", "libc": "2.36"}]}


def _pins(text: str = PYLOCK) -> pins.Pins:
    return pins.read(LockFiles(table=TABLE, files={"pylock.toml": text}))[0]


def test_a_selection_takes_its_groups() -> None:
    assert [row.name for row in _pins().select(Selection(target=LINUX))] == ["one"]
    with pytest.raises(LockFormatError, match="nothing to install"):
        _pins().select(Selection(target=LINUX, groups=("dev",)))
    with pytest.raises(WrongUseError, match="no group docs"):
        _pins().select(Selection(target=LINUX, groups=("docs",)))


def test_what_is_written_is_valid_and_reads_back() -> None:
    inputs = {"packages": ["one"], "groups": {"dev": ["two"]}}
    written = pins.write(_pins(), inputs)
    text = written.files["pylock.toml"]
    Pylock.from_dict(tomllib.loads(text))
    again, read_inputs = pins.read(LockFiles(table=written.table, files=written.files))
    assert read_inputs == inputs
    assert digests.canonical(again) == digests.canonical(_pins())
    assert pins.write(again, inputs).files["pylock.toml"] == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lock-version = '2.0'\ncreated-by = 'x'\npackages = []",
        PYLOCK.replace('sha256 = "0', 'sha256 = "x'),
        "[",
        PYLOCK.replace("one-1-py3-none-any.whl", "..%2fone.whl"),
    ],
)
def test_a_damaged_pylock_is_refused(text: str) -> None:
    with pytest.raises(LockFormatError):
        _pins(text).select(Selection(target=LINUX))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("'dev' in dependency_groups", "extra == 'x'", "cannot be evaluated"),
        ("'dev' in dependency_groups", "sys_platform ~= 'linux'", "cannot be evaluated"),
        ('version = "1"\n', "", "no version of one"),
    ],
)
def test_what_a_pylock_cannot_mean_is_refused(old: str, new: str, told: str) -> None:
    with pytest.raises(LockFormatError, match=told):
        _pins(PYLOCK.replace(old, new)).select(Selection(target=LINUX))


@pytest.mark.parametrize("size", [0, -5])
def test_a_wheel_has_a_size(size: int) -> None:
    text = PYLOCK.replace("hashes", f"size = {size}, hashes")
    with pytest.raises(LockFormatError, match="cannot be one"):
        _pins(text).select(Selection(target=LINUX))


def _table(**changed: Any) -> dict[str, Any]:
    return {"interpreters": [{**TABLE["interpreters"][0], **changed}]}


@pytest.mark.parametrize("table", [_table(libc=""), _table(target="linux-sparc"), _table(version="3.11"), {}])
def test_a_damaged_interpreter_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(LockFormatError, match="the Python part"):
        pins.read(LockFiles(table=table, files={"pylock.toml": PYLOCK}))


def test_a_target_without_an_interpreter_is_refused() -> None:
    with pytest.raises(LockFormatError, match="no interpreter for macos-arm64"):
        _pins().select(Selection(target=MAC))
    with pytest.raises(LockFormatError, match="no installer for linux-amd64"):
        pins.installer(_pins(), LINUX)


def test_a_set_without_its_pylock_is_torn() -> None:
    with pytest.raises(TornLockError, match=r"pylock\.toml is missing"):
        pins.read(LockFiles(table=TABLE))


@pytest.mark.parametrize(
    ("python", "libc", "right"),
    [("3.11.2-6+deb12u6", "2.36-9", True), ("3.11.3-1", "2.36-9", False), ("3.11.2-6", "2.37-1", False)],
)
def test_an_interpreter_is_the_locked_package(python: str, libc: str, right: bool) -> None:  # noqa: FBT001
    artifact = Artifact(filename="x.deb", sha256="1" * 64)
    rows = {
        name: Provided(name=name, version=version, artifact=artifact, dependencies=())
        for name, version in (("python3.11", python), ("libc6", libc))
    }
    if right:
        pins.check(_pins(), {LINUX: rows})
        return
    for provided in ({LINUX: rows}, {}):
        with pytest.raises(LockFormatError, match=r"Python 3\.11\.2 on libc 2\.36"):
            pins.check(_pins(), provided)


def test_an_index_that_tells_no_sizes_is_written_without() -> None:
    installer = pins.Installer(target="linux-amd64", version="1", filename="uv-1.whl", sha256="0" * 64, url="x")
    written = pins.write(_pins().model_copy(update={"installers": (installer,)}), {})
    assert "size" not in written.table["installers"][0]
    again, _ = pins.read(LockFiles(table=written.table, files=written.files))
    assert pins.installer(again, LINUX).artifact().size is None


def test_of_uvs_settings_only_those_of_indexes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CONFIG_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/near:{tmp_path}/far")
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/user")
    texts = {
        "far": 'cache-dir = "/far"\nindex = [{ url = "https://far.example" }]\n',
        "near": 'cache-dir = "/near"\n',
        "user": 'resolution = "lowest"\nexclude-newer = 2024-01-01\nindex = [{ url = "https://user.example" }]\n',
    }
    for name, text in texts.items():
        (tmp_path / name / "uv").mkdir(parents=True)
        (tmp_path / name / "uv" / "uv.toml").write_text(text)
    assert tomllib.loads(uv.settings({"no-build": True})) == {
        "no-build": True,
        "cache-dir": "/near",
        "index": [{"url": "https://user.example"}, {"url": "https://far.example"}],
    }
    monkeypatch.setenv("UV_CONFIG_FILE", f"{tmp_path}/far/uv/uv.toml")
    assert tomllib.loads(uv.settings({}))["cache-dir"] == "/far"
    (tmp_path / "far" / "uv" / "uv.toml").write_text("[")
    with pytest.raises(WrongUseError, match="cannot be read"):
        uv.settings({})


def test_what_uv_warns_of_is_told_once() -> None:
    stderr = (
        "Using CPython 3.11\nwarning: The package `a` has no extra `b`\nwarning: The package `a` has no extra `b`\n"
    )
    assert engine.read_warnings(stderr) == ("The package `a` has no extra `b`",)


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of nothing


def _wheel(path: Path, record: str, *, entry_points: str = "", **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one-1.dist-info/RECORD", record)
        archive.writestr("one-1.dist-info/entry_points.txt", entry_points)
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_a_wheel_tells_what_it_brings(tmp_path: Path) -> None:
    """Its RECORD where that has a sha256, else its files themselves."""
    record = (
        "one/__init__.py,sha256=AAAA,0\none/strong,sha512=BBBB,0\none/bare,,\n"
        "one-1.dist-info/RECORD,,\none-1.dist-info/RECORD.jws,,\n\nodd\n"
    )
    points = "[console_scripts]\none = one:main\n# no = comment\n[gui_scripts]\ntwo=one:gui [x]\n[other]\nthree = x\n"
    members = {"one/__init__.py": "", "one/strong": "", "one/bare": "", "one/unlisted": ""}
    wheel = Wheel(_wheel(tmp_path / "one.whl", record, entry_points=points, **members), "one.whl")
    files = wheel.files()
    assert files.pop("one-1.dist-info/entry_points.txt")
    assert files == {"one/__init__.py": "000000", "one/strong": EMPTY, "one/bare": EMPTY, "one/unlisted": EMPTY}
    assert wheel.entry_points() == ["one", "two"]


def test_scripts_with_a_first_line_for_python_are_rewritten(tmp_path: Path) -> None:
    members = {"one-1.data/scripts/run": "#!python\n", "one-1.data/scripts/tool": "\x7fELF", "one/x": "#!python"}
    wheel = Wheel(_wheel(tmp_path / "one.whl", "", **members), "one.whl")
    assert wheel.python_scripts() == {"one-1.data/scripts/run"}


@pytest.mark.parametrize(
    "record", ["../x,sha256=AAAA,1\n", "/etc/passwd,sha256=AAAA,1\n", "x,sha256=A,1\n", "x" * 200_000, "\udcff"]
)
def test_a_wheel_that_lies_is_refused(tmp_path: Path, record: str) -> None:
    path = tmp_path / "one.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one-1.dist-info/RECORD", record.encode("utf-8", "surrogateescape"))
    with pytest.raises(IntegrityError):
        Wheel(path, "one.whl")


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(IntegrityError, match="readable"):
        Wheel(tmp_path / "x.whl", "x.whl")
    with zipfile.ZipFile(tmp_path / "y.whl", "w"):
        pass
    with pytest.raises(IntegrityError, match="0 RECORD files"):
        Wheel(tmp_path / "y.whl", "y.whl")


COMPILED = """\
async-timeout==5.0.1      # via redis
iniconfig==2.3.1          # via pytest
numpy==2.2.6              # via -c constraints.txt, pandas
pandas==3.1.1             # via -r requirements.in
pytest==9.2.0             # via -r group-dev.in
redis==8.1.0 ; python_version >= "3"  # via -r requirements.in, -r group-dev.in
"""


def test_what_pip_compile_writes_is_read() -> None:
    lines = pip_tools.read("# comment\n--index-url x\n" + COMPILED)
    assert [(line.name, line.version) for line in lines][:2] == [("async-timeout", "5.0.1"), ("iniconfig", "2.3.1")]
    assert pip_tools.reached(lines, "requirements.in") == {"async-timeout", "numpy", "pandas", "redis"}
    assert pip_tools.reached(lines, "group-dev.in") == {"async-timeout", "iniconfig", "pytest", "redis"}
    with pytest.raises(ToolError, match="no pin"):
        pip_tools.read("pandas>=2")


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("", ["https://default.example/simple"]),
        ("global.index-url='https://a.example/simple/'", ["https://a.example/simple"]),
        (
            "global.index-url='https://a.example'\ninstall.index-url='https://b.example'\n:env:.index-url='https://c.example'",
            ["https://c.example"],
        ),
        (
            "global.extra-index-url='https://x.example https://y.example file:///z'\nglobal.find-links='/opt'",
            ["https://default.example/simple", "https://x.example", "https://y.example"],
        ),
    ],
)
def test_pips_own_settings_say_the_indexes(text: str, indexes: list[str]) -> None:
    assert pip_tools.read_config(text, "https://default.example/simple") == indexes


def test_an_engine_for_one_place_has_a_space_of_one() -> None:
    space = Space((LINUX,), "3.11.2", alone=True)
    assert space.everywhere == {(LINUX, 2)}
    assert space.requires_python == ">=3.11.2,<3.11.3"


def _found(name: str, version: str, uploaded: str) -> Found:
    wheel = PackageWheel(
        url=f"https://files.example/{name}-{version}-py3-none-any.whl",
        upload_time=datetime.fromisoformat(uploaded),
        hashes={"sha256": "0" * 64},
    )
    return Found(name=name, version=version, index="https://index.example", wheels=(wheel,), dependencies=(), where={})


def test_a_pin_years_behind_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the newest of the lock, whatever the day is; a release that is old and still the newest is not."""
    asked: list[str] = []

    def file(version: str, day: str, *, yanked: bool = False) -> simple.File:
        return simple.File(
            name="x",
            version=version,
            url="x",
            sha256="",
            size=None,
            uploaded=datetime.fromisoformat(f"{day}T00:00:00Z"),
            yanked=yanked,
        )

    listed = {
        "old": [file("1.27", "2022-07-01"), file("3.17", "2026-05-01"), file("4.0rc1", "2026-06-01")],
        "done": [file("1.0", "2021-01-01"), file("9.0", "2026-01-01", yanked=True), file("odd", "2026-01-01")],
    }

    def pages(_index: str, names: Any, _network: Network) -> Any:
        asked.extend(names)
        return {name: listed[name] for name in names}

    monkeypatch.setattr(simple, "pages", pages)
    packages = [
        _found("new", "2", "2026-06-01T00:00:00Z"),
        _found("old", "1.27", "2022-07-01T00:00:00Z"),
        _found("done", "1.0", "2021-01-01T00:00:00Z"),
    ]
    assert freshness.stale(packages, Network(), None) == [
        "old 1.27 (2022-07-01) is 4 years behind its newest release 3.17: bound it, or see what holds it back"
    ]
    assert sorted(asked) == ["done", "old"]
    assert freshness.stale([], Network(), None) == []
    locked = Package(name=canonicalize_name("old"), version=Version("1.27"))
    for writer, again in (("dsenv", []), ("uv", ["old"])):  # what was locked was told then, unless by somebody else
        asked.clear()
        lock = Pylock(lock_version=Version("1.0"), created_by=writer, packages=[locked])
        standing = pins.Pins(interpreters=(), lock=lock)
        freshness.stale([packages[0], packages[1]], Network(), None, [standing])
        assert asked == again


def test_pips_impossible_is_told_as_a_chain() -> None:
    trace = (
        "ResolutionImpossible: [RequirementInformation(requirement=SpecifierRequirement('idna<2.5'), parent=None), "
        "RequirementInformation(requirement=SpecifierRequirement('idna<4,>=2.5'), parent=LinkCandidate("
        "'https://files.example/ab/requests-2.34.1-py3-none-any.whl (from https://index.example/simple/requests/)')), "
        "RequirementInformation(requirement=SpecifierRequirement('idna<4,>=2.5'), parent=LinkCandidate("
        "'https://files.example/cd/requests-2.33.0-py3-none-any.whl#sha256=00 (from https://index.example/)'))]"
    )
    assert pip_tools.read_chain(trace) == ["asked for: idna<2.5", "requests 2.34.1 wants idna<4,>=2.5"]
