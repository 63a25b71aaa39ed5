"""A local apt archive in dated states, made of a handful of packages and signed by a key of its own.

Live it is the newest state, or whichever a test says; below ``/snapshot/`` each state can be had by its date, as from
a snapshot service. A test may make the server cut connections or dawdle.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import http.server
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Key:
    """A signing key in a keyring of its own."""

    home: Path

    @classmethod
    def make(cls, home: Path, *, expires: str = "never", at: str = "") -> Key:
        """Make a key, as of another time if need be (``20200101T000000``)."""
        home.mkdir(mode=0o700, parents=True)
        key = cls(home)
        clock = ("--faked-system-time", f"{at}!") if at else ()
        key.gpg(*clock, "--quick-gen-key", "test archive", "ed25519", "sign", expires)
        return key

    def gpg(self, *words: str, text: bytes = b"") -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode=loopback", "--passphrase="]
        completed = subprocess.run([*argv, *words], input=text, capture_output=True, check=False)
        assert completed.returncode == 0, completed.stderr.decode()
        return completed.stdout

    def keyring(self, path: Path, *, armored: bool = False) -> Path:
        """Write its public half to a file."""
        path.write_bytes(self.gpg(*(["--armor"] if armored else []), "--export"))
        return path

    @property
    def fingerprint(self) -> str:
        listed = self.gpg("--with-colons", "--list-keys").decode()
        match = re.search(r"^fpr:+([0-9A-F]{40}):", listed, re.MULTILINE)
        assert match
        return match[1]

    def sign(self, text: str, *, at: str = "") -> bytes:
        clock = ("--faked-system-time", f"{at}!") if at else ()
        return self.gpg(*clock, "--clearsign", text=text.encode())


@dataclass(frozen=True)
class Deb:
    """One package, as its stanza says; ``files`` are texts by path."""

    name: str
    version: str
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def control(self) -> str:
        facts = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "all",
            "Maintainer": "test <test@example.com>",
            **self.fields,
            "Description": "for tests",
        }
        return "".join(f"{name}: {value}\n" for name, value in facts.items())

    @property
    def filename(self) -> str:
        return (
            f"pool/main/{self.name[0]}/{self.name}/{self.name}_{self.version.partition(':')[2] or self.version}_all.deb"
        )

    def build(self, cache: Path) -> Path:
        """Return the .deb, built once."""
        key = hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        path = cache / f"{key}.deb"
        if not path.exists():
            tree = cache / key
            for name, text in {**self.files, "DEBIAN/control": self.control()}.items():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).write_text(text)
                (tree / name).chmod(0o755 if "bin/" in name else 0o644)
            env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
            argv = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(path)]
            subprocess.run(argv, check=True, capture_output=True, env=env)
        return path


def base(version: str = "0.1", **versions: str) -> list[Deb]:
    """Return the packages that a root from nothing takes."""
    required = {"Priority": "required", "Essential": "yes"}
    names = {"base-files": required, "dpkg": required, "apt": {"Depends": "dpkg"}, "usr-is-merged": {}}
    return [Deb(name, versions.get(name.replace("-", "_"), version), fields) for name, fields in names.items()]


class AptArchive:
    """States of an archive below one directory, served on loopback."""

    def __init__(self, directory: Path, key: Key) -> None:
        self.directory = directory
        self.key = key
        self.live = ""
        self.cut: re.Pattern[str] | None = None  # paths of which half is sent
        self.slow: re.Pattern[str] | None = None  # paths that come in small pieces
        self.asked: list[str] = []
        self.login = ""  # "user:password", without which nothing is served
        archive = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def translate_path(self, path: str) -> str:
                archive.asked.append(path)
                return str(archive.locate(path))

            def send_head(self) -> Any:
                # Two states of one second look unmodified: their files' times have no fractions in HTTP.
                del self.headers["If-Modified-Since"]
                who = f"Basic {base64.b64encode(archive.login.encode()).decode()}"
                if archive.login and self.headers.get("Authorization") != who:
                    self.send_error(401)
                    return None
                return super().send_head()

            def copyfile(self, source: Any, outputfile: Any) -> None:
                content = source.read()
                if archive.cut and archive.cut.search(self.path):
                    outputfile.write(content[: len(content) // 2])
                    outputfile.flush()
                    self.close_connection = True
                    self.connection.close()
                elif archive.slow and archive.slow.search(self.path):
                    for start in range(0, len(content), max(len(content) // 5, 1)):
                        outputfile.write(content[start : start + max(len(content) // 5, 1)])
                        outputfile.flush()
                        time.sleep(0.05)
                else:
                    outputfile.write(content)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def snapshots(self) -> str:
        """What ``[system] snapshots`` says."""
        return f"{self.url}/snapshot/@PATH@/@SNAPSHOTID@/"

    def locate(self, path: str) -> Path:
        """Return the file behind an address; a snapshot is the newest state up to its date."""
        words = path.strip("/").split("/")
        if words[0] == "snapshot" and len(words) > 3:
            _, name, date, *rest = words
            states = sorted(state.name for state in self.directory.glob("2*") if state.name <= date)
            return self.directory / (states[-1] if states else "none") / "/".join((name, *rest))
        return self.directory / self.live / "/".join(words)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        subprocess.run(["gpgconf", "--homedir", str(self.key.home), "--kill", "all"], check=False, capture_output=True)

    def publish(
        self,
        state: str,
        debs: list[Deb],
        *,
        archive: str = "debian",
        suite: str = "bookworm",
        flat: bool = False,
        key: Key | None = None,
        signed_at: str = "",
        **fields: str,
    ) -> Path:
        """Write a suite of a state, and make that state the live one; return the directory of the suite's index."""
        home = self.directory / state / archive
        stanzas = []
        for deb in debs:
            built = deb.build(self.directory / "debs")
            name = f"./{deb.filename}" if flat else deb.filename
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(built.read_bytes())
            sha256 = hashlib.sha256(built.read_bytes()).hexdigest()
            stanzas.append(f"{deb.control()}Filename: {name}\nSize: {built.stat().st_size}\nSHA256: {sha256}\n")
        packages = gzip.compress("\n".join(stanzas).encode(), mtime=0)
        dists = home / suite if flat else home / "dists" / suite
        path = "Packages.gz" if flat else "main/binary-amd64/Packages.gz"
        (dists / path).parent.mkdir(parents=True, exist_ok=True)
        (dists / path).write_bytes(packages)
        date = dt.datetime.strptime(state, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        facts = {
            "Origin": "Debian",
            "Label": "Debian",
            "Suite": "stable",
            "Codename": suite.strip("/"),
            "Date": f"{date:%a, %d %b %Y %H:%M:%S UTC}",
            "Architectures": "amd64",
            "Components": "main",
            **{name.replace("_", "-"): value for name, value in fields.items()},
        }
        plain = gzip.decompress(packages)
        listed = [(packages, path), (plain, path.removesuffix(".gz"))]
        (dists / path.removesuffix(".gz")).write_bytes(plain)
        lines = [f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n" for content, name in listed]
        release = "".join(f"{name}: {value}\n" for name, value in facts.items()) + "SHA256:\n" + "".join(lines)
        (dists / "InRelease").write_bytes((key or self.key).sign(release, at=signed_at))
        self.live = state
        return dists
