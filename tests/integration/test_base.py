"""An image as base: this machine's apt or the image's own resolves on it, and a person tells what no engine has."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.archive import AptArchive, Deb, Key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.engine, pytest.mark.apt, pytest.mark.root, pytest.mark.usefixtures("engine")]
# A machine without apt and dpkg: the rest of it is as it is.
HIDE = """
nothing=$(mktemp); gone=$(mktemp -d)
for name in apt apt-get apt-cache apt-config dpkg dpkg-deb dpkg-query; do mount --bind "$nothing" "/usr/bin/$name"; done
mount --bind "$gone" /usr/lib/apt
exec "$@"
"""
WITHOUT_APT = ("unshare", "--mount", "sh", "-ec", HIDE, "sh")
STATE = "20260901T000000Z"
PACKAGES = "[system]\npackages = [{}]\n"
BOTH = 'targets = ["linux-amd64", "linux-arm64"]'


def test_the_images_own_apt_finds_the_same_pins(dsenv: Dsenv, bookworm: str) -> None:
    """Byte for byte, but for the name of that apt; BLAS is read from a .deb, which dpkg-deb would open."""
    dsenv.spec(PACKAGES.format('"jq", "libopenblas0-pthread"'), base=bookworm)("lock")
    ours = dsenv.locks()
    (dsenv.directory / "dsenv.lock").unlink()
    said = dsenv("lock", "--verbose", wrapper=WITHOUT_APT).stderr
    assert "in a container: apt-get update" in said
    assert "+ /usr/bin/apt" not in said
    theirs = dsenv.locks()
    assert theirs.keys() == ours.keys()
    for name, content in ours.items():
        assert _but_apt(theirs[name]) == _but_apt(content), name
    left = ["docker", "ps", "--quiet", "--all", "--filter", f"ancestor={bookworm}"]
    assert subprocess.run(left, check=True, capture_output=True).stdout == b""
    dsenv.spec(PACKAGES.format('"nosuchthing"'), base=bookworm)
    assert "nosuchthing" in dsenv("lock", code=1, wrapper=WITHOUT_APT).stderr
    completed = dsenv.spec(PACKAGES.format('"jq"'))("lock", code=1, wrapper=WITHOUT_APT)
    assert "there is no `apt-config` on this machine" in completed.stderr
    assert "the name of an image as [platform] base" in completed.stderr


def _but_apt(content: bytes) -> bytes:
    return re.sub(rb'(?m)^apt = ".*"$', b"", content)


def test_a_target_whose_base_is_not_at_hand(dsenv: Dsenv, bookworm: str, tmp_path: Path) -> None:
    """It is refused with what to do, taken from a file, and remembered."""
    dsenv.spec('[system]\npackages = ["jq"]\n', base=bookworm)
    spec = dsenv.directory / "dsenv.toml"
    spec.write_text(spec.read_text().replace('targets = ["linux-amd64"]', BOTH))
    completed = dsenv("lock", code=2)
    assert "is for amd64, and the target is linux-arm64" in completed.stderr
    assert "dsenv lock --status linux-arm64=FILE" in completed.stderr
    ours = subprocess.run(
        ["docker", "run", "--rm", bookworm, "cat", "/var/lib/dpkg/status"], check=True, capture_output=True
    ).stdout
    path = tmp_path / "status"
    path.write_bytes(ours)
    assert "the package status of linux-arm64 is for amd64" in _given(dsenv, path, code=2)
    path.write_bytes(b"nothing")
    assert "the package status of linux-arm64 names no installed package" in _given(dsenv, path, code=2)
    path.write_bytes(ours.replace(b"\nArchitecture: amd64\n", b"\nArchitecture: arm64\n"))
    _given(dsenv, path)
    lock = _lock(dsenv)
    assert lock["provenance"]["system"]["statuses"] == {
        "linux-amd64": hashlib.sha256(ours).hexdigest(),
        "linux-arm64": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    rows = {
        target: {row["name"]: row for row in lock["system"][target]["packages"]} for target in BOTH.split('"')[1::2]
    }
    assert {row["architecture"] for row in rows["linux-arm64"].values()} == {"arm64", "all"}
    assert rows["linux-arm64"]["jq"]["filename"].endswith("_arm64.deb")
    assert [name for name, row in rows["linux-arm64"].items() if row.get("base")] == [
        name for name, row in rows["linux-amd64"].items() if row.get("base")
    ]
    path.unlink()
    spec.write_text(spec.read_text().replace('"jq"', '"jq", "hello"'))
    completed = dsenv("lock")
    assert "linux-arm64: the packages of" in completed.stderr
    assert _lock(dsenv)["provenance"]["system"]["statuses"] == lock["provenance"]["system"]["statuses"]
    elsewhere = type(dsenv)(dsenv.directory, tmp_path / "store")
    assert "dsenv lock --status linux-arm64=FILE" in elsewhere("lock", "--refresh", code=2).stderr


def test_a_third_partys_packages_come_into_the_image(dsenv: Dsenv, bookworm: str, tmp_path: Path) -> None:
    """From an archive whose address is a variable with a password in it; the proof finds no difference."""
    key = Key.make(tmp_path / "gpg")
    archive = AptArchive(tmp_path / "archive", key)
    archive.login = "joe:secret"
    script = {"usr/bin/vendored": "#!/bin/sh\necho vendored\n"}
    debs = [Deb("vendored", "3", {"Depends": "libvendored1, jq"}, script), Deb("libvendored1", "1")]
    archive.publish("20260901T000000Z", debs, archive="vendor", suite="rel/", flat=True, Origin="Vendor")
    (dsenv.directory / "keys").mkdir()
    key.keyring(dsenv.directory / "keys" / "vendor.asc", armored=True)
    dsenv.spec(
        '[system]\npackages = ["vendored"]\n[[system.repositories]]\nname = "vendor"\nkey = "keys/vendor.asc"\n'
        'uri = "http://${WHO}:${WORD}@${PLACE}/vendor"\nsuite = "rel/"\n[image]\ncommand = ["vendored"]\n',
        base=bookworm,
    )
    completed = dsenv("lock", code=2)
    assert "the address of the archive vendor has the variable ${PLACE}, which is not set" in completed.stderr
    who = {"WHO": "joe", "WORD": "secret", "PLACE": archive.url.removeprefix("http://")}
    dsenv.env.update(who)
    completed = dsenv("lock")
    assert "vendor has no snapshots: keep what is locked from there" in completed.stderr
    text = dsenv.locks()["dsenv.lock"].decode()
    assert f'uri = "{archive.url}/vendor"' in text
    assert "secret" not in text
    tag = dsenv.json("docker")["tag"]
    archive.close()
    ran = subprocess.run(["docker", "run", "--rm", tag], check=True, capture_output=True, text=True)
    assert ran.stdout == "vendored\n"
    assert dsenv.json("verify", "--image")["differences"] == []
    assert dsenv.json("verify", "--trust")["unvouched"] == []
    subprocess.run(["docker", "image", "rm", "--force", tag], check=True, capture_output=True)


def test_what_a_base_holds_stays(dsenv: Dsenv, tmp_path: Path) -> None:
    """It is named where it is in the way, and not mended by `--security`."""
    archive = AptArchive(tmp_path / "archive", Key.make(tmp_path / "gpg"))
    installed = [Deb("dpkg", "0.1"), Deb("lib", "1.0"), Deb("free", "1.0")]
    archive.publish(
        STATE, [*installed, Deb("lib", "2.0"), Deb("app", "1", {"Depends": "lib (>= 2)"}), Deb("tool", "1")]
    )
    archive.publish(STATE, [Deb("lib", "1.1"), Deb("free", "1.1")], archive="sec", suite="bookworm-security")
    root = tmp_path / "root"
    for name in ("var/lib/dpkg", "etc/apt", "usr/share/keyrings"):
        (root / name).mkdir(parents=True)
    words = {"lib": "hold"}
    stanzas = [
        deb.control().replace("\nVersion", f"\nStatus: {words.get(deb.name, 'install')} ok installed\nVersion")
        for deb in installed
    ]
    amd64 = stanzas[0].replace("Architecture: all", "Architecture: amd64")
    (root / "var/lib/dpkg/status").write_text("\n".join([amd64, *stanzas[1:]]))
    (root / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    entries = ("debian bookworm", "sec bookworm-security")
    (root / "etc/apt/sources.list").write_text("".join(f"deb {archive.url}/{entry} main\n" for entry in entries))
    archive.key.keyring(root / "usr/share/keyrings/debian-archive-keyring.gpg")
    name = f"dsenv-test-held:{os.getpid()}"
    subprocess.run(["tar", "-C", root, "-cf", tmp_path / "root.tar", "."], check=True)
    subprocess.run(["docker", "import", tmp_path / "root.tar", name], check=True, capture_output=True)
    try:
        said = dsenv.spec(PACKAGES.format('"app"'), base=name)("lock", code=1).stderr
        assert "app needs lib (>= 2), and 1.0 would be there" in said
        assert "lib 1.0 is held in the base: it stays as it is" in said
        dsenv.spec(PACKAGES.format('"tool"'), base=name)("lock")
        said = dsenv("lock", "--security").stderr
        assert "the base holds lib, which the distribution has mended" in said
        rows = {row["name"]: row for row in _lock(dsenv)["system"]["linux-amd64"]["packages"]}
        assert {key: rows[key]["version"] for key in ("lib", "free")} == {"lib": "1.0", "free": "1.1"}
        assert rows["free"]["origin"] == "bookworm-security"
    finally:
        archive.close()
        subprocess.run(["docker", "image", "rm", "--force", name], check=True, capture_output=True)


def _given(dsenv: Dsenv, path: Path, code: int = 0) -> str:
    return str(dsenv("lock", "--status", f"linux-arm64={path}", code=code).stderr)


def _lock(dsenv: Dsenv) -> dict[str, Any]:
    return tomllib.loads(dsenv.locks()["dsenv.lock"].decode())
