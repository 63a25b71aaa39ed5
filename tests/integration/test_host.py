"""`restore --system` and `verify --system` on somebody's host: a view of this machine that is gone afterwards."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dsenv.ecosystems.system.distributions import DISTRIBUTIONS
from tests.integration.archive import AptArchive, Deb, Key
from tests.integration.conftest import ROOT, Dsenv

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.apt, pytest.mark.root]
PACKAGES = '[system]\npackages = ["hello", "sl", "rolldice", "cmatrix"]\n'
# Everything below / is this machine's until it is written to; what is written lies in a tmpfs of the namespace.
HOST = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
for path in /proc /sys /dev "${@:2}"; do mkdir -p "$1/root$path"; mount --rbind "$path" "$1/root$path"; done
for path in /etc/resolv.conf /etc/hosts; do [ ! -s "$path" ] || mount --bind "$path" "$1/root$path"; done
echo ready
exec sleep 900
"""
FAKES = """
set -eu
apt-mark hold $(dpkg-query -W -f '${Package} ') >/dev/null
cd "$(mktemp -d)"
for fields in 'sl 99 ' 'blocker 1 Conflicts:cmatrix'; do
    set -- $fields
    mkdir -p "$1/DEBIAN" "$1/usr/share/$1"
    echo data > "$1/usr/share/$1/data"
    { echo "Package: $1"; echo "Version: $2"; } > "$1/DEBIAN/control"
    printf 'Architecture: all\\nMaintainer: m\\nDescription: d\\n' >> "$1/DEBIAN/control"
    if [ -n "${3:-}" ]; then echo "$3" >> "$1/DEBIAN/control"; fi
    (cd "$1" && md5sum usr/share/*/data > DEBIAN/md5sums)
    dpkg-deb -b "$1" >/dev/null
    dpkg -i "$1.deb" >/dev/null
done
echo 'APT::Default-Release "no-such-release";' > /etc/apt/apt.conf.d/99default
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Dsenv:
    found = Dsenv(tmp_path_factory.mktemp("host"), store).spec(PACKAGES)
    found("lock")
    return found


@pytest.fixture(scope="module")
def host(project: Dsenv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Yield the words that run a command on the host, in the project's directory."""
    place = tmp_path_factory.mktemp("machine")
    seen = [ROOT, sys.prefix, sys.base_prefix, project.directory, project.store]
    argv = ["unshare", "--mount", "bash", "-c", HOST, "host", place, *seen]
    with subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        enter = [
            "nsenter",
            "--target",
            process.pid,
            "--mount",
            "chroot",
            place / "root",
            "env",
            "-C",
            project.directory,
        ]
        words = tuple(map(str, enter))
        subprocess.run([*words, "bash", "-c", FAKES], check=True, capture_output=True)
        yield words
        process.kill()


def _there(host: tuple[str, ...], name: str) -> str:
    asked = subprocess.run(
        [*host, "dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", name],
        check=False,
        capture_output=True,
        text=True,
    )
    return asked.stdout


def test_what_is_compared_is_said_once(project: Dsenv) -> None:
    assert "--system is about a machine" in project("verify", "--system", "--image", code=2).stderr
    assert "--system is about a machine" in project("verify", "--system", "--trust", code=2).stderr
    assert "Add --system" in project("verify", "--root", "/", code=2).stderr


def test_without_root_an_administrator_is_told_the_command(project: Dsenv) -> None:
    completed = project("restore", "--system", code=5, wrapper=("unshare", "--user"))
    command = re.search(r"an administrator installs them by: (sudo apt-get install .*)", completed.stdout)
    assert command
    assert "--no-remove" in command[1]
    assert re.search(r"\bhello=2\.\S+", command[1])


def test_a_host_loses_nothing(project: Dsenv, host: tuple[str, ...]) -> None:
    """A conflicting and a newer package, a row that names another file, and another program that installs."""
    lock = project.directory / "dsenv.lock"
    text = lock.read_text()
    rolldice = re.search(r'name = "rolldice"\n(?:.+\n)*?sha256 = "(\w+)"', text)
    assert rolldice
    hold = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'r+'); fcntl.lockf(f, 2); time.sleep(300)"
    with subprocess.Popen([*host, sys.executable, "-c", hold]) as other:
        try:
            lock.write_text(text.replace(rolldice[1], "0" * 64))
            running = project.start("restore", "--system", "--json", wrapper=host)
            assert running.stderr is not None
            said = [line for line in iter(running.stderr.readline, "") if other.poll() is None and _ends(line, other)]
            answer = json.loads(running.communicate()[0])
        finally:
            other.kill()
            lock.write_text(text)
    assert answer["exit"] == 4
    assert len(said) == 1
    assert _there(host, "hello").endswith(" installed")
    assert _there(host, "sl") == "99 installed"
    assert _there(host, "blocker") == "1 installed"
    assert not _there(host, "cmatrix").endswith(" installed")
    assert not _there(host, "rolldice").endswith(" installed")
    data = answer["data"]
    assert [change.partition(" ")[0] for change in data["changes"]] == ["hello"]
    assert any(row.startswith("sl 99 (locked 5") for row in data["after"]["newer"])
    assert {row.partition(" ")[0] for row in data["after"]["missing"]} == {"cmatrix", "rolldice"}
    left = {reason.partition(" ")[0]: reason for reason in data["left"]}
    assert "blocker" in left["cmatrix"] or "remove" in left["cmatrix"]
    assert left["rolldice"].endswith("is another file than the locked one")


def test_only_by_request_root_takes_what_no_signed_source_has(project: Dsenv, host: tuple[str, ...]) -> None:
    """A row that somebody edited into the lock, with a .deb of the same hash in the store."""
    lock = project.directory / "dsenv.lock"
    text = lock.read_text()
    own = project.directory / "own"
    (own / "DEBIAN").mkdir(parents=True)
    fields = {"Package": "rolldice", "Version": "99", "Architecture": "amd64", "Maintainer": "m", "Description": "d"}
    (own / "DEBIAN" / "control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    subprocess.run(["dpkg-deb", "-b", own, f"{own}.deb"], check=True, capture_output=True)
    content = Path(f"{own}.deb").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    place = project.store / "artifacts" / sha256[:2] / sha256
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    row = re.search(r'name = "rolldice"\n(?:.+\n)+', text)
    assert row
    edited = row[0]
    for pattern, value in ((r"(?m)^(version) = .*", '"99"'), (r"(?m)^(sha256) = .*", f'"{sha256}"')):
        edited = re.sub(pattern, rf"\1 = {value}", edited)
    lock.write_text(text.replace(row[0], re.sub(r"(?m)^size = .*", f"size = {len(content)}", edited)))
    try:
        project("restore", "--system", code=4, wrapper=host)
        assert _there(host, "rolldice").startswith("1.")
        project("restore", "--system", "--trust-lock", code=4, wrapper=host)  # cmatrix is still missing
        assert _there(host, "rolldice") == "99 installed"
    finally:
        lock.write_text(text)
        place.unlink()


def test_a_row_that_a_kept_signed_index_lists(
    tmp_path: Path, host: tuple[str, ...], project: Dsenv, request: pytest.FixtureRequest
) -> None:
    """An archive that the host trusts has moved on: what it has signed once still counts."""
    place = project.directory / "moved"
    place.mkdir()
    archive = AptArchive(place / "archive", Key.make(tmp_path / "gpg"))
    request.addfinalizer(archive.close)
    fakes = [Deb(name, "0.1", {"Priority": "required", "Essential": "yes"}) for name in ("base-files", "dpkg")]
    fakes += [Deb("apt", "0.1"), Deb("usr-is-merged", "1")]
    tool = [Deb("dsenv-tool", "1.0", {"Depends": "dsenv-lib"}), Deb("dsenv-lib", "1.0")]
    archive.publish("20260901T000000Z", [*fakes, *tool])
    ring = archive.key.keyring(place / "ring.gpg")
    (place / "sources.list").write_text(f"deb {archive.url}/debian bookworm main\n")
    conf = place / "apt.conf"
    conf.write_text(f'Dir::Etc::sourcelist "{place}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n')
    moved = Dsenv(place, project.store, {"APT_CONFIG": str(conf)}).spec('[system]\npackages = ["dsenv-tool"]\n')

    def trusting(ring: Path, *enter: str) -> tuple[str, ...]:
        keyring = DISTRIBUTIONS["debian"].keyring
        return (
            *enter,
            "env",
            "-C",
            str(place),
            "unshare",
            "--mount",
            "sh",
            "-ec",
            f'mount --bind {ring} {keyring}; exec "$@"',
            "sh",
        )

    moved("lock", wrapper=trusting(ring))
    moved("restore", wrapper=trusting(ring))  # its files are in the store
    archive.publish("20261001T000000Z", [*fakes, Deb("dsenv-lib", "2.0")])
    lock = moved.directory / "dsenv.lock"
    text = lock.read_text()
    lock.write_text(re.sub(r'(name = "dsenv-tool"\n(?:.+\n)*?sha256 = ")\w+', rf"\g<1>{'0' * 64}", text))
    moved("restore", "--system", code=4, wrapper=trusting(ring, *host))
    assert not _there(host, "dsenv-tool").endswith(" installed"), "nobody has signed that file"
    subprocess.run([*host, "dpkg", "--purge", "dsenv-lib"], check=True, capture_output=True)
    lock.write_text(text)
    moved("restore", "--system", code=0, wrapper=trusting(ring, *host))
    assert _there(host, "dsenv-tool") == "1.0 installed"
    assert _there(host, "dsenv-lib") == "1.0 installed"
    subprocess.run([*host, "dpkg", "--purge", "dsenv-tool", "dsenv-lib"], check=True, capture_output=True)


def test_a_third_party_of_the_project(
    tmp_path: Path, host: tuple[str, ...], project: Dsenv, request: pytest.FixtureRequest
) -> None:
    """Root installs from its archive under the project's key; an administrator's command brings both along."""
    place = project.directory / "third"
    (place / "keys").mkdir(parents=True)
    archive = AptArchive(place / "archive", Key.make(tmp_path / "gpg"))
    request.addfinalizer(archive.close)
    script = {"usr/bin/dsenv-vendored": "#!/bin/sh\n"}
    archive.publish("20260901T000000Z", [Deb("dsenv-vendored", "3", {}, script)], archive="v", suite="rel/", flat=True)
    archive.key.keyring(place / "keys" / "v.asc", armored=True)
    found = Dsenv(place, project.store).spec(
        f'[system]\npackages = ["dsenv-vendored"]\n[[system.repositories]]\nname = "vendor"\nuri = "{archive.url}/v"\n'
        'suite = "rel/"\nkey = "keys/v.asc"\n'
    )
    found("lock")
    elsewhere = Dsenv(place, place / "store")  # no index was kept there
    host = (*host, "env", "-C", str(place))
    plan = elsewhere.json("restore", "--system", "--dry-run", wrapper=host)
    key, stanza, rest = plan["command"].split(" && ", 2)
    assert key == "sudo install -D -m 644 -- keys/v.asc /etc/apt/keyrings/vendor.asc"
    assert stanza.endswith("| sudo tee /etc/apt/sources.list.d/vendor.sources > /dev/null")
    assert f"'URIs: {archive.url}/v' 'Suites: rel/'" in stanza
    assert "'Signed-By: /etc/apt/keyrings/vendor.asc'" in stanza
    assert rest.startswith("sudo apt-get update && sudo apt-get install --no-install-recommends --no-remove ")
    assert "dsenv-vendored=3" in rest.split()
    own = stanza.replace("sudo ", "")  # what it writes is what apt reads
    subprocess.run([*host, "sh", "-c", f"{key.replace('sudo ', '')} && {own}"], check=True)
    again = elsewhere.json("restore", "--system", "--dry-run", wrapper=host)
    assert again["command"].startswith("sudo apt-get install "), "the machine has that archive now"
    subprocess.run([*host, "rm", "/etc/apt/sources.list.d/vendor.sources"], check=True)
    archive.publish("20260901T000000Z", [], archive="v", suite="rel/", flat=True, key=Key.make(tmp_path / "other"))
    assert "is not the key it has to be signed by" in elsewhere("restore", "--system", code=1, wrapper=host).stderr


def _ends(line: str, other: subprocess.Popen[bytes]) -> bool:
    """End the other program that installs once dsenv says that it waits for it."""
    if "waiting for another program that installs packages" not in line:
        return False
    other.kill()
    return True
