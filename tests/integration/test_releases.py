"""Other releases, another architecture and another distribution, locked from Debian bookworm where archives answer."""

from __future__ import annotations

import gzip
import re
import subprocess
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.ecosystems.system.archives import sources
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS

if TYPE_CHECKING:
    from tests.integration.conftest import Dsenv

pytestmark = [pytest.mark.apt]
PACKAGES = '[system]\npackages = ["hello"]\n'


def test_the_next_release_for_another_architecture(dsenv: Dsenv, tmp_path: Path) -> None:
    """Locked from this machine's mirror, under this machine's keyring."""
    debian = DISTRIBUTIONS["debian"]
    mirrors = {
        source.uri for source in sources.parse(sources.host_files()) if debian.rank(source.suite, "bookworm") == 0
    }
    listed = "".join(f"deb {uri} trixie main\n" for uri in sorted(mirrors))
    _needs(f"{min(mirrors)}/dists/trixie/InRelease")
    rows = _lock(dsenv, listed, "debian:trixie", "linux-arm64", tmp_path)
    assert rows["hello"]["filename"].endswith("_arm64.deb")
    assert {row["architecture"] for row in rows.values()} <= {"arm64", "all"}
    assert rows["libc6"]["version"].startswith("2.41-")


@pytest.mark.root
def test_ubuntu(dsenv: Dsenv, tmp_path: Path) -> None:
    """At the address that mmdebstrap knows, under the keyring of the archive's own package."""
    found = re.search(r"\$mirror += '(\S+/ubuntu)'", Path("/usr/bin/mmdebstrap").read_text("utf-8"))
    if found is None:
        pytest.skip("mmdebstrap names no archive of Ubuntu's")
    uri = found[1]
    index = gzip.decompress(_needs(f"{uri}/dists/noble/main/binary-amd64/Packages.gz")).decode()
    name = re.search(r"^Package: ubuntu-keyring\n(?:.+\n)*?Filename: (\S+)$", index, re.MULTILINE)
    assert name
    (tmp_path / "keyring.deb").write_bytes(_needs(f"{uri}/{name[1]}"))
    subprocess.run(["dpkg-deb", "-x", tmp_path / "keyring.deb", tmp_path / "keyring"], check=True)
    place = Path(DISTRIBUTIONS["ubuntu"].keyring).parent
    mount = f'mount -t overlay overlay -o lowerdir={tmp_path}/keyring{place}:{place} {place}; exec "$@"'
    listed = f"deb {uri} noble main universe\n"
    wrapper = ("unshare", "--mount", "sh", "-ec", mount, "sh")
    rows = _lock(dsenv, listed, "ubuntu:noble", "linux-amd64", tmp_path, wrapper)
    assert rows["base-files"]["version"].startswith("13ubuntu")
    assert rows["base-files"]["base"]
    assert rows["hello"]["origin"] == "noble"
    assert dsenv.json("verify", "--trust", wrapper=wrapper)["unvouched"] == []


def _lock(
    dsenv: Dsenv, listed: str, release: str, target: str, directory: Path, wrapper: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Lock on a release with apt sources of its own; return the rows by name."""
    (directory / "sources.list").write_text(listed)
    conf = directory / "apt.conf"
    conf.write_text(f'Dir::Etc::sourcelist "{directory}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n')
    dsenv.spec(PACKAGES, base=f"bootstrap:{release}")
    path = dsenv.directory / "dsenv.toml"
    path.write_text(path.read_text().replace("linux-amd64", target))
    dsenv("lock", wrapper=wrapper, APT_CONFIG=str(conf))
    lock = tomllib.loads(dsenv.locks()["dsenv.lock"].decode())
    return {row["name"]: row for row in lock["system"][target]["packages"]}


def _needs(url: str) -> bytes:
    """Return what an address has, or skip the test."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - of apt's own sources
            return bytes(answer.read())
    except (urllib.error.URLError, TimeoutError) as error:
        pytest.skip(f"{url} does not answer: {error}")
