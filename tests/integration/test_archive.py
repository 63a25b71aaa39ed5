"""apt archives that move on, lie or break: a local archive in dated states, signed by a key of its own.

The machine's keyring of Debian is another one meanwhile, in a mount namespace: everything else is as for a user.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv import locks
from dsenv.ecosystems.system import bootstrap, install, pins
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS
from dsenv.store import Store
from dsenv.tree import content_sha256
from tests.integration.archive import AptArchive, Deb, Key, base
from tests.integration.conftest import Dsenv

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.apt, pytest.mark.root]
ONE, TWO = "20260901T000000Z", "20261001T000000Z"
TOOL = {"usr/bin/tool": "#!/bin/sh\necho old\n"}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key.make(tmp_path_factory.mktemp("gpg") / "home")


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key.make(tmp_path_factory.mktemp("gpg") / "other")


@pytest.fixture
def archive(tmp_path: Path, key: Key) -> Iterator[AptArchive]:
    """Serve an archive of one state: a base, a tool and its library."""
    found = AptArchive(tmp_path / "archive", key)
    found.publish(ONE, [*base(), *_tool("1.0")])
    yield found
    found.close()


def _tool(version: str) -> list[Deb]:
    return [
        Deb("tool", version, {"Depends": f"libtool1 (= {version})", "Source": "toolsrc"}, TOOL),
        Deb("libtool1", version, {"Source": "toolsrc"}),
    ]


class Project(Dsenv):
    """A project on a machine whose Debian is the local archive."""

    def start(self, *words: str, wrapper: tuple[str, ...] = (), **env: Any) -> subprocess.Popen[str]:
        keyring = self.directory.parent / "keyring.gpg"
        mount = f'mount --bind {keyring} {DISTRIBUTIONS["debian"].keyring}; exec "$@"'
        return super().start(*words, wrapper=("unshare", "--mount", "sh", "-ec", mount, "sh", *wrapper), **env)

    def system(self, packages: str = '"tool"', more: str = "", project: str = "") -> Project:
        """Write a spec of system packages alone."""
        self.spec(f"[system]\npackages = [{packages}]\n{more}")
        path = self.directory / "dsenv.toml"
        path.write_text(path.read_text().replace("[platform]", f"{project}\n[platform]"))
        return self

    def rows(self) -> dict[str, Any]:
        lock = tomllib.loads(self.locks()["dsenv.lock"].decode())
        return {row["name"]: row for row in lock["system"]["linux-amd64"]["packages"]}

    def versions(self) -> dict[str, str]:
        return {name: row["version"] for name, row in self.rows().items() if not row.get("base")}

    def archives(self) -> list[dict[str, Any]]:
        lock = tomllib.loads(self.locks()["dsenv.lock"].decode())
        found: list[dict[str, Any]] = lock["provenance"]["system"]["archives"]
        return found

    def forget(self) -> Project:
        """Return the project with an empty store, as on another machine."""
        return replace(self, store=Path(f"{self.store}-2"))


@pytest.fixture
def project(tmp_path: Path, archive: AptArchive) -> Project:
    (tmp_path / "project").mkdir()
    archive.key.keyring(tmp_path / "keyring.gpg")
    return Project(tmp_path / "project", tmp_path / "store", {"APT_CONFIG": _sources(tmp_path, archive)})


def _sources(tmp_path: Path, archive: AptArchive, more: str = "", conf: str = "") -> str:
    (tmp_path / "sources.list").write_text(f"deb {archive.url}/debian bookworm main\n{more}")
    path = tmp_path / "apt.conf"
    path.write_text(f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n{conf}')
    return str(path)


def test_pins_stay_though_the_archive_moves_on(project: Project, archive: AptArchive) -> None:
    project.system()("lock")
    project("restore")
    archive.publish(TWO, [*base("0.2"), *_tool("2.0"), Deb("more", "1", {"Depends": "libtool1"})])
    completed = project.system('"tool", "more"')("lock")
    assert project.versions() == {"tool": "1.0", "libtool1": "1.0", "more": "1"}
    assert re.search(r"no longer has .*tool 1.0.*: kept, since this store has the files", completed.stderr)
    assert re.search(r"the archive no longer has .*base-files 0.1 \(now 0.2\)", completed.stderr)
    assert len(project.archives()) == 2, "the index that lists the kept rows, and the one that lists the others"
    project("lock", "--upgrade-package", "system:tool", "--upgrade-package", "system:libtool1")
    assert project.versions() == {"tool": "2.0", "libtool1": "2.0", "more": "1"}
    assert {row["version"] for row in project.rows().values() if row.get("base")} == {"0.2"}, "nobody has them"
    archive.publish("20261101T000000Z", [*base("0.2"), *_tool("3.0"), Deb("more", "1", {"Depends": "libtool1"})])
    elsewhere = project.forget()
    completed = elsewhere("restore", code=1)
    assert re.search(
        r"tool1?_2.0_all.deb could not be downloaded\n.* answered 404\n.*store may have it", completed.stderr
    )
    assert "`dsenv lock --refresh` takes what there is now" in completed.stderr
    elsewhere("lock", "--refresh")
    assert project.versions() == {"tool": "3.0", "libtool1": "3.0", "more": "1"}


def test_only_what_is_in_the_way_moves(project: Project, archive: AptArchive) -> None:
    """A request that a locked version does not go with moves that one and its siblings, not the others."""
    others = [Deb("other", "1.0"), Deb("third", "1.0")]
    archive.publish(ONE, [*base(), *_tool("1.0"), *others])
    project.system('"tool", "other", "third"')("lock")
    newer = [*base("0.2"), *_tool("2.0"), Deb("other", "2.0"), Deb("third", "2.0")]
    archive.publish(ONE, [*base(), *_tool("1.0"), *others, *newer, Deb("app", "1", {"Depends": "tool (>= 2)"})])
    completed = project.system('"tool", "other", "third", "app"')("lock")
    assert project.versions() == {"tool": "2.0", "libtool1": "2.0", "other": "1.0", "third": "1.0", "app": "1"}
    assert {row["version"] for row in project.rows().values() if row.get("base")} == {"0.1"}
    assert "does not go with the locked versions of libtool1, tool: they moved" in completed.stderr


def test_a_lock_outlives_the_archives_state(project: Project, archive: AptArchive) -> None:
    """The snapshot's address stands in the lock, although nobody asked for a date."""
    snapshots = f'snapshots = "{archive.snapshots}"\n'
    project.system(more=snapshots)("lock")
    archive.publish(TWO, [*base("0.2"), *_tool("2.0"), Deb("more", "1", {"Depends": "libtool1"})])
    elsewhere = project.forget()
    elsewhere("restore")
    assert any("/snapshot/debian/20260901T120000Z/pool/main/t/tool" in path for path in archive.asked)
    assert elsewhere("run", "--", "tool").stdout == "old\n"
    completed = project.system('"tool", "more"', more=snapshots)("lock")
    assert project.versions() == {"tool": "1.0", "libtool1": "1.0", "more": "1"}
    assert {row["version"] for row in project.rows().values() if row.get("base")} == {"0.1"}
    assert f"kept, {archive.url}/snapshot/debian/20260901T120000Z still has the files" in completed.stderr


def test_a_date_takes_the_archive_as_it_was(project: Project, archive: AptArchive, tmp_path: Path) -> None:
    """From apt's own settings, from the project, from the signed field; expired as it is."""
    archive.publish(ONE, [*base(), *_tool("1.0")], Valid_Until="Tue, 08 Sep 2026 00:00:00 UTC")
    archive.publish(TWO, [*base("0.2"), *_tool("2.0")], Snapshots=archive.snapshots)
    dated = project.system(project="as-of = 2026-09-15")
    dated("lock")
    assert dated.versions()["tool"] == "1.0"
    assert [row["uri"] for row in dated.archives()] == [f"{archive.url}/snapshot/debian/20260915T235959Z"]
    assert [row["fallbacks"] for row in dated.archives()] == [[f"{archive.url}/debian"]]
    dated.system(project="as-of = 2026-10-15")("lock")
    assert dated.versions()["tool"] == "1.0", "a later date forces nothing"
    dated("lock", "--upgrade")
    assert dated.versions()["tool"] == "2.0"
    dated.system(project="as-of = 2026-09-15")("lock")
    assert dated.versions()["tool"] == "1.0", "an earlier one does, even where the store has the newer file"
    archive.publish(TWO, [*base("0.2"), *_tool("2.0")])
    (dated.directory / "dsenv.lock").unlink()
    conf = f'Acquire::Snapshots::URI::Host::127.0.0.1 "{archive.snapshots}";\n'
    dated("lock", APT_CONFIG=_sources(tmp_path, archive, conf=conf))
    assert dated.versions()["tool"] == "1.0"
    (dated.directory / "dsenv.lock").unlink()
    completed = dated("lock", APT_CONFIG=_sources(tmp_path, archive))
    assert "no snapshots are known of http://127.0.0.1" in completed.stderr
    assert dated.versions()["tool"] == "2.0"
    (dated.directory / "dsenv.lock").unlink()
    archive.live = "gone"
    dated.system(project="as-of = 2026-09-15", more=f'snapshots = "{archive.snapshots}"\n')("lock")
    assert dated.versions()["tool"] == "1.0"


def test_a_third_partys_archive(project: Project, archive: AptArchive, other_key: Key, key: Key) -> None:
    """It adds packages, replaces only those that it is named for, and has to be signed by its own key."""
    vendor = [Deb("vendored", "3", {"Depends": "libtool1"}), Deb("tool", "9"), Deb("libtool1", "1.5")]
    archive.publish(
        ONE, vendor, archive="vendor", suite="rel/", flat=True, key=other_key, Origin="Vendor", Label="Vendor"
    )
    (project.directory / "keys").mkdir()
    asc = other_key.keyring(project.directory / "keys" / "vendor.asc", armored=True)

    def spec(more: str = "") -> Project:
        table = f'[[system.repositories]]\nname = "vendor"\nuri = "{archive.url}/vendor"\nsuite = "rel/"\n'
        return project.system('"vendored", "tool"', more=f'{table}key = "keys/vendor.asc"\n{more}')

    completed = spec()("lock")
    assert "vendor has no snapshots: keep what is locked from there" in completed.stderr
    assert project.versions() == {"vendored": "3", "tool": "1.0", "libtool1": "1.0"}
    assert project.rows()["vendored"]["origin"] == "vendor"
    assert next(row for row in project.archives() if row["suite"] == "vendor")["fingerprints"] == [
        other_key.fingerprint
    ]
    project("restore")
    assert project.json("verify", "--trust")["unvouched"] == []
    spec('packages = ["tool"]\n')
    assert "packages" not in project("lock", "--locked", code=3).stdout
    project("lock", "--upgrade")
    assert project.versions() == {"vendored": "3", "tool": "9", "libtool1": "1.0"}
    asc.write_bytes(key.gpg("--armor", "--export"))
    completed = project("lock", code=1)
    assert "which is not the key it has to be signed by" in completed.stderr
    asc.write_text("no key")
    assert "keys/vendor.asc is not the key of an archive" in project("lock", code=2).stderr


@pytest.mark.parametrize("fault", ["signature", "key", "expired", "swapped", "tampered", "replayed", "cut"])
def test_what_cannot_be_trusted_stops_the_lock(
    project: Project, archive: AptArchive, other_key: Key, fault: str
) -> None:
    dists = archive.directory / ONE / "debian" / "dists" / "bookworm"
    words = {
        "signature": "its contents: somebody has changed it on the way",
        "key": "which is not the key it has to be signed by",
        "expired": "has expired: this mirror is behind, or somebody replays an old state",
        "swapped": "is not the index that its signed Release file lists",
        "tampered": "is not the index that its signed Release file lists",
        "replayed": "has expired: this mirror is behind",
        "cut": "could not fetch and verify",
    }[fault]
    packages = dists / "main" / "binary-amd64" / "Packages.gz"
    if fault == "signature":
        release = dists / "InRelease"
        release.write_text(release.read_text().replace("Label: Debian", "Label: Nebian"))
    elif fault == "key":
        archive.publish(ONE, [*base(), *_tool("1.0")], key=other_key)
    elif fault in {"expired", "replayed"}:
        archive.publish(ONE, [*base(), *_tool("1.0")], Valid_Until="Tue, 08 Sep 2026 00:00:00 UTC")
    elif fault == "swapped":
        archive.publish(TWO, [*base(), *_tool("6.6")])
        theirs = archive.directory / TWO / "debian/dists/bookworm/main/binary-amd64/Packages.gz"
        packages.write_bytes(theirs.read_bytes())
        archive.live = ONE
    elif fault == "tampered":
        packages.write_bytes(packages.read_bytes()[:-1] + b"x")
    elif fault == "cut":
        archive.cut = re.compile(r"InRelease$")
    completed = project.system()("lock", code=1)
    assert words in completed.stderr
    assert "hint: " in completed.stderr
    assert project.locks() == {}


def test_a_slow_mirror_a_cut_and_the_machines_own_settings(
    project: Project, archive: AptArchive, tmp_path: Path
) -> None:
    """Neither the machine's default release, nor what it holds, nor a slow line has a part in a lock."""
    archive.slow = re.compile(r"InRelease$|Packages")
    parts = tmp_path / "conf.d"
    parts.mkdir()
    (parts / "99x").write_text('APT::Default-Release "trixie";\nAPT::Install-Recommends "true";\n')
    (tmp_path / "preferences").write_text("Package: *\nPin: release *\nPin-Priority: -1\n")
    (tmp_path / "status").write_text("Package: tool\nStatus: hold ok installed\nVersion: 0.1\nArchitecture: all\n")
    conf = (
        f'Dir::Etc::Parts "{parts}";\nDir::Etc::Preferences "{tmp_path}/preferences";\n'
        f'Dir::State::status "{tmp_path}/status";\n'
    )
    project.system()("lock", APT_CONFIG=_sources(tmp_path, archive, conf=conf))
    assert project.versions()["tool"] == "1.0"
    archive.slow, archive.cut = None, re.compile(r"/tool_1")
    completed = project("restore", code=1)
    assert "tool_1.0_all.deb could not be downloaded" in completed.stderr
    archive.cut = None
    project("restore")


def test_the_chain_is_walked_again(project: Project, archive: AptArchive, other_key: Key, tmp_path: Path) -> None:
    """Offline, from the store: signature, index, row, file; what nobody signed is named."""
    project.system()("lock")
    project("restore")
    elsewhere = project.forget()
    assert elsewhere.json("verify", "--trust", "--offline", code=4)["unvouched"]
    assert elsewhere.json("verify", "--trust")["unvouched"] == [], "the archive still serves the signed files"
    archive.close()
    found = project.json("verify", "--trust", "--offline")
    assert found["unvouched"] == []
    assert {row["name"] for row in found["rows"]} == project.rows().keys()
    assert {row["key"] for row in found["rows"]} == {archive.key.fingerprint}
    lock = project.directory / "dsenv.lock"
    before = lock.read_text()
    row = project.rows()["tool"]
    evil = Deb("tool", "1.0", files={"usr/bin/tool": "#!/bin/sh\necho evil\n"}).build(tmp_path)
    sha256 = subprocess.run(["sha256sum", evil], capture_output=True, text=True, check=True).stdout.split()[0]
    lock.write_text(
        before.replace(row["sha256"], sha256).replace(f"size = {row['size']}", f"size = {evil.stat().st_size}")
    )
    completed = project("verify", "--trust", code=4)
    assert "tool 1.0" in completed.stdout
    assert "no signed index lists it with this sha256" in completed.stdout
    lock.write_text(before)
    other_key.keyring(tmp_path / "keyring.gpg")
    completed = project("verify", "--trust", code=4)
    assert "which the keyring does not have" in completed.stdout
    archive.key.keyring(tmp_path / "keyring.gpg")
    kept = next(
        path for path in (project.store / "artifacts").rglob("*") if path.is_file() and b"PGP" in path.read_bytes()
    )
    kept.unlink()
    said = project("verify", "--trust", code=4).stdout
    assert (
        f"is not in the store: the store of whoever made the lock has it as artifacts/{kept.name[:2]}/{kept.name}"
        in said
    )
    assert re.search(r"apt 0.1, .* and 1 more: ", said), "one reason is told once"


def test_root_runs_no_script_that_nobody_vouches_for(project: Project, archive: AptArchive, tmp_path: Path) -> None:
    """What is kept with the lock counts, and what the archive signs today; the lock's own hashes do not."""
    project.system()("lock")
    unmade = "the root file system could not be made"  # of packages that are none of a real base
    assert unmade in project("docker", "--no-build", code=1).stderr
    archive.publish(TWO, [*base(), *_tool("1.0"), Deb("more", "1")])
    elsewhere = project.forget()
    assert unmade in elsewhere("docker", "--no-build", code=1).stderr, "the archive has signed the same rows again"
    evil = Deb("tool", "1.0", {"Depends": "libtool1 (= 1.0)"}, {"usr/bin/tool": "evil"}).build(tmp_path)
    row, lock = project.rows()["tool"], project.directory / "dsenv.lock"
    sha256 = content_sha256(evil.read_bytes())
    text = (
        lock.read_text()
        .replace(row["sha256"], sha256)
        .replace(f"size = {row['size']}", f"size = {evil.stat().st_size}")
    )
    lock.write_text(text)
    kept = project.store / "artifacts" / sha256[:2]
    kept.mkdir(exist_ok=True)
    shutil.copy(evil, kept / sha256)
    said = project("docker", "--no-build", code=1).stderr
    assert "lists 1 of the packages whose scripts would run as root of this machine: tool 1.0" in said
    assert "--trust-lock" in said
    assert unmade in project("docker", "--no-build", "--trust-lock", code=1).stderr


def test_years_later_keys_have_expired(project: Project, archive: AptArchive, tmp_path: Path) -> None:
    """A signature made while its key was valid counts, and is told; one made afterwards does not."""
    old = Key.make(tmp_path / "gpg-old", expires="20200601T000000", at="20200101T000000")
    old.keyring(tmp_path / "keyring.gpg")
    project.system()
    archive.publish(ONE, [*base(), *_tool("1.0")], key=old, signed_at="20200301T000000")
    completed = project("lock", code=1)
    assert "which has expired" in completed.stderr
    archive.key.keyring(tmp_path / "keyring.gpg")
    archive.publish(ONE, [*base(), *_tool("1.0")])
    project("lock")
    old.keyring(tmp_path / "keyring.gpg")
    dists = archive.publish(ONE, [*base(), *_tool("1.0")], key=old, signed_at="20200301T000000")
    _replace_inrelease(project, dists)
    found = project.json("verify", "--trust")
    assert found["unvouched"] == []
    assert {row["state"] for row in found["rows"]} == {"expired"}
    assert "its key expired on 2020-06-01, after it was signed" in project("verify", "--trust").stdout


def _replace_inrelease(project: Project, dists: Path) -> None:
    """Put another signed file of the same contents into the store and the lock."""
    sha256 = subprocess.run(["sha256sum", dists / "InRelease"], capture_output=True, text=True, check=True)
    new = sha256.stdout.split()[0]
    (project.store / "artifacts" / new[:2]).mkdir(exist_ok=True)
    shutil.copy(dists / "InRelease", project.store / "artifacts" / new[:2] / new)
    path = project.directory / "dsenv.lock"
    path.write_text(path.read_text().replace(project.archives()[0]["inrelease"], new))


def test_only_what_is_mended_moves(project: Project, archive: AptArchive, tmp_path: Path) -> None:
    """`lock --security` takes what the security suite has, the base's included, and says it by source package."""
    sources = _sources(tmp_path, archive, more=f"deb {archive.url}/sec bookworm-security main\n")
    archive.publish(ONE, [Deb("unrelated", "1")], archive="sec", suite="bookworm-security")
    project = replace(project, env={"APT_CONFIG": sources})
    project.system('"tool", "other"')
    archive.publish(ONE, [*base(), *_tool("1.0"), Deb("other", "1.0")])
    project("lock")
    archive.publish(ONE, [*base(), *_tool("1.0"), Deb("other", "1.0"), Deb("other", "2.0")])
    mended = [*_tool("1.0+deb12u1"), Deb("dpkg", "0.1.1", {"Priority": "required", "Essential": "yes"})]
    archive.publish(ONE, mended, archive="sec", suite="bookworm-security")
    completed = project("lock", "--security")
    assert project.versions() == {"tool": "1.0+deb12u1", "libtool1": "1.0+deb12u1", "other": "1.0"}
    rows = project.rows()
    assert (rows["dpkg"]["version"], rows["dpkg"]["base"]) == ("0.1.1", True)
    assert rows["dpkg"]["origin"] == "bookworm-security"
    assert re.search(r"system +toolsrc .* 1.0 -> 1.0\+deb12u1 +libtool1, tool", completed.stdout)


def test_what_a_request_may_say(project: Project, archive: AptArchive) -> None:
    """Bounds, virtual packages and recommendations, as apt would settle them."""
    mail = {"Provides": "mail-agent"}
    archive.publish(
        ONE,
        [
            *base(),
            *_tool("1.0"),
            *_tool("2.0~rc1"),
            *_tool("2.0"),
            Deb("rich", "1", {"Recommends": "nowhere | extra, gone, tool"}),
            Deb("extra", "1", {"Recommends": "other"}),
            Deb("other", "1"),
            Deb("exim", "1", mail),
            Deb("postfix", "1", mail),
            Deb("mawk", "1", {"Provides": "awk"}),
            Deb("left", "1", {"Conflicts": "right"}),
            Deb("right", "1"),
        ],
    )
    project.system('"tool<2.0", "awk"')("lock")
    assert project.versions() == {"tool": "2.0~rc1", "libtool1": "2.0~rc1", "mawk": "1"}
    assert project.rows()["mawk"]["why"] == ["requested as awk"]
    project.system('"tool>=1,<2.0", "awk", "rich"')("lock")
    assert project.versions()["tool"] == "2.0~rc1", "it stays"
    assert "extra" not in project.versions()
    project.system('"tool<=1.0", "rich"', more='recommends = ["rich"]\n')("lock")
    assert project.versions() == {"tool": "1.0", "libtool1": "1.0", "rich": "1", "extra": "1"}
    assert project.rows()["extra"]["why"] == ["recommended by rich"]
    for packages, words in {
        '"mail-agent"': "mail-agent (asked for by [system] packages): provided by exim, postfix",
        '"tool>3"': "tool>3 (asked for by [system] packages): there is tool 2.0, 2.0~rc1, 1.0",
        '"left", "right"': "left does not go with right",
    }.items():
        assert words in project.system(packages)("lock", code=1).stderr
    project.system('"mail-agent", "postfix"')("lock")
    assert project.versions() == {"postfix": "1"}


def test_a_base_that_moved_on_takes_the_whole_lock(project: Project, archive: AptArchive, tmp_path: Path) -> None:
    """What an image is built with puts a root of state 2 back to a lock of state 1, by the real apt and dpkg."""
    project.system()("lock")
    new = [*base("0.2"), *_tool("2.0")]
    archive.publish(TWO, new)
    archive.live = ONE
    root = tmp_path / "root"
    for name in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "var/cache/apt", "etc/apt"):
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text("")
    debs = [str(deb.build(archive.directory / "debs")) for deb in new]
    dpkg = ["dpkg", f"--root={root}", "--force-script-chrootless", f"--log={tmp_path}/dpkg.log"]
    subprocess.run([*dpkg, "--install", *debs], check=True, capture_output=True)
    lock = locks.read(project.directory)
    system = lock.parts["system"].pins
    locked = system.roots["linux-amd64"]
    store = Store(project.store)
    store.fetch([system.artifact(row) for row in locked.packages])
    inputs = tmp_path / "inputs"
    (inputs / "pool").mkdir(parents=True)
    (inputs / "Packages").write_text(bootstrap.packages_index(system, locked, store, "pool/"))
    for row in locked.packages:
        shutil.copy(store.path(system.artifact(row)), inputs / "pool" / pins.deb_name(row))
    (inputs / "sources.list").write_text(f"deb [trusted=yes] copy:{inputs} ./\n")
    conf = install._APT_CONF.replace("@inputs@", str(inputs)).replace("@work@", str(tmp_path / "work"))
    (tmp_path / "root.conf").write_text(
        f'{conf}Dir::State::status "{root}/var/lib/dpkg/status";\nDir::State "{root}/var/lib/apt";\n'
        f'Dir::Cache "{root}/var/cache/apt";\n'
        f'DPkg::Options {{ "--root={root}"; "--force-script-chrootless"; "--log={tmp_path}/dpkg.log"; }};\n'
    )
    for name in ("lists/partial", "archives/partial", "log"):
        (tmp_path / "work" / name).mkdir(parents=True)
    env = {**os.environ, "APT_CONFIG": str(tmp_path / "root.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    words = [f"{row.name}={row.version}" for row in locked.packages]
    for argv in (["update"], ["install", *words]):
        done = subprocess.run(["apt-get", *argv], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    form = "${Package} ${Version}\n"
    have = subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", form], capture_output=True, text=True, check=True
    ).stdout
    assert sorted(have.splitlines()) == sorted(f"{row.name} {row.version}" for row in locked.packages)


def test_other_bytes_under_a_locked_version_stop_the_lock(project: Project, archive: AptArchive) -> None:
    project.system()("lock")
    rebuilt = [replace(deb, files={"usr/bin/tool": "#!/bin/sh\necho evil\n"}) for deb in _tool("1.0")]
    archive.publish(ONE, [*base(), *rebuilt, Deb("more", "1")])
    completed = project.system('"tool", "more"')("lock", code=1)
    assert (
        "the archive has other bytes than the lock under the same version: libtool1 1.0, tool 1.0" in completed.stderr
    )
    assert set(project.versions()) == {"tool", "libtool1"}
    project("lock", "--upgrade")
    assert "more" in project.versions()
