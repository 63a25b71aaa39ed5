"""Locking with the real uv and the real apt."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import threading
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.ecosystems.system.archives import sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt, pytest.mark.index]
NO_NETWORK = ("unshare", "--net")


def _rows(project: Dsenv, target: str = "linux-amd64") -> dict[str, Any]:
    lock = tomllib.loads(project.locks()["dsenv.lock"].decode())
    return {row["name"]: row for row in lock["system"][target]["packages"]}


def test_the_lock_is_whole(small: Dsenv) -> None:
    rows = _rows(small)
    assert rows["jq"]["why"] == ["requested"]
    assert rows["python3.11"]["why"] == ["python"]
    assert rows["libc6"]["base"]
    assert "base" not in rows["jq"]
    assert all(name in rows for row in rows.values() for name in row.get("dependencies", ()))
    assert {"dpkg", "coreutils", "apt"} <= rows.keys()
    assert any(":" in row["version"] for row in rows.values()), "versions keep their epochs"
    anchors = tomllib.loads(small.locks()["dsenv.lock"].decode())["provenance"]["system"]["archives"]
    for archive in anchors:
        for sha256 in (archive["inrelease"], *(index["sha256"] for index in archive["indexes"])):
            assert (small.store / "artifacts" / sha256[:2] / sha256).exists()
    assert {row["origin"] for row in rows.values()} == {archive["suite"] for archive in anchors}


def test_the_same_spec_gives_the_same_bytes(small: Dsenv, tmp_path: Path) -> None:
    other = small.copy(tmp_path / "elsewhere" / "deeper")
    for name in other.locks():
        (other.directory / name).unlink()
    other(
        "lock",
        wrapper=("sh", "-c", 'umask 077; exec "$@"', "sh"),
        LC_ALL="C",
        LANG="tr_TR.UTF-8",
        TZ="Asia/Tokyo",
        HOME=str(tmp_path),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    assert other.locks() == small.locks()


def test_a_fresh_lock_asks_nobody(small: Dsenv) -> None:
    before = small.locks()
    answer = small.json("lock", code=0, https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    assert answer["fresh"]
    assert small.locks() == before
    assert small("lock", "--locked").returncode == 0


def test_what_the_spec_does_not_force_stays(dsenv: Dsenv) -> None:
    """An older pin is kept when another package comes, and moves with --upgrade."""
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["idna==3.6"]\n')("lock")
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["idna", "six"]\n')("lock")
    pylock = tomllib.loads(dsenv.locks()["pylock.toml"].decode())
    versions = {package["name"]: package["version"] for package in pylock["packages"]}
    assert versions["idna"] == "3.6"
    assert "six" in versions
    dsenv("lock", "--upgrade")
    pylock = tomllib.loads(dsenv.locks()["pylock.toml"].decode())
    assert {package["name"]: package["version"] for package in pylock["packages"]}["idna"] != "3.6"


def test_a_locked_system_version_stays_while_the_archive_has_it(dsenv: Dsenv, small: Dsenv) -> None:
    """A version of the release itself is kept although the security suite has a newer one."""
    conf = next((small.store / "caches" / "apt").glob("*/apt.conf"))
    listed = subprocess.run(
        ["apt-cache", "madison", "jq"],
        env={**os.environ, "APT_CONFIG": str(conf)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    versions = [line.split("|")[1].strip() for line in listed.splitlines() if "Packages" in line]
    newest, oldest = versions[0], versions[-1]
    if newest == oldest:
        pytest.skip("the archive has one version of jq only just now")
    dsenv.spec(f'[system]\npackages = ["jq={oldest}", "libjq1={oldest}"]\n')("lock")
    dsenv.spec('[system]\npackages = ["jq", "unzip"]\n')("lock")
    assert _rows(dsenv)["jq"]["version"] == oldest
    assert "unzip" in _rows(dsenv)
    dsenv("lock", "--upgrade")
    assert _rows(dsenv)["jq"]["version"] == newest


def test_a_version_that_the_archive_dropped_is_named(small: Dsenv) -> None:
    path = small.directory / "dsenv.lock"
    version = _rows(small)["jq"]["version"]
    path.write_text(path.read_text().replace(f'name = "jq"\nversion = "{version}"', 'name = "jq"\nversion = "1.5-0"'))
    assert _rows(small)["jq"]["version"] == "1.5-0"
    spec = small.directory / "dsenv.toml"
    spec.write_text(spec.read_text().replace('["jq"]', '["jq", "unzip"]'))
    completed = small("lock")
    assert f"the archive no longer has jq 1.5-0 (now {version})" in completed.stderr
    assert "unzip" not in completed.stderr
    assert _rows(small)["jq"]["version"] == version


def test_groups_stand_in_one_lock(dsenv: Dsenv) -> None:
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["six"]\ngroups = { dev = ["redis"], docs = ["idna"] }\n')(
        "lock"
    )
    pylock = tomllib.loads(dsenv.locks()["pylock.toml"].decode())
    markers = {package["name"]: package.get("marker", "") for package in pylock["packages"]}
    assert pylock["dependency-groups"] == ["dev", "docs"]
    assert markers["six"] == ""
    assert markers["idna"] == "'docs' in dependency_groups"
    assert markers["async-timeout"] == "'dev' in dependency_groups and python_full_version < '3.11.3'"
    dsenv("restore", "--group", "docs")
    assert dsenv("run", "--", "python", "-c", "import six, idna").returncode == 0
    assert dsenv("run", "--", "python", "-c", "import redis", code=1).returncode == 1
    assert "no group nope" in dsenv("restore", "--group", "nope", code=2).stderr


def test_one_lock_for_several_targets(dsenv: Dsenv) -> None:
    dsenv.spec(
        '[python]\nversion = "3.11"\npackages = ["numpy"]\n[r]\nversion = "4.2"\nrepositories = ["apt"]\n'
        'packages = ["glue"]\n'
    )
    path = dsenv.directory / "dsenv.toml"
    path.write_text(path.read_text().replace('"linux-amd64"', '"linux-amd64", "linux-arm64"'))
    dsenv("lock")
    lock = tomllib.loads(dsenv.locks()["dsenv.lock"].decode())
    assert _rows(dsenv, "linux-arm64")["libc6"]["architecture"] == "arm64"
    glue = next(row for row in lock["r"]["packages"] if row["name"] == "glue")
    assert set(glue["artifacts"]) == {"linux-amd64", "linux-arm64"}
    pylock = tomllib.loads(dsenv.locks()["pylock.toml"].decode())
    names = [wheel["url"].rsplit("/", 1)[1] for wheel in pylock["packages"][0]["wheels"]]
    assert any("x86_64" in name for name in names)
    assert any("aarch64" in name for name in names)
    assert not any(word in name for name in names for word in ("musllinux", "macosx", "win", "cp312"))
    assert len(pylock["environments"]) == 2


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ('[python]\nversion = "3.11"\npackages = ["dsenv-no-such-package"]\n', ["dsenv-no-such-package was not found"]),
        (
            '[python]\nversion = "3.11"\npackages = ["requests>=2.32", "idna<2.5"]\n',
            ["requests", "idna", "unsatisfiable"],
        ),
        ('[python]\nversion = "3.11"\npackages = ["docopt"]\n', ["docopt", "no usable wheels"]),
        ('[python]\nversion = "3.5"\n', ["debian bookworm has no Python 3.5", "python3.11", "no build is listed"]),
        ('[r]\nversion = "4.4"\nrepositories = ["apt"]\n', ["debian bookworm has no R 4.4", "4.2.2"]),
        (
            '[r]\nversion = "4.2"\nrepositories = ["apt"]\npackages = ["dplyrr"]\n',
            ["r-cran-dplyrr", "r:dplyrr", "r-cran-dplyr"],
        ),
        (
            '[r]\nversion = "4.2"\nrepositories = ["apt"]\npackages = ["glue>=99"]\n',
            ["glue>=99", "the distribution has"],
        ),
        ('[system]\npackages = ["pandok"]\n', ["pandok", "[system] packages", "pandoc"]),
        ('[system]\npackages = ["mail-transport-agent"]\n', ["mail-transport-agent", "provided by", "postfix"]),
        ('[system]\npackages = ["pandoc=99*"]\n', ["99*", "pandoc"]),
        (
            '[system]\npackages = ["libcurl4-openssl-dev", "libcurl4-gnutls-dev"]\n',
            ["libcurl4-gnutls-dev does not go with libcurl4-openssl-dev"],
        ),
    ],
)
def test_what_cannot_be_resolved_names_its_chain(dsenv: Dsenv, tables: str, words: list[str]) -> None:
    completed = dsenv.spec(tables)("lock", code=1)
    for word in words:
        assert word in completed.stderr
    assert dsenv.locks() == {}


@pytest.mark.root
def test_no_network_is_told(small: Dsenv) -> None:
    before = small.locks()
    completed = small("lock", "--upgrade", code=1, wrapper=NO_NETWORK)
    assert "apt could not fetch and verify" in completed.stderr
    assert "Check the network" in completed.stderr
    assert small.locks() == before


def test_a_dead_python_index_is_told(small: Dsenv) -> None:
    before = small.locks()
    completed = small("lock", "--upgrade", code=1, UV_DEFAULT_INDEX="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0")
    assert "the Python index does not answer" in completed.stderr
    assert small.locks() == before


@pytest.mark.root
def test_no_apt_is_told(small: Dsenv) -> None:
    hide = 'for name in apt-get apt-cache apt-config; do mount --bind /dev/null /usr/bin/$name; done; exec "$@"'
    completed = small("lock", "--upgrade", code=1, wrapper=("unshare", "--mount", "sh", "-c", hide, "sh"))
    assert "there is no `apt-config` on this machine" in completed.stderr
    assert "hint: " in completed.stderr


class _Archive(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a directory on loopback and return it with its address."""
    directory = tmp_path / "archive"
    directory.mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *words: _Archive(*words, directory=str(directory))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield directory, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _apt_config(tmp_path: Path, text: str) -> str:
    """Return the path of an apt configuration under which the machine has the given sources."""
    (tmp_path / "apt").mkdir()
    (tmp_path / "apt" / "sources.list").write_text(text)
    path = tmp_path / "apt" / "apt.conf"
    path.write_text(f'Dir::Etc::sourcelist "{tmp_path}/apt/sources.list";\nDir::Etc::sourceparts "/dev/null";\n')
    return str(path)


def _own_sources() -> str:
    found = [source for source in sources.parse(sources.host_files()) if source.suite.startswith("bookworm")]
    return "".join(
        f"deb {source.uri} {source.suite} {' '.join(source.components)}\n"
        for source in found
        if "debian-archive" in source.signed_by or not source.signed_by
    )


def test_third_party_sources_change_nothing(small: Dsenv, tmp_path: Path) -> None:
    before = small.locks()
    text = _own_sources() + "deb [signed-by=/k/vendor.gpg] http://127.0.0.1:9/vendor bookworm main\n"
    config = _apt_config(tmp_path, text + "deb http://127.0.0.1:9/other trixie main\n")
    completed = small("lock", "--upgrade", APT_CONFIG=config)
    assert "left out: http://127.0.0.1:9/vendor bookworm" in completed.stderr
    assert "left out: http://127.0.0.1:9/other trixie" in completed.stderr
    assert small.locks() == before


def test_sources_may_name_their_suite_by_an_alias(small: Dsenv, tmp_path: Path) -> None:
    """The signed Release files decide which release an alias is."""
    before = small.locks()
    release = next((small.store / "caches" / "apt").glob("*/var/lib/apt/lists/*_dists_bookworm_InRelease")).read_text()
    match = re.search(r"^Suite: (.*)$", release, re.MULTILINE)
    assert match
    alias, other = match[1], "oldstable" if match[1] == "stable" else "stable"
    text = _own_sources().replace(" bookworm ", f" {alias} ")
    strange = next(line for line in text.splitlines() if f" {alias} " in line).replace(f" {alias} ", f" {other} ")
    completed = small("lock", "--upgrade", APT_CONFIG=_apt_config(tmp_path, f"{text}{strange}\n"))
    assert re.search(rf"left out: \S+ {other} \(\S+\): it says that it is Debian \w+", completed.stderr)
    assert small.locks() == before


def test_a_list_of_mirrors_is_its_addresses(small: Dsenv, tmp_path: Path) -> None:
    """As in Debian's cloud images; the lock names the mirrors, of which artifacts can be had."""
    before = small.locks()
    lines = _own_sources().splitlines()
    for number, line in enumerate(lines):
        _, uri, rest = line.split(" ", 2)
        (tmp_path / f"{number}.list").write_text(f"# mirrors\n{uri}/\tpriority:1\n")
        lines[number] = f"deb mirror+file:{tmp_path}/{number}.list {rest}"
    small("lock", "--upgrade", APT_CONFIG=_apt_config(tmp_path, "\n".join(lines) + "\n"))
    assert small.locks() == before


def test_no_source_for_the_release_is_told(small: Dsenv, tmp_path: Path) -> None:
    config = _apt_config(tmp_path, "deb http://127.0.0.1:9/other trixie main\n")
    completed = small("lock", "--upgrade", code=1, APT_CONFIG=config)
    assert "there is no apt source for debian bookworm here" in completed.stderr


@pytest.mark.parametrize("change", ["text", "signature"])
def test_a_release_file_with_another_byte_is_refused(
    small: Dsenv, tmp_path: Path, archive: tuple[Path, str], change: str
) -> None:
    before = small.locks()
    anchors = tomllib.loads(before["dsenv.lock"].decode())["provenance"]["system"]["archives"]
    sha256 = next(row["inrelease"] for row in anchors if row["suite"] == "bookworm")
    text = (small.store / "artifacts" / sha256[:2] / sha256).read_text()
    if change == "text":
        text = text.replace("Label: Debian", "Label: Nebian", 1)
    else:
        head, mark, tail = text.partition("-----BEGIN PGP SIGNATURE-----")
        text = head + mark + tail.replace("A", "B", 40)
    directory, url = archive
    (directory / "dists" / "bookworm").mkdir(parents=True)
    (directory / "dists" / "bookworm" / "InRelease").write_text(text)
    completed = small("lock", "--upgrade", code=1, APT_CONFIG=_apt_config(tmp_path, f"deb {url} bookworm main\n"))
    words = {"text": "somebody has changed it on the way", "signature": "apt could not fetch and verify"}
    assert words[change] in completed.stderr
    assert small.locks() == before


def test_credentials_reach_no_lock(small: Dsenv) -> None:
    index = os.environ.get("UV_DEFAULT_INDEX") or "http://ann:s3cret@127.0.0.1:9/simple"
    completed = small(
        "lock",
        "--upgrade",
        code=None,
        UV_DEFAULT_INDEX=index.replace("://", "://ann:s3cret@", 1) if "s3cret" not in index else index,
        UV_HTTP_RETRIES="0",
    )
    assert "s3cret" not in completed.stdout + completed.stderr
    assert all(b"s3cret" not in content for content in small.locks().values())


def test_no_message_shows_credentials_of_apt_sources(small: Dsenv, tmp_path: Path) -> None:
    text = "".join(f"deb http://ann:s3@cret@127.0.0.1:9/debian {suite} main\n" for suite in ("bookworm", "trixie"))
    completed = small("lock", "--upgrade", code=1, APT_CONFIG=_apt_config(tmp_path, text))
    assert "left out: http://127.0.0.1:9/debian trixie" in completed.stderr
    assert "127.0.0.1:9/debian/dists/bookworm" in completed.stderr
    assert "ann" not in completed.stderr
    assert "cret" not in completed.stderr
    written = [path for path in (small.store / "caches" / "apt").rglob("*.sources") if "s3@cret" in path.read_text()]
    assert [path.stat().st_mode & 0o777 for path in written] == [0o600]


def _versions(project: Dsenv) -> dict[str, str]:
    lock = tomllib.loads(project.locks()["pylock.toml"].decode())
    return {package["name"]: package["version"] for package in lock["packages"]}


def test_only_what_is_named_is_upgraded(dsenv: Dsenv) -> None:
    old = '[python]\nversion = "3.11"\npackages = ["idna==3.6", "six==1.15.0"]\n'
    dsenv.spec(old)("lock")
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["idna", "six"]\n')("lock")
    assert _versions(dsenv) == {"idna": "3.6", "six": "1.15.0"}
    assert "no package nope is locked" in dsenv("lock", "--upgrade-package", "nope", code=2).stderr
    moved = dsenv.json("lock", "--upgrade-package", "idna")["moved"]
    assert [(change["part"], change["name"], change["old"]) for change in moved] == [("python", "idna", "3.6")]
    assert _versions(dsenv)["six"] == "1.15.0"
    assert dsenv.json("lock", "--refresh") == dsenv.json("lock", "--refresh") | {"changed": [], "moved": []}


def test_a_change_of_one_part_asks_nobody_else(dsenv: Dsenv) -> None:
    """Another Python package leaves the locked system as it is, and apt is not asked."""
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["six"]\n')("lock")
    before = dsenv.locks()["dsenv.lock"]
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["six", "idna"]\n')
    completed = dsenv("lock", "--verbose")
    assert "apt-get" not in completed.stderr
    assert "  python  idna  new " in completed.stdout
    assert dsenv.locks()["dsenv.lock"] == before
    dsenv.spec('[python]\nversion = "3.11"\npackages = ["six"]\n[system]\npackages = ["jq"]\n')
    assert "apt-get" in dsenv("lock", "--verbose").stderr
    assert "jq" in _rows(dsenv)


def test_both_sides_of_a_merge_are_kept(dsenv: Dsenv) -> None:
    """Two branches have added a package each and moved one; git leaves markers, and `lock` takes both sides' pins."""
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main")

    def run(*words: str, code: int = 0) -> None:
        completed = subprocess.run([*git, *words], cwd=dsenv.directory, capture_output=True, text=True, check=False)
        assert completed.returncode == code, completed.stdout + completed.stderr

    def branch(packages: str, system: str) -> None:
        dsenv.spec(f'[python]\nversion = "3.11"\npackages = [{packages}]\n[system]\npackages = [{system}]\n')("lock")

    run("init", "--quiet")
    branch('"six==1.15.0"', '"jq"')
    run("add", ".")
    run("commit", "--quiet", "--message", "base")
    run("checkout", "--quiet", "-b", "other")
    branch('"six==1.15.0", "idna==3.6"', '"jq", "unzip"')
    run("commit", "--quiet", "--all", "--message", "other")
    run("checkout", "--quiet", "main")
    branch('"six==1.15.0", "attrs==23.1.0"', '"jq", "zip"')
    run("commit", "--quiet", "--all", "--message", "ours")
    run("merge", "--quiet", "other", code=1)
    assert any(b"<<<<<<< " in content for content in dsenv.locks().values())
    dsenv.spec(
        '[python]\nversion = "3.11"\npackages = ["six", "attrs", "idna"]\n[system]\npackages = ["jq", "unzip", "zip"]\n'
    )
    assert "conflict markers" in dsenv("restore", code=2).stderr
    dsenv("lock")
    assert _versions(dsenv) == {"six": "1.15.0", "attrs": "23.1.0", "idna": "3.6"}
    assert {"jq", "unzip", "zip"} <= _rows(dsenv).keys()
    dsenv("lock", "--locked")


def test_groups_that_exclude_each_other_are_solved_apart(dsenv: Dsenv) -> None:
    """As for CPU and CUDA builds: two versions in one lock, one of them at a time in an environment."""
    spec = (
        '[python]\nversion = "3.11"\npackages = ["idna"]\nconflicts = [["old", "new"]]\n'
        'groups = { old = ["six==1.15.0"], new = ["six==1.16.0"], dev = ["attrs"] }\n'
    )
    dsenv.spec(spec)("lock")
    dsenv("restore", "--group", "new", "--group", "dev")
    assert dsenv("run", "--", "python", "-c", "import attrs, six; print(six.__version__)").stdout == "1.16.0\n"
    dsenv("restore", "--group", "old")
    assert dsenv("run", "--", "python", "-c", "import six; print(six.__version__)").stdout == "1.15.0\n"
    assert "new and old are solved apart" in dsenv("restore", "--group", "old", "--group", "new", code=2).stderr
    assert "--no-group" in dsenv("restore", "--all-groups", code=2).stderr
    wanted = dsenv.json("restore", "--dry-run", "--group", "new", "--group", "dev")["id"]
    assert dsenv.json("restore", "--dry-run", "--all-groups", "--no-group", "old")["id"] == wanted
    assert "no group nope" in dsenv("restore", "--no-group", "nope", code=2).stderr
    assert "attrs==" in dsenv("export", "requirements", "--all-groups", "--no-group", "old").stdout
    dsenv.spec(spec.replace('"new"]]', '"nope"]]'))
    assert "conflicts names nope, which is no group" in dsenv("lock", code=2).stderr
    dsenv.spec(spec.replace('conflicts = [["old", "new"]]\n', ""))
    assert "six" in dsenv("lock", code=1).stderr


def test_requirements_of_another_file_count(dsenv: Dsenv) -> None:
    """A change of the file makes the lock stale, whatever its name; its groups are groups."""
    path = dsenv.directory / "pyproject.toml"
    path.write_text('[project]\nname = "x"\ndependencies = ["six==1.15.0"]\n[dependency-groups]\ndev = ["idna"]\n')
    dsenv.spec('[python]\nversion = "3.11"\nfrom = "pyproject.toml"\n')("lock")
    assert _versions(dsenv)["six"] == "1.15.0"
    dsenv("restore", "--group", "dev")
    path.write_text(path.read_text().replace("1.15.0", "1.16.0"))
    assert "+ six==1.16.0" in dsenv("status", code=3).stdout
    dsenv("lock")
    assert _versions(dsenv)["six"] == "1.16.0"
