"""System packages: what apt says, which sources count, what packages say of each other."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from dsenv.ecosystems.system import base, bootstrap, install, offer, pins
from dsenv.ecosystems.system import spec as system_spec
from dsenv.ecosystems.system.archives import sources
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS
from dsenv.ecosystems.system.packages import alternatives, relations
from dsenv.ecosystems.system.solver import apt, asked, halving, memory, printed, runner, trouble
from dsenv.errors import DownloadError, DsenvError, IntegrityError, ResolutionError, ToolError
from dsenv.pins import Need, Selection, Target, without_credentials
from dsenv.progress import Silent
from dsenv.store import Store
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Sequence

CASES = Path(__file__).parents[1] / "cases"
HASH = "ab" * 32
DEBIAN = DISTRIBUTIONS["debian"]
AMD64 = Target("linux", "amd64")


class Told(Silent):
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


def test_uris_give_versions_with_their_epoch() -> None:
    text = (
        f"'http://deb.example/pool/z/zlib1g_1.2.13-1_amd64.deb' zlib1g_1%3a1.2.13-1_amd64.deb 86 SHA256:{HASH}\n"
        f"'http://deb.example/pool/g/g++_12-1%2bb1_amd64.deb' g++_12-1+b1_amd64.deb 9 SHA256:{HASH} \n"
    )
    assert printed.uris(text) == {"zlib1g": "1:1.2.13-1", "g++": "12-1+b1"}


@pytest.mark.parametrize(
    "line",
    [
        "'http://deb.example/a_1_all.deb' a_1_all.deb 86 MD5Sum:abc",
        "'http://deb.example/a_1_all.deb' a_1_all.deb 86 ",
    ],
)
def test_a_file_without_its_sha256_is_not_passed_over(line: str) -> None:
    with pytest.raises(ToolError, match="sha256"):
        printed.uris(line)


def test_an_answer_is_kept_until_the_indexes_say_something_else(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask() -> dict[str, str]:
        asked.append("once")
        return {"jq": "1.6"}

    kept = memory.Memory(tmp_path / "answers")
    kept.hold("monday")
    assert [kept.get(["solve", "jq"], ask) for _ in range(2)] == [{"jq": "1.6"}] * 2
    assert len(asked) == 1
    kept.get(["solve", "jq=1.6"], ask)
    assert len(asked) == 2
    kept.hold("monday")
    kept.get(["solve", "jq"], ask)
    assert len(asked) == 2
    kept.hold("tuesday")
    kept.get(["solve", "jq"], ask)
    assert len(asked) == 3


def test_what_is_on_offer_is_read_from_its_stanzas() -> None:
    text = (
        "Package: a\nMulti-Arch: same\nVersion: 1:2-1\nDescription: x\n Package: no\n Version: no\n\n"
        "Package: b\nVersion: 3\n\n"
    )
    assert printed.versions(text) == [("a", "1:2-1"), ("b", "3")]


def test_who_provides_a_virtual_package() -> None:
    text = (
        "Package: mail-transport-agent\nVersions: \n\nReverse Depends: \n  alpine,mail-transport-agent\n"
        "Dependencies: \nProvides: \nReverse Provides: \npostfix 3.7.11-0+deb12u1 (= )\nexim4 4.96-15 (= )\n"
    )
    assert printed.providers(text) == ["exim4", "postfix"]
    assert printed.providers("") == []


def test_policy_gives_suites() -> None:
    text = (CASES / "apt" / "policy.txt").read_text("utf-8")
    places = {key: {word for _, word in found} for key, found in printed.places(text).items()}
    assert places == {
        ("graphviz", "2.42.2-7+deb12u1"): {"bookworm/main"},
        ("libssl3", "3.0.22-1~deb12u2"): {"bookworm/main", "bookworm-security/main"},
        ("libssl3", "3.0.20-1"): {"bookworm/main"},
    }


def test_a_conflict_names_its_chain() -> None:
    assert trouble.reasons((CASES / "apt" / "conflict.txt").read_text("utf-8")).splitlines() == [
        "libssl-dev needs libssl3 (= 3.0.17-1~deb12u2), and 3.0.22-1~deb12u2 would be there",
        "Recommends: nothing",
        "no choice of versions satisfies all of these at once",
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (" a : Depends: b (>= 2) but it is not going to be installed", "a needs b (>= 2), which cannot be had beside"),
        (" a : PreDepends: b but it is not installable", "a needs b, which no archive here has"),
        (" a : Depends: b (>= 4)", "a needs b (>= 4), which nothing provides that can be installed"),
        (
            " a : Depends: b (>= 9) but 1 is to be installed or\n              c but it is not installable",
            "a needs b (>= 9) or c, none of which can be had",
        ),
        (
            " a : Depends: b but 1 is to be installed\n     Breaks: c (< 2) but 1 is to be installed",
            "a does not go with c",
        ),
        (" a : Conflicts: b but 1 is to be installed", "a does not go with b\n"),
    ],
)
def test_unmet_dependencies_are_said_in_our_words(said: str, told: str) -> None:
    head = "Reading package lists...\nThe following packages have unmet dependencies:\n"
    found = trouble.reasons(f"{head}{said}\nE: Unable to correct problems, you have held broken packages.\n")
    assert told in found
    assert found.endswith("\nno choice of versions satisfies all of these at once")


def test_what_apt_would_do_to_others_is_named() -> None:
    text = (
        "The following packages will be REMOVED:\n  blocker other*\n"
        "The following NEW packages will be installed:\n  a\n"
        "The following held packages will be changed:\n  libz\n"
        "E: Packages need to be removed but remove is disabled.\n"
    )
    assert trouble.reasons(text).splitlines() == [
        "blocker, other would have to be removed",
        "libz would have to change, and somebody holds it",
    ]


@pytest.mark.parametrize("bad", ["", "a", "c", "be", "abcdef"])
def test_what_goes_together_is_found_by_halves(bad: str) -> None:
    asked: list[str] = []

    def refused(some: Sequence[str]) -> str:
        asked.append("".join(some))
        return "no" if {*some} & {*bad} else ""

    accepted, left = halving.fitting("abcdef", refused)
    assert "".join(accepted) == "".join(sorted({*"abcdef"} - {*bad}))
    assert left == dict.fromkeys(bad, "no")
    assert len(asked) <= 11
    assert not accepted or "".join(accepted) == [names for names in asked if not {*names} & {*bad}][-1]


def test_preferences_keep_versions() -> None:
    assert apt.preferences({"b": ["2"], "a": ["1:1", "1:2"]}) == (
        "Package: a\nPin: version 1:1\nPin-Priority: 999\n\n"
        "Package: a\nPin: version 1:2\nPin-Priority: 999\n\nPackage: b\nPin: version 2\nPin-Priority: 999\n"
    )


SOURCES = {
    "/etc/apt/sources.list": (
        "# deb http://off.example/debian bookworm main\n"
        "deb http://deb.example/debian/ bookworm main contrib # ours\n"
        "deb-src http://deb.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/apt bookworm stable\n"
        "deb http://deb.example/debian bullseye main\n"
    ),
    "/etc/apt/sources.list.d/a.sources": (
        "Types: deb deb-src\nURIs: http://deb.example/debian-security http://other.example/sec\n"
        "Suites: bookworm-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n\n"
        "Types: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\nEnabled: no\n"
    ),
    "/etc/apt/sources.list.d/b.sources": (
        "Types: deb\nURIs: http://key.example\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN-----\n .\n"
    ),
    "/etc/apt/sources.list.d/c.list.disabled": "deb http://disabled.example bookworm main\n",
}


def _select(files: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the chosen sources as a person sees them, and the reason for each other one by its address."""
    chosen, ignored = sources.select(sources.parse(files), DEBIAN, "bookworm", "amd64")
    return [str(source) for source in chosen], {source.uri: reason for source, reason in ignored}


def test_only_the_distributions_own_sources_count() -> None:
    chosen, ignored = sources.select(sources.parse(SOURCES), DEBIAN, "bookworm", "amd64")
    assert [str(source) for source in chosen] == [
        "http://deb.example/debian bookworm",
        "http://deb.example/debian-security bookworm-security",
        "http://other.example/sec bookworm-security",
    ]
    assert chosen[0].components == ("main", "contrib")
    assert {source.uri: reason.split(",")[0] for source, reason in ignored} == {
        "https://vendor.example/apt": "it is signed by /usr/share/keyrings/vendor.gpg",
        "http://deb.example/debian": "it is not of debian bookworm",
        "http://key.example": "it is signed by a key within /etc/apt/sources.list.d/b.sources",
    }


def test_rendered_sources_read_back() -> None:
    chosen, _ = sources.select(sources.parse(SOURCES), DEBIAN, "bookworm", "amd64")
    text = sources.render(chosen, "/k.gpg", "arm64")
    again = sources.parse({"x.sources": text})
    assert [str(source) for source in again] == [str(source) for source in chosen]
    assert "Architectures: arm64" in text


def test_a_suite_may_be_named_by_its_alias() -> None:
    chosen, ignored = _select(
        {
            "a.list": "deb http://a.example stable-security main\ndeb http://a.example oldstable main\n"
            "deb http://b.example trixie main\ndeb http://c.example stable-backports main\n"
        }
    )
    assert chosen == ["http://a.example oldstable", "http://a.example stable-security"]
    assert ignored.keys() == {"http://b.example", "http://c.example"}


def test_a_source_for_other_architectures_is_left_out() -> None:
    chosen, ignored = _select(
        {
            "a.list": "deb [arch=i386] http://i.example bookworm a\ndeb [arch=i386,amd64] http://a.example bookworm a",
            "b.sources": "Types: deb\nURIs: http://j.example\nSuites: bookworm\nComponents: a\nArchitectures: arm64\n",
        }
    )
    assert chosen == ["http://a.example bookworm"]
    assert ignored == {
        "http://i.example": "it is for i386, not for amd64",
        "http://j.example": "it is for arm64, not for amd64",
    }


def test_a_list_of_mirrors_is_its_addresses() -> None:
    path = "/etc/apt/mirrors/debian.list"
    files = {
        "a.sources": f"Types: deb\nURIs: mirror+file:{path}\nSuites: bookworm\nComponents: main\n",
        "b.list": "deb mirror+file:///gone.list bookworm main\ndeb mirror+http://m.example bookworm main\n",
        path: "# ours\n\nhttps://one.example/debian/\nhttp://two.example\tpriority:2 arch:amd64 type:deb\n"
        "http://three.example\tarch:arm64\n",
    }
    chosen, ignored = _select(files)
    assert chosen == ["https://one.example/debian bookworm", "http://two.example bookworm"]
    assert ignored == {
        "http://three.example": "it is for arm64, not for amd64",
        "mirror+file:///gone.list": "the list of mirrors that it names cannot be read",
        "mirror+http://m.example": "artifacts cannot be had over mirror+http, only over http, https, file",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@ss@host.example/x", "https://host.example/x"),
        ("https://u@host.example", "https://host.example"),
        ("https://host.example/a@b", "https://host.example/a@b"),
        ("https://host.example?a=b@c", "https://host.example"),
    ],
)
def test_no_address_shows_its_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
    assert str(sources.Source(uri=url, suite="bookworm", components=())) == f"{shown} bookworm"
    assert trouble.reasons(f"E: {url} is expired").partition("?")[0] in f"{shown} is expired"


GROUND = base.Ground(
    distribution=DEBIAN,
    codename="bookworm",
    sources=tuple(
        sources.parse({"a.list": "deb http://a:b@a.example stable main\ndeb http://c.example bookworm main\n"})
    ),
    keyring=None,
    status=b"",
)
INDEX = apt.Index(
    uri="http://a:b@a.example",
    suite="stable",
    origin="Debian",
    codename="bookworm",
    metakey="",
    path="/x_dists_stable_x",
)


class Root(apt.AptRoot):
    """A root that has read some indexes."""

    def __init__(self, *indexes: apt.Index) -> None:
        super().__init__(Path("/nowhere"), "amd64")
        self._indexes = [*indexes]


def test_an_alias_is_held_against_what_its_release_file_says() -> None:
    assert offer._moved(Root(INDEX), GROUND) == []
    moved = offer._moved(Root(INDEX, replace(INDEX, codename="trixie")), GROUND)
    assert moved == [(GROUND.sources[0], "it says that it is Debian trixie")]
    told = Told()
    assert base.without(GROUND, moved, told).sources == GROUND.sources[1:]
    assert told.lines == ["left out: http://a.example stable (a.list): it says that it is Debian trixie"]
    with pytest.raises(DsenvError, match="there is no apt source for debian bookworm"):
        base.without(replace(GROUND, sources=GROUND.sources[:1]), moved, told)


@pytest.mark.parametrize(
    "index",
    [
        replace(INDEX, uri="http://c.example", suite="bookworm", codename="trixie"),
        replace(INDEX, uri="http://c.example", suite="bookworm", origin="Nebian"),
        replace(INDEX, uri="http://x:y@somebody.example", codename="trixie"),
    ],
)
def test_an_index_that_was_signed_for_something_else_is_refused(index: apt.Index) -> None:
    with pytest.raises(
        ResolutionError, match=r"^http://(c|somebody).example \w+ says that it is \w+ \w+, not debian bookworm"
    ):
        offer._moved(Root(index), GROUND)


def test_an_offer_answers_from_what_was_read() -> None:
    """The root behind it may be another project's by now."""
    found = offer.Survey(ground=GROUND, root=Root(), sources="", offered={"pandoc": "2.17", "jq": "1.6"})
    assert (found.candidate("pandoc"), found.candidate("pandok")) == ("2.17", None)
    assert found.near("pandok") == ("pandoc",)


def test_a_root_is_private_and_without_anothers_preferences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "_host_settings", lambda _: ("/dev/null", "/dev/null", ""))
    root = apt.AptRoot(tmp_path / "root", "amd64")
    written = tmp_path / "root" / "etc" / "apt"
    (written / "sources.list.d").mkdir(parents=True)
    (written / "sources.list.d" / "dsenv.sources").write_text("URIs: http://old.example\n")
    root.prefer("Package: a\n")
    found = offer.Survey(ground=GROUND, root=root, sources="URIs: http://u:p@a.example\n", offered={})
    with found.ready():
        assert (written / "preferences").read_text() == ""
        assert "u:p@" in (written / "sources.list.d" / "dsenv.sources").read_text()
    files = ("apt.conf", "etc/apt/preferences", "etc/apt/sources.list.d/dsenv.sources", "var/lib/dpkg/status")
    assert {name: stat.S_IMODE((tmp_path / "root" / name).stat().st_mode) for name in files} == dict.fromkeys(
        files, 0o600
    )


@pytest.mark.parametrize(
    ("said", "does"),
    [
        ("apt 2.6.1 (amd64)\nSupported modules:\n", True),
        ("apt 3.0.3 (arm64)\n", True),
        ("apt 1.8.2 (amd64)\n", False),
        ("apt-rpm 2.6.1\n", False),
        ("No Java runtime present, requesting install.\n", False),
        ("", False),
    ],
)
def test_which_apt_of_a_machine_will_do(said: str, does: bool) -> None:  # noqa: FBT001
    assert runner.will_do(said) is does


def test_a_release_file_with_its_signature_apart_is_told() -> None:
    with pytest.raises(DownloadError, match=r"http://a.example stable has no InRelease file"):
        Root().inrelease(INDEX)


def test_a_virtual_package_is_answered_with_who_provides_it() -> None:
    root = Root()
    root.providers = lambda name: {"mta": ["exim4", "postfix"], "awk": ["gone", "mawk"]}.get(name, [])  # type: ignore[method-assign]
    offered = {"pandoc": "2.17", "exim4": "4", "postfix": "3", "mawk": "1"}
    found = offer.Survey(ground=GROUND, root=root, sources="", offered=offered)
    with pytest.raises(ResolutionError) as caught:
        wanted = [Need("mta"), Need("pandok", why="r:x"), Need("pandoc"), Need("zzz"), Need("awk")]
        asked.settle([*wanted, Need("yyy", build=True)], found, {})
    assert caught.value.cause.splitlines() == [
        "mta (asked for by [system] packages): provided by exim4, postfix",
        "pandok (asked for by r:x): near: pandoc",
        "yyy (asked for by [system] build)",
        "zzz (asked for by [system] packages)",
    ]


def test_os_release_is_read() -> None:
    assert base.release('NAME="x"\nID=debian\nVERSION_CODENAME="bookworm"\n') == ("debian", "bookworm")
    assert base.release("") == ("", "")


def test_dependencies_become_edges_within_the_set() -> None:
    stanzas = {
        "r": {
            "Package": "r",
            "Depends": "libblas3 | libblas.so.3, libc6 (>= 2.34), missing | virtual, r (>= 1)",
            "Pre-Depends": "dpkg:any",
        },
        "openblas": {"Package": "openblas", "Provides": "libblas.so.3 (= 1), virtual"},
        "libc6": {"Package": "libc6"},
        "dpkg": {"Package": "dpkg"},
    }
    assert relations.graph(stanzas)["r"] == ["dpkg", "libc6", "openblas"]


@pytest.mark.parametrize(
    ("stanza", "source"),
    [
        ({"Package": "a", "Version": "1"}, ("a", "1")),
        ({"Package": "a", "Version": "1", "Source": "b"}, ("b", "1")),
        ({"Package": "a", "Version": "1+b1", "Source": "b (1)"}, ("b", "1")),
    ],
)
def test_the_source_package(stanza: dict[str, str], source: tuple[str, str]) -> None:
    assert relations.source(stanza) == source


LIB = "/usr/lib/x86_64-linux-gnu"


@pytest.mark.parametrize(
    ("package", "priority", "files"),
    [
        ("libblas3", 10, {"libblas.so.3": "blas/libblas.so.3"}),
        (
            "libblis4-openmp",
            80,
            {"libblas.so.3": "blis-openmp/libblas.so.3", "libblis.so.4": "blis-openmp/libblis.so.4"},
        ),
        ("openjdk-17-jre-headless", 0, {}),
    ],
)
def test_alternatives_are_read_from_real_scripts(package: str, priority: int, files: dict[str, str]) -> None:
    found = alternatives.parse((CASES / "postinst" / package).read_text("utf-8"))
    assert {choice.link: choice.path for choice in found} == {f"{LIB}/{a}": f"{LIB}/{b}" for a, b in files.items()}
    assert {choice.priority for choice in found} <= {priority}


def test_what_only_a_shell_could_know_is_not_guessed() -> None:
    script = (CASES / "postinst" / "openjdk-17-jre-headless").read_text("utf-8")
    tools = {f"/usr/bin/{name}" for name in ("java", "jexec", "jpackage", "keytool", "rmiregistry")}
    assert alternatives.links(script) == tools
    assert alternatives.parse(script) == []  # its priority depends on the architecture
    assert {choice.link for choice in alternatives.parse(script, vague=True)} == tools


@pytest.mark.parametrize(
    ("script", "paths"),
    [
        ("update-alternatives --quiet --install /l n /p 5 --slave /s s /t", ["/p"]),
        ('if [ "$1" = configure ]; then update-alternatives --install /l n /p 5; fi', ["/p"]),
        ("test -e /x && update-alternatives --install /l n /p 5 || true", ["/p"]),
        ("dir=/usr/lib\nx=${dir}/x\nupdate-alternatives --install /l n $x/p 5 # /no", ["/usr/lib/x/p"]),
        ("p='/a'; p=/a\nupdate-alternatives --install /l n $p 5", ["/a"]),
        ("p=/a\nif false; then p=/b; fi\nupdate-alternatives --install /l n $p 5", []),
        ("p=/a\nfor p in /b /c; do update-alternatives --install /l n $p 5; done", ["/b", "/c"]),
        ("for p in $(ls); do update-alternatives --install /l n $p 5; done", []),
        ("p=`cat /etc/p`\nupdate-alternatives --install /l n $p 5", []),
        ("p=$(cat /etc/p)\nupdate-alternatives --install /l n $p 5", []),
        ("update-alternatives --install /l n /usr/$1/p 5", []),
        ("update-alternatives --install /l n /p $priority", []),
        ("update-alternatives --install /l n /p ²", []),
        ("update-alternatives --remove n /p", []),
        ("echo update-alternatives --install /l n /p 5", []),
        ("# update-alternatives --install /l n /p 5", []),
        ("update-alternatives --install '/un closed", []),
    ],
)
def test_alternatives_are_read_where_a_script_says_them(script: str, paths: list[str]) -> None:
    assert [choice.path for choice in alternatives.parse(script)] == paths


def test_the_highest_priority_wins() -> None:
    choices = [alternatives.Alternative(100, "/l", "/a"), alternatives.Alternative(20, "/l", "/z")]
    assert alternatives.winners(choices) == {"/l": "/a"}


def test_a_shared_name_that_cannot_be_read_is_refused() -> None:
    provided = alternatives.providers(
        {"mkl": {"Provides": "libblas.so.3, liblapack.so.3 (= 1)"}, "x": {"Provides": "y"}}
    )
    assert provided == {"mkl": {"libblas.so.3", "liblapack.so.3"}}
    read = alternatives.parse(f"update-alternatives --install {LIB}/libblas.so.3 x {LIB}/mkl/libmkl_rt.so 1")
    alternatives.check("mkl", {"libblas.so.3"}, read)
    with pytest.raises(ResolutionError, match=r"^mkl serves liblapack.so.3, and dsenv cannot read"):
        alternatives.check("mkl", provided["mkl"], read)


ROW = {
    "name": "zlib1g",
    "version": "1:1.2.13.dfsg-1",
    "architecture": "amd64",
    "sha256": HASH,
    "size": 1,
    "filename": "pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb",
    "origin": "bookworm",
    "why": ["base"],
}


def test_a_row_is_its_own_source_unless_it_says_otherwise() -> None:
    row = pins.Package.model_validate(ROW)
    assert (row.source, row.source_version) == ("zlib1g", "1:1.2.13.dfsg-1")
    assert pins.deb_name(row) == "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("filename", "../../etc/passwd.deb"),
        ("filename", "/etc/x.deb"),
        ("filename", "pool/../x.deb"),
        ("filename", "pool/x y.deb"),
        ("filename", "pool/x\n.deb"),
        ("name", "a b"),
        ("name", "a\n"),
        ("name", "-a"),
        ("version", "1; id"),
        ("version", "1 2"),
        ("version", ""),
        ("sha256", "ab"),
        ("sha256", HASH + "\n"),
        ("size", -1),
        ("architecture", "amd64$"),
    ],
)
def test_a_row_that_no_archive_has_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        pins.Package.model_validate({**ROW, key: value})


def _pins(**root: Any) -> pins.Pins:
    facts = {"distribution": "debian", "codename": "bookworm", "packages": [ROW], **root}
    return pins.Pins.model_validate(
        {"base": "bootstrap:debian:bookworm", "locale": "C.UTF-8", "timezone": "UTC", "roots": {str(AMD64): facts}}
    )


def test_the_environment_id_covers_the_alternatives() -> None:
    ids = [
        pins.identity(
            _pins(alternatives={f"{LIB}/libblas.so.3": f"{LIB}/{name}/libblas.so.3"}), Selection(target=AMD64)
        )
        for name in ("blas", "openblas")
    ]
    assert ids[0] != ids[1]


@pytest.fixture
def mmdebstrap(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the program; return the paths of the archives that it was to make."""
    made: list[Path] = []

    def bootstrap_to(*words: Any) -> None:
        made.append(words[-2])
        words[-2].write_bytes(b"a root file system")

    monkeypatch.setattr(process, "require", lambda program, **_: program)
    answer = process.Completed(argv=(), code=0, stdout="mmdebstrap 1.3.5\n", stderr="")
    monkeypatch.setattr(process, "run", lambda *_, **__: answer)
    monkeypatch.setattr(bootstrap, "_bootstrap", bootstrap_to)
    return made


def test_a_damaged_layer_is_made_anew(tmp_path: Path, mmdebstrap: list[Path]) -> None:
    locked, told = _pins(), Told()

    def layer() -> tuple[Path, pins.Layer]:
        return bootstrap.layer(locked, locked.roots[str(AMD64)], AMD64, 1, Store(tmp_path), told)

    path, first = layer()
    assert layer() == (path, first)
    assert len(mmdebstrap) == 1
    path.chmod(0o644)
    path.write_bytes(b"b root file system")
    assert layer() == (path, first)
    assert path.read_bytes() == b"a root file system"
    assert len(mmdebstrap) == 2
    assert any("was damaged" in line for line in told.lines)


def test_the_pool_lies_where_apts_own_user_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not below a TMPDIR of the user's own."""
    locked, started = _pins(packages=[]), []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(process, "run", lambda argv, **_: started.extend(argv))
    bootstrap._bootstrap(
        "mmdebstrap", locked, locked.roots[str(AMD64)], AMD64, 1, Store(tmp_path), tmp_path / "system.tar", Told()
    )
    assert re.fullmatch(r"deb \[trusted=yes\] copy:/tmp/dsenv-pool-\w+ \./", started[-1])


def test_a_layer_is_held_against_the_lock() -> None:
    found, told = pins.Layer(sha256=HASH, made_with="mmdebstrap 1.3.5"), Told()

    def learned(**layer: str) -> pins.Pins | None:
        locked = _pins(layer=layer) if layer else _pins()
        return install._learned(locked, locked.roots[str(AMD64)], Selection(target=AMD64), found, told)

    wiser = learned()
    assert wiser
    assert wiser.roots[str(AMD64)].layer == found
    assert learned(sha256=HASH, made_with="mmdebstrap 1.0") is None
    assert told.lines == []
    assert learned(sha256="c" * 64, made_with="mmdebstrap 1.0") is None
    assert "made with mmdebstrap 1.0" in told.lines[0]
    with pytest.raises(IntegrityError, match="not the one that the lock names"):
        learned(sha256="c" * 64, made_with="mmdebstrap 1.3.5")


def test_an_image_makes_its_root_by_the_same_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, started = _pins().roots[str(AMD64)], list[str]()
    text = bootstrap.script(root, AMD64, 1, "/dev/dsenv/pool")
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    (line,) = (line for line in text.splitlines() if line.startswith("mmdebstrap "))
    monkeypatch.setattr(process, "run", lambda argv, **_: started.extend(argv))
    locked = _pins(packages=[])
    bootstrap._bootstrap(
        "mmdebstrap", locked, locked.roots[str(AMD64)], AMD64, 1, Store(tmp_path), Path("/tmp/root.tar"), Told()
    )
    there = [word for word in shlex.split(line) if not word.startswith(("--include", "deb ", "--mode"))]
    assert there == [word for word in started if not word.startswith(("--include", "deb ", "--mode"))]
    assert f"--include={root.packages[0].name}={root.packages[0].version}" in shlex.split(line)


def test_a_layer_that_is_never_the_same_has_no_digest() -> None:
    found, told = pins.Layer(sha256=HASH, made_with="mmdebstrap 1.3.5"), Told()
    java = {**ROW, "name": "ca-certificates-java"}
    for layer in (None, {"sha256": "c" * 64, "made_with": "mmdebstrap 1.3.5"}):
        locked = _pins(packages=[ROW, java], layer=layer)
        assert install._learned(locked, locked.roots[str(AMD64)], Selection(target=AMD64), found, told) is None
    assert "/etc/ssl/certs/java/cacerts: a keystore" in told.lines[0]


@pytest.mark.parametrize("packages", [["jq=1.6", "jq=1.7*"], ["jq=1.6", "jq", "jq=1.6-1"]])
def test_one_package_has_one_version(packages: list[str]) -> None:
    with pytest.raises(ValidationError, match=r"jq is asked for in two versions, 1\.6 and"):
        system_spec.Spec(packages=packages)  # type: ignore[arg-type]


def test_the_same_request_twice_is_no_fault() -> None:
    assert system_spec.Spec(packages=["jq=1.6", "jq", "jq=1.6"]).packages  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "image",
    [
        "debian",
        "debian:bookworm-slim",
        "library/debian",
        "localhost:5000/a/b_c:1.0",
        "ghcr.io/x/y-z__w@sha256:" + HASH,
    ],
)
def test_an_image_is_a_base(image: str) -> None:
    assert system_spec.parse_base(image).image == image


@pytest.mark.parametrize(
    "text",
    [
        "a//b..c",
        "a/",
        "/a",
        "a..b",
        "-a",
        "a-",
        "a:5000:x",
        "a:",
        "a b",
        "Debian",
        "a@sha256:1",
        "a:" + "x" * 129,
        "a\n",
    ],
)
def test_what_is_no_base(text: str) -> None:
    with pytest.raises(ValueError, match="expected `bootstrap:debian:bookworm` or the name of an image"):
        system_spec.parse_base(text)
