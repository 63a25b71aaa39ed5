"""Python indexes that tell little or nothing right, and machines that have their own ideas of how uv resolves."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration import index as fake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]
SPEC = '[python]\nversion = "3.11"\npackages = ["{}"]\n'


@pytest.fixture
def index() -> Iterator[fake.Index]:
    with fake.serve() as found:
        yield found


def _with(index: fake.Index) -> dict[str, Any]:
    """Return the variables under which uv asks this index first, and the machine's own for what it lacks."""
    return {"UV_INDEX": index.url}


def _versions(project: Dsenv) -> dict[str, str]:
    lock = tomllib.loads(project.locks()["pylock.toml"].decode())
    return {package["name"]: package["version"] for package in lock["packages"]}


def test_an_index_without_sizes_serves(dsenv: Dsenv, index: fake.Index, tmp_path: Path) -> None:
    """Plain HTML pages; and every file of the wheel is held against it: headers, scripts, data."""
    files = {
        "{data}/headers/plain.h": "int x;\n",
        "{data}/scripts/plain-script": "#!python\nimport plain; print(plain.version)\n",
        "{data}/scripts/plain-tool": "#!/bin/sh\necho tool\n",
        "{data}/data/share/plain.txt": "text\n",
        "{data}/purelib/plain_extra.py": "x = 1\n",
    }
    index.add("plain", "1.0", content=fake.wheel("plain", "1.0", files))
    own = type(dsenv)(dsenv.directory, tmp_path / "store", _with(index)).spec(SPEC.format("plain"))
    own("lock")
    own("restore")
    assert own("run", "--", "plain-script").stdout == "1.0\n"
    assert own("run", "--", "plain-tool").stdout == "tool\n"
    answer = own.json("verify")
    assert answer["differences"] == []
    assert {item["path"] for item in answer["generated"] if "plain" in item["path"]} == {
        "venv/bin/plain-script",
        "venv/lib/python3.11/site-packages/plain-1.0.dist-info/RECORD",
    }
    tool = own.current / "venv/bin/plain-tool"
    tool.write_text("#!/bin/sh\necho evil\n")
    drift = own.json("verify", code=4)["differences"]
    assert [(item["path"], item["what"]) for item in drift] == [("venv/bin/plain-tool", "changed")]


@pytest.mark.parametrize("algorithm", ["", "sha512"])
def test_an_index_without_sha256_is_told(dsenv: Dsenv, index: fake.Index, algorithm: str) -> None:
    index.add("plain", "1.0")
    index.hashed = algorithm
    completed = dsenv.spec(SPEC.format("plain"))("lock", code=1, **_with(index))
    assert "gives no sha256 for" in completed.stderr
    assert "plain-1.0" in completed.stderr


@pytest.mark.parametrize("tag", ["musllinux_1_2_x86_64", "manylinux_2_39_x86_64", "win_amd64"])
def test_wheels_for_other_machines_only_are_told(dsenv: Dsenv, index: fake.Index, tag: str) -> None:
    index.add("plain", "1.0", tag=f"py3-none-{tag}")
    completed = dsenv.spec(SPEC.format("plain"))("lock", code=1, **_with(index))
    assert "plain" in completed.stderr
    assert "wheel" in completed.stderr
    assert "hint: " in completed.stderr or "no wheels" in completed.stderr
    assert "dsenv itself failed" not in completed.stderr


def test_prereleases_are_for_those_who_ask(dsenv: Dsenv, index: fake.Index) -> None:
    for name in ("plain", "other"):
        index.add(name, "1.0")
        index.add(name, "2.0a1")
    index.add("early", "0.1b1")
    spec = '[python]\nversion = "3.11"\npackages = ["plain", "other", "early"]\nprereleases = ["plain"]\n'
    dsenv.spec(spec)("lock", **_with(index))
    assert _versions(dsenv) == {"plain": "2.0a1", "other": "1.0", "early": "0.1b1"}


def test_a_machines_own_settings_of_uv_change_no_lock(dsenv: Dsenv, index: fake.Index, tmp_path: Path) -> None:
    """Only where indexes are is taken from uv.toml; how to resolve is said by dsenv.toml alone."""
    index.add("plain", "1.0")
    index.add("plain", "2.0")
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").write_text(
        f'resolution = "lowest"\nexclude-newer = "2001-01-01T00:00:00Z"\nrequired-version = "==0.0.1"\n'
        f'[[index]]\nurl = "{index.url}"\n[[dependency-metadata]]\nname = "plain"\nrequires-dist = ["six"]\n'
    )
    dsenv.spec(SPEC.format("plain"))("lock", XDG_CONFIG_HOME=str(tmp_path))
    assert _versions(dsenv) == {"plain": "2.0"}


def test_an_unknown_extra_is_told(dsenv: Dsenv, index: fake.Index) -> None:
    index.add("plain", "1.0")
    completed = dsenv.spec(SPEC.format("plain[nope]"))("lock", **_with(index))
    assert "warning: " in completed.stderr
    assert "nope" in completed.stderr


def _fresh(name: str, tmp_path: Path) -> bytes:
    """Return a wheel that no store has yet."""
    return fake.wheel(name, "1.0", {"x.py": f"path = {str(tmp_path)!r}\n"})


@pytest.mark.parametrize("trouble", ["busy", "slow"])
def test_a_server_that_recovers_serves(dsenv: Dsenv, index: fake.Index, tmp_path: Path, trouble: str) -> None:
    """Page, list of projects and file: each is asked for again, each at last comes."""
    index.add("plain", "1.0", content=_fresh("plain", tmp_path))
    if trouble == "busy":
        index.busy = 1
    else:
        index.slow = 1.5
    routed = f'[[python.indexes]]\nname = "acme"\nurl = "{index.url}"\npackages = ["pl*"]\n'
    dsenv.spec(SPEC.format("plain") + routed)("lock")
    dsenv("restore")
    assert dsenv("run", "--", "python", "-c", "import plain; print(plain.version)").stdout == "1.0\n"
    if trouble == "busy":
        assert min(index.asked.count(path) for path in ("/simple/", "/simple/plain/")) > 1


def test_a_page_that_is_cut_off_is_told(dsenv: Dsenv, index: fake.Index) -> None:
    index.add("plain", "1.0")
    index.cut = {"/simple/plain/"}
    completed = dsenv.spec(SPEC.format("plain"))("lock", code=1, **_with(index), UV_HTTP_RETRIES="0")
    assert "error: the Python index does not answer" in completed.stderr
    assert "/simple/plain/" in completed.stderr
    index.cut = {"/simple/"}
    routed = f'[[python.indexes]]\nname = "acme"\nurl = "{index.url}"\npackages = ["pl*"]\n'
    completed = dsenv.spec(SPEC.format("plain") + routed)("lock", code=1)
    assert f"error: {index.url} has no readable list of its projects" in completed.stderr


def test_a_file_that_is_cut_off_or_another_is_told(dsenv: Dsenv, index: fake.Index, tmp_path: Path) -> None:
    """And with the right bytes it is restored; what came in between is in no environment."""
    filename = index.add("plain", "1.0", content=_fresh("plain", tmp_path))
    path = f"/files/plain/{filename}"
    dsenv.spec(SPEC.format("plain"))("lock", **_with(index))
    index.cut = {path}
    completed = dsenv("restore", code=1)
    assert f"error: {filename} " in completed.stderr
    index.cut = set()
    index.lies[path] = fake.wheel("plain", "1.0", {"x.py": "evil"})
    completed = dsenv("restore", code=1)
    assert f"error: {filename} is not the file that the lock names" in completed.stderr
    assert "served other bytes than sha256:" in completed.stderr
    index.lies = {}
    dsenv("restore")
    assert dsenv("run", "--", "python", "-c", "import x; print('evil' in open(x.__file__).read())").stdout == "False\n"


@pytest.mark.parametrize("json", [False, True])
def test_a_page_of_ten_thousand_files(dsenv: Dsenv, index: fake.Index, *, json: bool) -> None:
    index.json = json
    for number in range(10_000):
        index.add("plain", f"1.{number}", content=b"never read")
    index.add("plain", "2.0")
    dates = {True: "as-of = 2020-06-30\n", False: ""}[json]
    dsenv.spec(SPEC.format("plain"))
    path = dsenv.directory / "dsenv.toml"
    path.write_text(path.read_text().replace("[platform]", f"{dates}[platform]"))
    dsenv("lock", **_with(index))
    assert _versions(dsenv) == {"plain": "2.0"}


@pytest.mark.parametrize(
    ("where", "lie", "told"),
    [
        ("wheel", "other-1.0", "lock"),
        ("page", "other-1.0", "lock"),
        ("wheel", "plain-2.0", "restore"),
        ("page", "plain-2.0", ""),  # harmless: the wheel is what it is called
    ],
)
def test_metadata_that_lies_is_told(dsenv: Dsenv, index: fake.Index, where: str, lie: str, told: str) -> None:
    """The wheel's own, or what the page offers beside it, is of another package or version."""
    name, _, version = lie.partition("-")
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    index.json = True
    if where == "page":
        filename = index.add("plain", "1.0")
        index.metadata[filename] = text.encode()
    else:
        index.add("plain", "1.0", content=fake.wheel("plain", "1.0", {"plain-1.0.dist-info/METADATA": text}))
    completed = dsenv.spec(SPEC.format("plain"))("lock", code=int(told == "lock"), **_with(index))
    if told == "lock":
        assert "Package metadata name `other` does not match given name `plain`" in completed.stderr
        assert dsenv.locks() == {}
        return
    completed = dsenv("restore", code=int(told == "restore"))
    assert ("Wheel version does not match filename (2.0 != 1.0)" in completed.stderr) == bool(told)
