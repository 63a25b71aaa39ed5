"""Which Python a target gets: the distribution's, a build that uv's list has, or one that a machine happens to have."""

from __future__ import annotations

import io
import json
import os
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from packaging.pylock import Pylock

from dsenv.ecosystem import LockFiles, Platform, Request, Upgrade
from dsenv.ecosystems.python import digests, install, interpreters, platforms, probe, program, standalone, uv
from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python.spec import Spec
from dsenv.ecosystems.system.offer import Locked
from dsenv.errors import DownloadError, DriftError, DsenvError, LockFormatError, ResolutionError
from dsenv.ground import GroundCheck
from dsenv.locks import Locks, Part
from dsenv.network import Network
from dsenv.operations import strictness
from dsenv.pins import TARGETS, Artifact, Provided, Selection, Target
from dsenv.progress import Silent
from dsenv.steps import Place, Run, Unpack
from dsenv.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from dsenv.ecosystems.python.pins import Interpreter, Pins

LINUX, ARM, MAC, WINDOWS = (
    Target.parse(text) for text in ("linux-amd64", "linux-arm64", "macos-arm64", "windows-amd64")
)
BOOKWORM = {"python3.11": "3.11.2-6+deb12u6", "libc6": "2.36-9+deb12u14"}
MIRRORED = "https://builds.example/github/builds/20260101/cpython-3.12.9%2B20260101-linux.tar.gz"
FIRST_BUILDS = {  # of 3.12.0: old enough to be never built again; from the list in uv's repository
    "linux-amd64": "e51a5293f214053ddb4645b2c9f84542e2ef86870b8655704367bd4b29d39fe9",
    "linux-arm64": "bccfe67cf5465a3dfb0336f053966e2613a9bc85a6588c2fcf1366ef930c4f88",
    "macos-arm64": "4734a2be2becb813830112c780c9879ac3aff111a0b0cd590e65ec7465774d02",
    "macos-amd64": "5a9e88c8aa52b609d556777b52ebde464ae4b4f77e4aac4eb693af57395c9abf",
    "windows-amd64": "facfaa1fbc8653f95057f3c4a0f8aa833dab0e0b316e24ee8686bc761d4b4f8d",
}


class Told(Silent):
    """Keeps what was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)


def _entry(version: str, target: Target, **changed: Any) -> dict[str, Any]:
    major, minor, patch = version.split(".")
    os = {"linux": "linux", "macos": "darwin", "windows": "windows"}[target.os]
    name = f"cpython-{version}%2B20260101-{target}-install_only.tar.gz"
    return {
        "name": "cpython",
        "arch": {"family": {"amd64": "x86_64", "arm64": "aarch64"}[target.architecture], "variant": None},
        "os": os,
        "libc": "gnu" if os == "linux" else "none",
        "major": int(major),
        "minor": int(minor),
        "patch": int(patch),
        "prerelease": "",
        "url": f"https://builds.example/20260101/{name}",
        "sha256": "a" * 64,
        "variant": None,
        "build": "20260101",
        **changed,
    }


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes uv's settings name a list of these builds."""
    for name in ("UV_PYTHON_INSTALL_MIRROR", "UV_ASTRAL_MIRROR_URL", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)

    def write(*entries: dict[str, Any]) -> None:
        (tmp_path / "list.json").write_text(json.dumps({str(at): entry for at, entry in enumerate(entries)}))
        monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(tmp_path / "list.json"))

    return write


def _request(
    tmp_path: Path, version: str, *targets: Target, previous: tuple[Pins, ...] = (), upgrade: Upgrade | None = None
) -> Request:
    return Request(
        spec=Spec(version=version),
        platform=Platform(base="x", targets=targets, locale="C", timezone="UTC"),
        previous=previous,
        upgrade=upgrade or Upgrade(),
        offers={
            target: Locked(label="debian bookworm", offered=BOOKWORM, dependencies={}, whole=True)
            for target in targets
            if target.os == "linux"
        },
        needs=(),
        provided=dict,
        store=Store(tmp_path / "store"),
        progress=Told(),
    )


def _offered(request: Request, before: datetime | None = None) -> list[tuple[str, str, str]]:
    """Return version, kind and libc of each choice."""
    kinds = {standalone.Build: "held", standalone.Listed: "listed", type(None): "any"}
    return [
        (choice.version, choice.package or kinds[type(choice.build)], choice.libc)
        for choice in interpreters.offered(request.spec, request, before)
    ]


def _pins(*rows: dict[str, Any]) -> Pins:
    head = {"lock-version": "1.0", "created-by": "dsenv", "requires-python": ">=3.12", "packages": []}
    lock = Pylock.from_dict(head)
    return python_pins.Pins(interpreters=tuple(map(python_pins.Interpreter.model_validate, rows)), lock=lock)


def _held(version: str = "3.12.9", target: Target = LINUX, **changed: str) -> dict[str, Any]:
    build = {
        "date": "20260101",
        "filename": "cpython-3.12.9+20260101-linux.tar.gz",
        "sha256": "b" * 64,
        "url": MIRRORED,
        **changed,
    }
    return {"target": str(target), "version": version, "build": build, "libc": "2.36" if target == LINUX else ""}


def test_a_distributions_own_python_comes_first(tmp_path: Path, listed: Any) -> None:
    listed(*(_entry(version, target) for version in ("3.11.9", "3.11.8") for target in (LINUX, MAC)))
    assert _offered(_request(tmp_path, "3.11", LINUX, ARM)) == [("3.11.2", "python3.11", "2.36")] * 2
    assert _offered(_request(tmp_path, "3.11.2", LINUX)) == [("3.11.2", "python3.11", "2.36")]
    both = [("3.11.2", "python3.11", "2.36"), ("3.11.9", "listed", "")]
    assert _offered(_request(tmp_path, "3.11", LINUX, MAC)) == both
    assert _offered(_request(tmp_path, "3.11.8", LINUX)) == [("3.11.8", "listed", "2.36")]


def test_all_targets_get_one_version_if_there_is_one(tmp_path: Path, listed: Any) -> None:
    listed(
        _entry("3.12.10", LINUX),
        _entry("3.12.9", LINUX),
        _entry("3.12.9", MAC),
        _entry("3.12.10", WINDOWS, variant="freethreaded"),
        _entry("3.12.8", WINDOWS, url="https://builds.example/20260101/cpython.tar.zst"),
        _entry("3.12.11", LINUX, prerelease="rc1"),
        _entry("3.12.11", LINUX, libc="musl"),
        _entry("3.12.11", LINUX, arch={"family": "x86_64", "variant": "v3"}),
        _entry("3.12.12", LINUX, name="pypy"),
    )
    assert _offered(_request(tmp_path, "3.12", LINUX, MAC)) == [("3.12.9", "listed", "2.36"), ("3.12.9", "listed", "")]
    assert _offered(_request(tmp_path, "3.12", LINUX)) == [("3.12.10", "listed", "2.36")]
    request = _request(tmp_path, "3.12", LINUX, WINDOWS)
    assert _offered(request) == [("3.12.10", "listed", "2.36"), ("3.12.0", "any", "")]
    assert isinstance(request.progress, Told)
    assert request.progress.warnings == [
        "no build of Python 3.12 is listed for windows-amd64: a restore there takes any"
    ]


def test_a_locked_build_stays(tmp_path: Path, listed: Any) -> None:
    listed(*(_entry(version, target) for version in ("3.12.10", "3.12.9") for target in (LINUX, MAC)))
    pins = (_pins(_held()),)
    assert _offered(_request(tmp_path, "3.12", LINUX, previous=pins)) == [("3.12.9", "held", "2.36")]
    both = [("3.12.9", "held", "2.36"), ("3.12.9", "listed", "")]
    assert _offered(_request(tmp_path, "3.12", LINUX, MAC, previous=pins)) == both
    for upgrade in (Upgrade(everything=True), Upgrade(names=frozenset({"python"}))):
        request = _request(tmp_path, "3.12", LINUX, previous=pins, upgrade=upgrade)
        assert _offered(request) == [("3.12.10", "listed", "2.36")]
    assert _offered(_request(tmp_path, "3.12.10", LINUX, previous=pins)) == [("3.12.10", "listed", "2.36")]
    merged = (_pins(_held()), _pins(_held("3.12.10")))
    assert _offered(_request(tmp_path, "3.12", LINUX, previous=merged)) == [("3.12.10", "held", "2.36")]


def test_a_date_holds_for_builds(tmp_path: Path, listed: Any) -> None:
    listed(_entry("3.12.10", LINUX, build="20260301"), _entry("3.12.9", LINUX), _entry("3.12.8", LINUX, build=None))
    request = _request(tmp_path, "3.12", LINUX)
    assert _offered(request, datetime(2026, 1, 2, tzinfo=UTC)) == [("3.12.9", "listed", "2.36")]
    assert _offered(request, datetime(2026, 3, 2, tzinfo=UTC)) == [("3.12.10", "listed", "2.36")]
    held = _request(tmp_path, "3.12", LINUX, previous=(_pins(_held("3.12.11", date="20260401")),))
    assert _offered(held, datetime(2026, 1, 2, tzinfo=UTC)) == [("3.12.9", "listed", "2.36")]
    with pytest.raises(ResolutionError, match="no build made before 2026-01-01 is listed for linux-amd64") as caught:
        _offered(request, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert caught.value.cause == "3.12.10 of 20260301, 3.12.9 of 20260101, 3.12.8 of 20260101"
    listed(_entry("3.12.8", LINUX, build=None, url="https://builds.example/x/cpython.tar.gz"))
    with pytest.raises(ResolutionError) as caught:
        _offered(request, datetime(2027, 1, 1, tzinfo=UTC))
    assert caught.value.cause == "3.12.8 of an unknown day"


def test_a_distribution_without_it_is_named(tmp_path: Path, listed: Any) -> None:
    listed()
    with pytest.raises(
        ResolutionError, match=r"bookworm has no Python 3\.12: it has python3\.11, and no build is"
    ) as e:
        _offered(_request(tmp_path, "3.12", LINUX))
    assert "not supported" not in e.value.hint
    with pytest.raises(ResolutionError, match=r"no Python 3\.11\.3: its python3\.11 is 3\.11\.2, and no build"):
        _offered(_request(tmp_path, "3.11.3", LINUX))


def test_only_a_whole_offer_says_that_there_is_no_package() -> None:
    rows = Locked(label="debian bookworm", offered=BOOKWORM, dependencies={})
    archive = Locked(label="debian bookworm", offered=BOOKWORM, dependencies={}, whole=True)
    (need,) = interpreters.needs(Spec(version="3.11"), {LINUX: rows}, ())
    assert (need.name, need.why) == ("python3.11", "python")
    assert interpreters.needs(Spec(version="3.12"), {LINUX: archive}, ()) == ()
    assert interpreters.needs(Spec(version="3.12"), {}, ()) == ()
    assert interpreters.needs(Spec(version="3.12"), {LINUX: rows}, (_pins(_held()),)) == ()
    for previous in ((), (_pins(_held("3.13.1")),), (_pins(_held(target=MAC)),)):
        with pytest.raises(ResolutionError, match=r"no locked package is Python 3\.12"):
            interpreters.needs(Spec(version="3.12"), {LINUX: rows}, previous)


@pytest.mark.parametrize("text", TARGETS)
def test_uvs_own_list_has_builds_with_hashes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real uv, which asks nobody: its list and its hashes are in the program."""
    for name in ("UV_PYTHON_DOWNLOADS_JSON_URL", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "https://mirror.example")  # which must not come into a lock
    monkeypatch.setenv("UV_OFFLINE", "1")
    target = Target.parse(text)
    rows = standalone.listed("3.12", [target], Network())[target]
    assert [row.version for row in rows] == [f"3.12.{patch}" for patch in range(len(rows) - 1, -1, -1)]
    assert all(row.date for row in rows)
    build = standalone.locked(rows[-1], Store(tmp_path), Silent())
    assert build.date == rows[-1].date
    assert build.filename.startswith("cpython-3.12.0+")
    assert "mirror.example" not in build.url
    assert build.sha256 == FIRST_BUILDS[text]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no list of Python's builds"),
        ('{"x": {"name": "cpython"}}', "no list of Python's builds"),
        ("[]", "no list of Python's builds"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_is_none_is_told(
    content: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "list.json").write_text(content)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", (tmp_path / "list.json").as_uri())
    with pytest.raises(DownloadError, match=told) as caught:
        standalone.listed("3.12", [LINUX], Network())
    assert "python-downloads-json-url" in caught.value.hint


def test_an_address_of_this_machine_is_in_no_lock(tmp_path: Path, listed: Any) -> None:
    listed(_entry("3.12.9", LINUX, url=f"file://{tmp_path}/20260101/cpython.tar.gz"))
    (row,) = standalone.listed("3.12", [LINUX], Network())[LINUX]
    with pytest.raises(ResolutionError, match="no other machine has"):
        standalone.locked(row, Store(tmp_path / "store"), Silent())


def test_no_credentials_are_locked(tmp_path: Path, listed: Any) -> None:
    listed(_entry("3.12.9", LINUX, url="https://ann:secret@builds.example/20260101/cpython.tar.gz?token=x"))
    (row,) = standalone.listed("3.12", [LINUX], Network())[LINUX]
    build = standalone.locked(row, Store(tmp_path / "store"), Silent())
    assert build.url == "https://builds.example/20260101/cpython.tar.gz"


def test_a_mirror_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = python_pins.Interpreter.model_validate(_held()).build
    assert build
    for name in ("UV_PYTHON_INSTALL_MIRROR", "UV_ASTRAL_MIRROR_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    assert build.artifact().urls == (MIRRORED,)
    (tmp_path / "uv.toml").write_text('python-install-mirror = "file:///srv/builds/"\n')
    name = "20260101/cpython-3.12.9%2B20260101-linux.tar.gz"
    assert build.artifact().urls == (f"file:///srv/builds/{name}", MIRRORED)
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "https://ann:pw@mirror.example/x")
    assert build.artifact().urls == (f"https://ann:pw@mirror.example/x/{name}", MIRRORED)
    monkeypatch.delenv("UV_PYTHON_INSTALL_MIRROR")
    (tmp_path / "uv.toml").unlink()
    monkeypatch.setenv("UV_ASTRAL_MIRROR_URL", "https://mirror.example/astral/")
    assert build.artifact().urls == (f"https://mirror.example/astral/github/builds/{name}", MIRRORED)
    other = build.model_copy(update={"url": "https://own.example/pythons/cpython.tar.gz"})
    assert other.artifact().urls == ("https://own.example/pythons/cpython.tar.gz",)
    assert "python-install-mirror" in other.artifact().hint


def test_a_build_is_locked_and_reads_back() -> None:
    pins = _pins(_held(), _held(target=MAC))
    written = python_pins.write(pins, {})
    again, _ = python_pins.read(LockFiles(table=written.table, files=written.files))
    assert again.interpreters == pins.interpreters
    assert python_pins.versions(again) == {"python": "3.12.9"}
    mirrored = _pins(_held(url="https://mirror.example/20260101/x.tar.gz"), _held(target=MAC))
    assert digests.canonical(mirrored) == digests.canonical(pins)
    assert digests.canonical(_pins(_held(sha256="c" * 64))) != digests.canonical(_pins(_held()))


def test_an_environment_is_named_by_its_build() -> None:
    def identity(row: dict[str, Any]) -> str:
        part = Part(pins=_pins(row), inputs={})
        return Locks(targets=(LINUX,), parts={"python": part}).environment_id(Selection(target=LINUX))

    assert identity(_held()) == identity(_held(url="https://mirror.example/20260101/x.tar.gz"))
    assert identity(_held()) != identity(_held(sha256="c" * 64))


@pytest.mark.parametrize(
    "changed",
    [
        {"filename": "../python.tar.gz"},
        {"filename": "python.zip"},
        {"sha256": "x"},
        {"url": "file:///srv/python.tar.gz"},
        {"url": "https://ann:pw@builds.example/python.tar.gz"},
        {"date": "today"},
        {},
    ],
)
def test_a_damaged_build_is_refused(changed: dict[str, str]) -> None:
    row = _held()
    damaged = {key: value for key, value in row.items() if key != "build"}  # neither a package nor a build
    if changed:
        damaged["build"] = {**row["build"], **changed}
    table = {"interpreters": [damaged]}
    files = python_pins.write(_pins(row), {}).files
    with pytest.raises(LockFormatError, match="the Python part"):
        python_pins.read(LockFiles(table=table, files=files))


def test_a_build_stands_on_the_locked_libc() -> None:
    artifact = Artifact(filename="x.deb", sha256="1" * 64)
    for version, right in (("2.36-9", True), ("2.41-1", False)):
        rows = {LINUX: {"libc6": Provided(name="libc6", version=version, artifact=artifact, dependencies=())}}
        if right:
            python_pins.check(_pins(_held()), rows)
        else:
            with pytest.raises(LockFormatError, match=r"libc6 2\.41 among its system packages"):
                python_pins.check(_pins(_held()), rows)


def _place(kind: Any) -> Place:
    return Place(kind=kind, prefix="/p", root="/p/root" if kind == "project" else "", inputs="/p/.inputs")


def _row(**fields: Any) -> Interpreter:
    return python_pins.Interpreter.model_validate(fields)


@pytest.mark.parametrize("kind", ["project", "host", "image"])
def test_a_build_runs_from_the_environment(kind: Any) -> None:
    assert program.interpreter(_row(**_held()), _place(kind)) == ("/p/python/bin/python3.12", "")
    assert program.interpreter(_row(**_held(target=WINDOWS)), _place(kind)) == ("/p/python/python.exe", "")
    assert platforms.library(WINDOWS, "3.12") == "Lib"


def test_elsewhere_one_is_found_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution's own on a foreign machine, and a target that no build is listed for."""
    pythons = {"3.11": "/usr/bin/python3.11"}
    monkeypatch.setattr(uv, "find_python", pythons.get)
    monkeypatch.setattr(uv, "python_version", lambda _: "3.11.7")
    own = _row(target="linux-amd64", version="3.11.2", package="python3.11", libc="2.36")
    assert program.interpreter(own, _place("project")) == ("/p/root/usr/bin/python3.11", "")
    path, differs = program.interpreter(own, _place("host"))
    assert (path, differs) == ("/usr/bin/python3.11", "Python here is 3.11.7 (/usr/bin/python3.11), locked is 3.11.2")
    assert probe.compiled(own, _place("host")).startswith("3.11.7-")
    pythons["3.11.2"] = "/opt/python"
    monkeypatch.setattr(uv, "python_version", lambda _: "3.11.2")
    assert program.interpreter(own, _place("host")) == ("/opt/python", "")
    path, differs = program.interpreter(_row(target="macos-arm64", version="3.11.0"), _place("project"))
    assert path == "/usr/bin/python3.11"
    assert "the lock has no build of it for macos-arm64" in differs
    pythons.clear()
    with pytest.raises(DsenvError, match=r"this machine has no Python 3\.11"):
        program.interpreter(own, _place("host"))


def test_an_image_unpacks_the_very_archive() -> None:
    build = _row(**_held()).build
    assert build
    (step,) = install._unpack(build, _place("project"))
    assert isinstance(step, Unpack)
    assert (step.artifact.sha256, step.directory) == ("b" * 64, "/p/python")
    steps = install._unpack(build, _place("image"))
    assert [step.argv[0] for step in steps if isinstance(step, Run)] == ["mkdir", "tar"]


def test_an_engine_runs_on_the_build_that_is_locked(tmp_path: Path) -> None:
    """Out of the store, where links are not laid: pip-tools resolves under the very Python that is locked."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("bin/python3.12", "bin/python3.12-config", "bin/2to3-3.12"):
            member = tarfile.TarInfo(f"python/{name}")
            member.mode = 0o755
            archive.addfile(member)
    store = Store(tmp_path, offline=True)
    build = _row(**_held(sha256=store.keep(packed.getvalue()))).build
    assert build
    program = interpreters.program({LINUX: build}, store, Silent())
    assert program.endswith("/bin/python3.12")
    assert os.access(program, os.X_OK)
    assert interpreters.program({}, store, Silent()) == ""


def test_strict_names_everything_that_is_not_as_locked() -> None:
    strictness.insist(ground=GroundCheck(equal=("libc6",)))
    ground = GroundCheck(newer=("libssl3 2 (locked 1)",), missing=("tzdata 1",))
    with pytest.raises(DriftError, match="does not have exactly what is locked") as caught:
        strictness.insist(misfit="this machine is another", ground=ground, differs=["Python here is 3.11.7"])
    assert caught.value.cause.splitlines() == [
        "this machine is another",
        "Python here is 3.11.7",
        "base package libssl3 2 (locked 1): newer",
        "base package tzdata 1: missing",
    ]
    assert caught.value.exit_code == 4
