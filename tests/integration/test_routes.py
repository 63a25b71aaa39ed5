"""Several indexes: what is routed to one comes from nowhere else, and nobody but its server learns who one is there.

Most locks here are for a target without a distribution, since apt has no part in this.
"""

from __future__ import annotations

import os
import threading
import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.integration import index as fake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Dsenv

pytestmark = pytest.mark.index
USER, PASSWORD = "ann", "s3cr3t/@:%"
HEAD = """\
[project]
name = "test"

[platform]
base = "bootstrap:debian:bookworm"
targets = [{targets}]

[python]
version = "3.11"
packages = [{packages}]
"""


@pytest.fixture
def public() -> Iterator[fake.Index]:
    with fake.serve() as found:
        yield found


@pytest.fixture
def acme() -> Iterator[fake.Index]:
    with fake.serve() as found:
        yield found


def _spec(project: Dsenv, packages: str, *indexes: str, targets: str = '"macos-arm64"') -> Dsenv:
    text = "\n".join([HEAD.format(targets=targets, packages=packages), *indexes])
    (project.directory / "dsenv.toml").write_text(text)
    return project


def _index(url: str, packages: str, *, name: str = "acme", more: str = "") -> str:
    return f'[[python.indexes]]\nname = "{name}"\nurl = "{url}"\npackages = [{packages}]\n{more}\n'


def _sources(project: Dsenv) -> dict[tuple[str, str], str]:
    packages = tomllib.loads(project.locks()["pylock.toml"].decode())["packages"]
    return {(package["name"], package["index"]): package["version"] for package in packages}


def test_a_name_of_ones_own_never_comes_from_outside(dsenv: Dsenv, public: fake.Index, acme: fake.Index) -> None:
    """Asked for directly, by a public package, by another of one's own, by name and by pattern."""
    for name in ("acme-core", "acme-util", "acme-deep", "tool"):
        public.add(name, "99.0")
    public.add("top", "1.0", requires=("acme-util>=0.5", "tool"))
    acme.add("acme-core", "1.0", requires=("acme-deep",))
    acme.add("acme-util", "1.0")
    acme.add("acme-deep", "0.1a1")
    acme.add("tool", "1.0")
    acme.add("top", "50.0")  # nobody routes it there
    _spec(dsenv, '"top", "acme-core"', _index(acme.url, '"Acme_*", "tool"'))("lock", UV_INDEX=public.url)
    assert _sources(dsenv) == {
        ("acme-core", acme.url): "1.0",
        ("acme-deep", acme.url): "0.1a1",
        ("acme-util", acme.url): "1.0",
        ("tool", acme.url): "1.0",
        ("top", public.url): "1.0",
    }
    assert not [path for path in public.asked if "acme" in path or "tool" in path]


def test_a_name_that_only_strangers_have_fails_the_lock(dsenv: Dsenv, public: fake.Index, acme: fake.Index) -> None:
    public.add("top", "1.0", requires=("acme-lost",))
    public.add("acme-lost", "99.0")
    acme.add("acme-core", "1.0")
    completed = _spec(dsenv, '"top"', _index(acme.url, '"acme-*"'))("lock", code=1, UV_INDEX=public.url)
    assert "error: a package that is routed to an index would come from another one" in completed.stderr
    assert f"acme-lost 99.0 was found at {public.url}" in completed.stderr
    assert f"routes it to index acme ({acme.url})" in completed.stderr
    completed = _spec(dsenv, '"top"', _index(acme.url, '"acme-lost"'))("lock", code=1, UV_INDEX=public.url)
    assert f"acme-lost is looked for on index acme ({acme.url}) alone" in completed.stderr
    assert dsenv.locks() == {}


@pytest.mark.apt
def test_each_target_may_have_its_own_index(dsenv: Dsenv, public: fake.Index, acme: fake.Index) -> None:
    """As with builds for graphics cards: one index on Linux, the default one on macOS."""
    public.add("torch", "2.0")
    acme.add("torch", "2.0")
    acme.add("torch", "2.0+cu1")
    public.add("top", "1.0", requires=("torch",))
    targets = '"linux-amd64", "macos-arm64"'
    more = 'targets = ["linux-amd64"]'
    _spec(dsenv, '"top"', _index(acme.url, '"torch"', more=more), targets=targets)("lock", UV_INDEX=public.url)
    packages = tomllib.loads(dsenv.locks()["pylock.toml"].decode())["packages"]
    found = {package["version"]: package for package in packages if package["name"] == "torch"}
    assert {version: package["index"] for version, package in found.items()} == {
        "2.0": public.url,
        "2.0+cu1": acme.url,
    }
    assert "darwin" in found["2.0"]["marker"]
    assert "linux" in found["2.0+cu1"]["marker"]
    before = dsenv.locks()
    assert dsenv("lock", UV_INDEX=public.url).stdout.endswith("nothing to do\n")
    _spec(dsenv, '"top", "six"', _index(acme.url, '"torch"', more=more), targets=targets)("lock", UV_INDEX=public.url)
    assert set(_sources(dsenv)) > {("torch", public.url), ("torch", acme.url)}
    assert before != dsenv.locks()


def test_one_version_from_two_indexes(dsenv: Dsenv, public: fake.Index, acme: fake.Index) -> None:
    public.add("torch", "2.0")
    acme.add("torch", "2.0", content=fake.wheel("torch", "2.0", {"x.py": ""}))
    targets = '"windows-amd64", "macos-arm64"'
    more = 'targets = ["windows-amd64"]'
    _spec(dsenv, '"torch"', _index(acme.url, '"torch"', more=more), targets=targets)("lock", UV_INDEX=public.url)
    assert _sources(dsenv) == {("torch", public.url): "2.0", ("torch", acme.url): "2.0"}


def test_a_page_of_links_is_an_index_too(dsenv: Dsenv, public: fake.Index, acme: fake.Index) -> None:
    public.add("acme-core", "99.0")
    acme.add("acme-core", "1.0")
    url = acme.url.replace("/simple", "/links.html")
    _spec(dsenv, '"acme-core"', _index(url, '"acme-*"', more='format = "flat"'))("lock", UV_INDEX=public.url)
    assert _sources(dsenv) == {("acme-core", url): "1.0"}


def test_an_index_that_lists_nothing_is_told(dsenv: Dsenv, acme: fake.Index) -> None:
    acme.lists = False
    acme.add("acme-core", "1.0")
    completed = _spec(dsenv, '"acme-core"', _index(acme.url, '"acme-*"'))("lock", code=1)
    assert f"index acme ({acme.url}) lists no projects, which a pattern needs" in completed.stderr
    assert "Name the packages outright" in completed.stderr
    _spec(dsenv, '"acme-core"', _index(acme.url, '"acme-core"'))("lock")


def test_a_variable_that_is_missing_is_told(dsenv: Dsenv, acme: fake.Index) -> None:
    acme.add("acme-core", "1.0")
    url = acme.url.replace("127.0.0.1", "${ACME_HOST}")
    completed = _spec(dsenv, '"acme-core"', _index(url, '"acme-*"'))("lock", code=2)
    assert "the address of index acme has the variable ${ACME_HOST}, which is not set" in completed.stderr
    dsenv("lock", ACME_HOST="127.0.0.1")
    assert _sources(dsenv) == {("acme-core", acme.url): "1.0"}


def _ways(tmp_path: Path, url: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return each way to say who one is: the address in dsenv.toml, and the environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    netrc.chmod(0o600)
    program = tmp_path / "bin" / "keyring"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n'
        f'case "$*" in "get {url} ann") echo "{PASSWORD}";; '
        f'"get {url} --mode creds") printf "%s\\n" ann "{PASSWORD}";; *) exit 1;; esac\n'
    )
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    with_user = url.replace("://", "://ann@")
    template = url.replace("://", "://${ACME_USER}:${ACME_PASSWORD}@")
    return {
        "variables of uv": (url, {"UV_INDEX_ACME_USERNAME": USER, "UV_INDEX_ACME_PASSWORD": PASSWORD}),
        "variables in the address": (template, {"ACME_USER": USER, "ACME_PASSWORD": PASSWORD}),
        "netrc": (url, {"NETRC": str(netrc)}),
        "keyring, with a user": (with_user, {"PATH": path}),
        "keyring, without": (url, {"PATH": path}),
    }


WAYS = ["variables of uv", "variables in the address", "netrc", "keyring, with a user", "keyring, without"]


class _Watch:
    """Looks at every command line of this machine while it is watched."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.lines.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue
            time.sleep(0.02)


@pytest.mark.apt
@pytest.mark.parametrize("way", WAYS)
def test_who_one_is_stays_a_secret(dsenv: Dsenv, acme: fake.Index, tmp_path: Path, way: str) -> None:
    """Locked, downloaded, restored, written as an image's context: the password stands nowhere."""
    started = time.time()
    acme.add("acme-core", "1.0", content=fake.wheel("acme-core", "1.0", {"x.py": f"{way} {started}"}))  # in no store
    acme.login = (USER, PASSWORD)
    url, env = _ways(tmp_path, acme.url)[way]
    own = type(dsenv)(dsenv.directory, dsenv.store, env)
    _spec(own, '"acme-core"', _index(url, '"acme-*"'), targets='"linux-amd64"')
    with _Watch() as watch:
        said = [own(*words) for words in (("lock", "-v"), ("restore", "-v"), ("docker", "--no-build", "-v"))]
    assert own("run", "--", "python", "-c", "import acme_core; print(acme_core.version)").stdout == "1.0\n"
    assert _sources(own) == {("acme-core", acme.url): "1.0"}
    assert any("uv lock" in line for line in watch.lines)
    for text in (*watch.lines, *(part for completed in said for part in (completed.stdout, completed.stderr))):
        assert PASSWORD not in text
        assert "s3cr3t" not in text
    for directory in (own.directory, own.store):
        for path in directory.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime > started:
                assert b"s3cr3t" not in path.read_bytes(), path
    if (tmp_path / "asked").exists():
        assert "s3cr3t" not in (tmp_path / "asked").read_text()


def test_who_is_refused_is_told(dsenv: Dsenv, public: fake.Index, acme: fake.Index) -> None:
    """And what is refused here is not looked for elsewhere."""
    public.add("acme-core", "99.0")
    acme.add("acme-core", "1.0")
    acme.login = (USER, PASSWORD)
    wrong = {"UV_INDEX_ACME_USERNAME": USER, "UV_INDEX_ACME_PASSWORD": "wr0ng"}
    for packages in ('"acme-core"', '"acme-*"'):
        for env in ({}, wrong):
            own = type(dsenv)(dsenv.directory, dsenv.store, {"UV_INDEX": public.url, **env})
            completed = _spec(own, '"acme-core"', _index(acme.url, packages))("lock", code=1)
            assert "answered 401" in completed.stderr
            assert "hint: Give user and password" in completed.stderr or "~/.netrc" in completed.stderr
            assert "wr0ng" not in completed.stderr
    assert dsenv.locks() == {}


@pytest.fixture
def pip(tmp_path: Path) -> Any:
    """Return a function that sets pip up, and the variables that make it count."""

    def set_up(text: str, **env: str) -> dict[str, str]:
        path = tmp_path / "pip.conf"
        path.write_text(text)
        return {"PIP_CONFIG_FILE": str(path), "PIP_FIND_LINKS": "", **env}

    return set_up


def _with_uv(index: fake.Index) -> None:
    """Serve what is locked as the installer, so that an index can be the only one."""
    index.add("uv", version("uv"), tag="py3-none-macosx_11_0_arm64")


def test_pips_index_serves_unrepeated(dsenv: Dsenv, acme: fake.Index, pip: Any, tmp_path: Path) -> None:
    """With its password, which stays where it was."""
    _with_uv(acme)
    acme.add("plain", "1.0")
    acme.login = (USER, PASSWORD)
    url = acme.url.replace("://", "://ann:s3cr3t%2F%40%3A%25@")
    env = pip(f"[global]\nindex-url = {url}\nextra-index-url =\ntimeout = 7\n")
    completed = _spec(dsenv, '"plain"')("lock", "-v", **env)
    assert f"pip's index-url is taken: {acme.url} ({env['PIP_CONFIG_FILE']})" in completed.stderr
    assert "s3cr3t" not in completed.stderr
    assert _sources(dsenv) == {("plain", acme.url): "1.0"}
    assert "s3cr3t" not in str(dsenv.locks())
    url, env = _ways(tmp_path, acme.url)["keyring, with a user"]
    completed = dsenv("lock", "--upgrade", "-v", **pip(f"[global]\nindex-url = {url}\n", **env))
    assert f"+ keyring get {acme.url} ann\n" in completed.stderr
    assert "s3cr3t" not in completed.stderr


def test_pips_other_indexes_have_to_be_said(dsenv: Dsenv, public: fake.Index, acme: fake.Index, pip: Any) -> None:
    """The lock stops with the very entry; with that it goes on, and another one is not asked for."""
    acme.add("acme-core", "1.0")
    public.add("linked", "1.0")
    links = public.url.replace("/simple", "/links.html")
    secret = acme.url.replace("://", "://ann:s3cr3t@")
    env = pip(f"[install]\nextra-index-url = {secret}\n", PIP_FIND_LINKS=f"{links} /nowhere")
    completed = _spec(dsenv, '"acme-core", "six", "linked"')("lock", code=2, **env)
    assert "error: pip looks at more places than the default index" in completed.stderr
    assert "s3cr3t" not in completed.stderr
    block = [line[2:] for line in completed.stderr.splitlines() if line.startswith("  ")]
    entries = tomllib.loads("\n".join(block))["python"]["indexes"]
    assert [(entry["url"], entry["packages"], entry.get("format")) for entry in entries] == [
        (acme.url, ["acme-core"], None),
        (links, ["linked"], "flat"),
    ]
    names = iter(("one", "two"))  # both are on one host
    text = "\n".join(f'name = "{next(names)}"' if line.startswith("name = ") else line for line in block)
    _spec(dsenv, '"acme-core", "six", "linked"', text)("lock", **env)
    assert {name for name, _ in _sources(dsenv)} == {"acme-core", "six", "linked"}
    _spec(dsenv, '"six"', _index(acme.url, "", name="one"), _index(links, "", name="two"))("lock", **env)


def test_pip_may_be_told_to_ask_nobody(dsenv: Dsenv, pip: Any) -> None:
    completed = _spec(dsenv, '"six"')("lock", code=2, **pip("[global]\nno-index = yes\n"))
    assert "pip is told to ask no index" in completed.stderr
    _spec(dsenv, '"six"')("lock", **pip("[global]\nno-index = yes\n", PIP_NO_INDEX="0"))
