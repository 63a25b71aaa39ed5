"""Indexes: routes, who one is where, what pip is told, dates; pure, or with servers on loopback."""

from __future__ import annotations

import os
import tomllib
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv import network as networks
from dsenv.addresses import Address, Keys
from dsenv.ecosystems.python import credentials, dates, indexes, pip_config, simple, uv
from dsenv.ecosystems.python.dates import CoolDown
from dsenv.ecosystems.python.engines import uv as engine
from dsenv.ecosystems.python.engines import uv_limits
from dsenv.ecosystems.python.engines.interface import Found, Pin, Question, Route
from dsenv.ecosystems.python.markers import Space
from dsenv.ecosystems.python.pip_config import Setting
from dsenv.ecosystems.python.spec import Spec
from dsenv.errors import DownloadError, ResolutionError, WrongUseError
from dsenv.network import Network
from dsenv.pins import Artifact, Target
from dsenv.store import Store
from dsenv.tools import process
from dsenv.tree import content_sha256
from tests.integration import index as fake

if TYPE_CHECKING:
    from pathlib import Path

LINUX, MAC = Target("linux", "amd64"), Target("macos", "arm64")
SPACE = Space((LINUX, MAC), "3.11.2")


def _route(
    index: str, *patterns: str, names: tuple[str, ...] = (), targets: tuple[Target, ...] = (LINUX, MAC)
) -> Route:
    plain = tuple(pattern for pattern in patterns if "*" not in pattern)
    url = f"https://{index}.example/simple"
    return Route(index=index, url=url, patterns=patterns, names=(*plain, *names), targets=targets)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose pip and uv are told nothing but what a test tells them; files lie below the returned path."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "SSL_CERT")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/shared")
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{tmp_path}/user")
    monkeypatch.setattr("sys.prefix", f"{tmp_path}/prefix")
    monkeypatch.setattr(pip_config, "_SYSTEM", tmp_path / "system.conf")
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_nearest_route_counts() -> None:
    routes = [
        _route("wide", "acme-*"),
        _route("long", "acme-core-*"),
        _route("name", "acme-core-x"),
        _route("mac", "*-x", targets=(MAC,)),
    ]

    def chosen(name: str, target: Target = LINUX) -> str:
        found = indexes.chosen(routes, name, target)
        return found.index if found else ""

    assert [chosen(name) for name in ("acme-a", "acme-core-b", "acme-core-x", "b-x", "acme")] == [
        "wide",
        "long",
        "name",
        "",
        "",
    ]
    assert chosen("b-x", MAC) == "mac"


def _found(name: str, index: str, *targets: Target) -> Found:
    places = frozenset((target, patch) for target, patch in SPACE.everywhere if target in targets)
    return Found(name=name, version="1", index=index, wheels=(), dependencies=(), where={"": places})


def test_what_comes_from_elsewhere_is_named() -> None:
    routes = [_route("acme", "acme-*", targets=(LINUX,))]
    indexes.check_answer(
        [_found("acme-a", "https://acme.example/simple/", LINUX), _found("acme-a", "https://other.example", MAC)],
        routes,
    )
    with pytest.raises(ResolutionError) as caught:
        indexes.check_answer([_found("acme-a", "https://other.example", LINUX, MAC)], routes)
    assert caught.value.cause == (
        "acme-a 1 was found at https://other.example, and dsenv.toml routes it to index acme "
        "(https://acme.example/simple)"
    )


def test_what_uv_is_told_of_routes() -> None:
    routes = [_route("cuda", "torch", targets=(LINUX,)), _route("acme", "acme-*", names=("acme-a", "acme-b"))]
    question = Question(space=SPACE, requirements=["torch>=2"], constraints=["six<2"], routes=routes, after=["a==1"])
    tool = tomllib.loads(engine.project(question))["tool"]["uv"]
    assert tool["constraint-dependencies"] == ["six<2", "a==1", "acme-a>=0.dev0", "acme-b>=0.dev0", "torch>=0.dev0"]
    assert tool["index"][0] == {"name": "cuda", "url": "https://cuda.example/simple", "explicit": True}
    assert tool["sources"]["acme-a"] == [{"index": "acme"}]
    assert tool["sources"]["torch"] == [
        {"index": "cuda", "marker": "(sys_platform == 'linux' and platform_machine == 'x86_64')"}
    ]
    assert "index" not in tomllib.loads(engine.project(Question(space=SPACE, requirements=[])))["tool"]["uv"]


def test_what_uv_says_of_limits() -> None:
    pins = [Pin(name=name, version="1", index="") for name in ("plain", "held")]
    question = Question(space=SPACE, requirements=["held==1", "plain"], preferred=pins)
    said = 'warning: `plain==1` is yanked (reason: "x")\nwarning: `held==1` is yanked\nwarning: `new==1` is yanked\n'
    assert uv_limits.withdrawn(said, question) == {"plain"}
    undated = "warning: `plain-1-py3-none-any.whl` is missing an upload date, but user provided: 2020-07-01T00:00:00Z\n"
    assert engine.read_warnings(undated + said)[0] == '`plain==1` is yanked (reason: "x")'
    assert len(engine.read_warnings(undated + said)) == 3
    assert uv_limits.undated("", question, Network()) == {}


@pytest.mark.parametrize(
    ("template", "user", "password", "whole"),
    [
        ("https://acme.example/simple", "", "", False),
        ("https://ann@acme.example/simple", "ann", "", False),
        ("https://${U}@acme.example/simple", "a@n/n", "", True),
        ("https://${U}:${P}@acme.example/simple", "a@n/n", "p:%/#", True),
        ("https://a%40b:${P}@${H}/simple", "a@b", "p:%/#", True),
        ("${URL}", "ann", "s/c", True),
    ],
)
def test_an_address_and_who_one_is_there(
    machine: Path, monkeypatch: pytest.MonkeyPatch, template: str, user: str, password: str, *, whole: bool
) -> None:
    del machine
    for name, value in {
        "U": "a@n/n",
        "P": "p:%/#",
        "H": "acme.example",
        "URL": "https://ann:s%2Fc@acme.example/simple",
    }.items():
        monkeypatch.setenv(name, value)
    found = credentials.address(template, "acme")
    assert found == Address(url="https://acme.example/simple", user=user, password=password, whole=whole)
    assert "p:%" not in repr(found)
    monkeypatch.setenv("UV_INDEX_MY_ACME_PASSWORD", "other")
    assert credentials.address(template, "my-acme").password == "other"


def test_a_missing_variable_is_an_error(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del machine
    monkeypatch.setenv("EMPTY", "")
    for variable in ("NONE", "EMPTY"):
        with pytest.raises(WrongUseError, match=rf"index acme has the variable \$\{{{variable}\}}"):
            credentials.address(f"https://${{{variable}}}/simple", "acme")


def test_the_nearest_index_of_a_server_says_who_one_is() -> None:
    keys = Keys(
        [
            Address(url="https://git.example/api/1/simple", user="one", password="1", whole=True),
            Address(url="https://git.example/api/2/simple", user="two", password="2", whole=True),
            Address(url="https://git.example:8443/simple", user="port", password="3", whole=True),
        ],
        keyring=False,
    )
    assert keys("https://git.example/api/2/files/x.whl") == ("two", "2")
    assert keys("https://git.example:443/api/1/files/x.whl") == ("one", "1")
    assert keys("https://git.example:8443/files/x.whl") == ("port", "3")
    for url in (
        "http://git.example/api/1",
        "https://git.example.evil/api/1",
        "https://evil.example/",
        "x",
        "https://[",
    ):
        assert keys(url) is None
        assert keys(url, refused=True) is None


def test_a_user_alone_may_be_a_token(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or ``~/.netrc`` knows the password, or, once refused, the keyring."""
    keys = Keys([Address(url="https://acme.example/simple", user="ann")], keyring=True)
    asked: list[tuple[str, ...]] = []

    def run(argv: list[str], *, codes: None) -> process.Completed:
        del codes
        asked.append(tuple(argv))
        found = argv[2:] == ["acme.example", "ann"]
        return process.Completed(argv=tuple(argv), code=int(not found), stdout="word\n" if found else "", stderr="")

    monkeypatch.setattr(process, "find", lambda program: f"/bin/{program}")
    monkeypatch.setattr(process, "run", run)
    assert keys("https://acme.example/x") == ("ann", "")
    netrc = machine / "netrc"
    netrc.write_text("machine acme.example login ann password known\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert keys("https://acme.example/x") == ("ann", "known")
    assert asked == []
    assert keys("https://acme.example/x", refused=True) == ("ann", "word")
    assert keys("https://acme.example/x") == ("ann", "word")
    assert asked == [
        ("keyring", "get", "https://acme.example/simple", "ann"),
        ("keyring", "get", "acme.example", "ann"),
    ]


def test_a_store_asks_who_one_is(tmp_path: Path) -> None:
    with fake.serve() as index:
        filename = index.add("plain", "1.0")
        index.login = ("ann", "s3cr3t")
        content = index.files["plain"][filename]
        url = index.url.replace("/simple", f"/files/plain/{filename}")
        artifact = Artifact(filename=filename, sha256=content_sha256(content), urls=(url,))
        with pytest.raises(DownloadError) as caught:
            Store(tmp_path / "one").fetch([artifact])
        assert "answered 401" in caught.value.cause
        known = Keys([Address(url=index.url, user="ann", password="s3cr3t", whole=True)], keyring=False)
        store = Store(tmp_path / "two", network=lambda: Network(credentials=known))
        store.fetch([artifact])
        assert store.path(artifact).read_bytes() == content
        assert list(simple.projects(index.url, store.network)) == ["plain"]
        (file,) = simple.pages(index.url, ["plain"], store.network)["plain"]
        assert file.url == url
        with pytest.raises(DownloadError, match="no readable page of plain"):
            simple.pages(index.url, ["plain"], Network())


def test_networks_are_joined_in_order() -> None:
    first = Network(proxies={"http": "a"}, credentials=Keys([], keyring=False))
    known = Keys([Address(url="https://x.example", user="u", password="p", whole=True)], keyring=False)
    second = Network(proxies={"http": "b", "https": "b"}, authority="/ca.pem", credentials=known)
    both = networks.joined([first, second])
    assert both.proxies == {"http": "a", "https": "b"}
    assert both.authority == "/ca.pem"
    assert both.credentials("https://x.example/y") == ("u", "p")
    assert both.credentials("https://z.example/y") is None


def test_pips_settings_are_read_as_pip_reads_them(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(machine / "system.conf", "[global]\nindex-url = https://system.example\ncert = /system.pem\n")
    _write(machine / "shared/pip/pip.conf", "[global]\nindex_url = https://shared.example\nproxy = shared:1\n")
    _write(machine / ".pip/pip.conf", "[global]\nproxy = old:1\n[install]\nindex-url = https://section.example\n")
    _write(machine / "user/pip/pip.conf", "[global]\nproxy = ann:secret@new:1\n[list]\ncert = /no.pem\n")
    _write(machine / "prefix/pip.conf", "[global]\n--timeout = 9\n")
    found = pip_config.read()
    assert {option: setting.value for option, setting in found.items()} == {
        "index-url": "https://section.example",
        "cert": "/system.pem",
        "proxy": "ann:secret@new:1",
        "timeout": "9",
    }
    monkeypatch.setenv("PIP_INDEX_URL", "https://ann:secret@env.example/simple")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "180")
    found = pip_config.read()
    assert found["index-url"] == Setting(value="https://ann:secret@env.example/simple", origin="PIP_INDEX_URL")
    taken = uv.from_pip(found)
    assert taken == {
        "UV_DEFAULT_INDEX": "https://ann:secret@env.example/simple",
        "SSL_CERT_FILE": "/system.pem",
        "HTTP_PROXY": "http://ann:secret@new:1",
        "HTTPS_PROXY": "http://ann:secret@new:1",
        "UV_HTTP_TIMEOUT": "180",
    }
    told = list(pip_config.told(found, taken))
    assert "pip's index-url is taken: https://env.example/simple (PIP_INDEX_URL)" in told
    assert not [line for line in told if "secret" in line]
    known = credentials.network(Spec(version="3.11"))
    assert known.proxies == {"http": "http://ann:secret@new:1", "https": "http://ann:secret@new:1"}
    assert known.authority == "/system.pem"
    assert known.credentials("https://env.example/files/x.whl") == ("ann", "secret")
    assert credentials.network(None) == Network()
    _write(machine / "own.conf", "[global]\ntimeout = 5\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(machine / "own.conf"))
    monkeypatch.delenv("PIP_DEFAULT_TIMEOUT")
    assert pip_config.read()["timeout"].value == "5"
    assert pip_config.read()["proxy"].value == "shared:1"  # pip then leaves out the user's own files
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert list(pip_config.read()) == ["index-url"]
    monkeypatch.setenv("PIP_CONFIG_FILE", str(machine / "own.conf"))
    _write(machine / "own.conf", "timeout = 5\n")
    with pytest.raises(WrongUseError, match="cannot be read"):
        pip_config.read()


@pytest.mark.parametrize(
    "said",
    [
        {"UV_DEFAULT_INDEX": "x", "SSL_CERT_DIR": "x", "https_proxy": "x", "UV_HTTP_TIMEOUT": "1"},
        {"UV_INDEX_URL": "x", "SSL_CERT_FILE": "x", "ALL_PROXY": "x", "UV_REQUEST_TIMEOUT": "1"},
    ],
)
def test_what_uv_is_told_itself_comes_first(
    machine: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, str]
) -> None:
    text = (
        "[global]\nindex-url = https://a.example\ncert = /a.pem\nproxy = a:1\ntimeout = 9\nkeyring-provider = import\n"
    )
    _write(machine / "user/pip/pip.conf", text)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert uv.from_pip(pip_config.read()) == {}


def test_uvs_own_indexes(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", "acme=https://acme.example/simple?a=b https://plain.example")
    monkeypatch.setenv("UV_INDEX_ACME_USERNAME", "ann")
    monkeypatch.setenv("UV_INDEX_ACME_PASSWORD", "secret")
    text = '[[index]]\nname = "d"\nurl = "https://d.example"\ndefault = true\n[[index]]\nurl = 1\n'
    _write(machine / "user/uv/uv.toml", f'extra-index-url = ["https://e.example"]\n{text}')
    assert [(listed.name, listed.url, listed.is_default) for listed in uv.indexes()] == [
        ("acme", "https://acme.example/simple?a=b", False),
        ("", "https://plain.example", False),
        ("d", "https://d.example", True),
        ("", "https://e.example", False),
    ]
    assert credentials.network(Spec(version="3.11")).credentials("https://acme.example/f") == ("ann", "secret")


def _spec(**more: Any) -> Spec:
    return Spec.model_validate({"version": "3.11", "packages": ["Acme_Core"], **more})


def test_pips_other_places_stop_until_they_are_answered(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del machine
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://ann:secret@127.0.0.1:9/simple/ file:///srv/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/srv/wheels file:///srv/other")
    monkeypatch.setattr(simple, "_PAUSE", 0)
    with pytest.raises(WrongUseError) as caught:
        indexes.check_pip(_spec(), pip_config.read(), Network())
    assert "secret" not in caught.value.cause
    entries = tomllib.loads(caught.value.cause)["python"]["indexes"]
    assert entries == [{"name": "127-0-0-1-9", "url": "http://127.0.0.1:9/simple/", "packages": []}]
    indexes.check_pip(_spec(indexes=entries), pip_config.read(), Network())  # as it is told
    with monkeypatch.context() as patch:
        patch.setenv("UV_INDEX", "http://127.0.0.1:9/simple")
        indexes.check_pip(_spec(), pip_config.read(), Network())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    indexes.check_pip(_spec(), pip_config.read(), Network())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WrongUseError, match="ask no index"):
        indexes.check_pip(_spec(), pip_config.read(), Network())


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_a_day_ends_when_the_next_begins(day: date) -> None:
    end = dates.end_of(day)
    assert end.tzinfo == UTC
    assert (end - timedelta(microseconds=1)).date() == day
    assert datetime.fromisoformat(dates.rfc3339(end)) == end


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("7d", 168), ("2w", 336)])
def test_an_age(text: str, hours: int) -> None:
    assert dates.age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "7 d", "-7d", "7m", "999999w", "\uff17d"])
def test_no_age(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        dates.age(text)


def test_the_earlier_of_two_limits_counts() -> None:
    held = CoolDown(min_age="7d", before=datetime(2026, 11, 17, tzinfo=UTC))
    assert dates.earliest(None, None) is None
    assert dates.earliest(None, held) == held.before
    assert dates.earliest(date(2026, 11, 20), held) == held.before
    assert dates.earliest(date(2026, 11, 1), held) == datetime(2026, 11, 2, tzinfo=UTC)
