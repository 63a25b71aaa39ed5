"""A repository in CRAN's form on loopback: packages made on the spot, with as much or as little as a real one has."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Members = Mapping[str, str | bytes | tarfile.TarInfo]


R = "R 4.2.1; ; 2026-11-20 10:00:00 UTC; unix"
"""What a package without code says that was built by an R near to 4.2.2."""


def description(name: str, version: str, **fields: str) -> str:
    """Return a DESCRIPTION's text; ``LinkingTo`` and the like as fields, ``date`` for when it came out."""
    day, repository = fields.pop("date", "2020-01-01"), fields.pop("Repository", "CRAN")
    rows = {
        "Package": name,
        "Version": version,
        "Title": "A Title",
        "Author": "Ann",
        "Maintainer": "Ann <ann@example.org>",
        "Description": "Some words.",
        **{key.replace("_", "/") if key == "Config_Needs" else key: value for key, value in fields.items()},
        "Packaged": f"{day} 10:00:00 UTC; ann",
        "Repository": repository,
        "Date/Publication": f"{day} 12:00:00 UTC",
    }
    return "".join(f"{key}: {value}\n" for key, value in rows.items() if value)


def tarball(name: str, version: str, files: Members | None = None, **fields: str) -> bytes:
    """Return a source tarball; a member that is a ``TarInfo`` is taken as it is, by whatever name."""
    members: dict[str, str | bytes | tarfile.TarInfo] = {
        "DESCRIPTION": description(name, version, **fields),
        "NAMESPACE": "",
        "R/code.R": f"version <- '{version}'\n",
        "MD5": "0 *DESCRIPTION\n",
        **(files or {}),
    }
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def built(name: str, version: str, files: Members | None = None, *, by: str = R, **fields: str) -> bytes:
    """Return a built package; ``by`` is what its field Built says."""
    whole = {"Meta/package.rds": "x", f"R/{name}.rdb": "x", **(files or {})}
    return tarball(name, version, whole, Built=by, **fields)


@dataclass
class Cran:
    """What is served: files by their path, and the rows of the index."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)  # by path: "/src/contrib/x_1.0.tar.gz"
    for_r: dict[str, bytes] = field(default_factory=dict)  # the same, served instead to whoever says that it is an R
    rows: list[str] = field(default_factory=list)
    days: dict[str, str] = field(default_factory=dict)  # by path of an archived file
    lists: bool = True  # whether directories have listings
    dates: bool = True  # whether listings and the index have dates
    login: tuple[str, str] | None = None  # the user and password without which nothing is served
    asked: list[str] = field(default_factory=list)  # paths, in order

    def add(self, name: str, version: str, *, at: str = "", files: Members | None = None, **fields: str) -> str:
        """Serve a package in the index; ``at`` is its Path. Return the path of its file."""
        content = tarball(name, version, files, **fields)
        below = f"{at}/" if at else ""
        path = f"/src/contrib/{below}{name}_{version}.tar.gz"
        self.files[path] = content
        day = fields.pop("date", "2020-01-01")
        row = {
            "Package": name,
            "Version": version,
            **{key: value for key, value in fields.items() if key in _INDEXED},
            "MD5sum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "Path": at,
            "Published": f"{day} 12:00:00 UTC" if self.dates else "",
        }
        self.rows.append("".join(f"{key}: {value}\n" for key, value in row.items() if value))
        return path

    def archive(self, name: str, version: str, **fields: str) -> str:
        """Serve an archived version. Return the path of its file."""
        path = f"/src/contrib/Archive/{name}/{name}_{version}.tar.gz"
        self.files[path] = tarball(name, version, None, **fields)
        self.days[path] = fields.get("date", "2020-01-01")
        return path

    def index(self, place: str, *rows: str) -> None:
        """Serve one more index, below a place such as ``/bin/linux/x/contrib/4.2``."""
        self.files[f"{place}/PACKAGES.gz"] = gzip.compress("\n".join(rows).encode(), mtime=0)

    def answer(self, path: str, agent: str = "") -> bytes | None:
        """Return what is served at a path."""
        if path in self.for_r and re.match(r"R/4\.2\.[0-9]+ R \(4\.2\.[0-9]+ x86_64-pc-linux-gnu ", agent):
            return self.for_r[path]
        if path == "/src/contrib/PACKAGES.gz":
            return gzip.compress("\n".join(self.rows).encode(), mtime=0) if self.rows else None
        if path.endswith("/") and self.lists:
            inside = [name for name in self.files if name.startswith(path)]
            days = [f"{self.days.get(name, '')} 12:00" if self.dates else "" for name in inside]
            lines = [
                f'<a href="{name.removeprefix(path)}">x</a> {day}  1.2M' for name, day in zip(inside, days, strict=True)
            ]
            return "\n".join(lines).encode() if inside else None
        return self.files.get(path.partition("?")[0])


_INDEXED = {"Depends", "Imports", "LinkingTo", "Suggests", "OS_type", "NeedsCompilation", "Priority"}


def _basic(login: tuple[str, str]) -> str:
    return base64.b64encode(":".join(login).encode()).decode()


@contextmanager
def serve(cran: Cran) -> Iterator[Cran]:
    """Serve on a free port of loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cran.asked.append(self.path)
            content = cran.answer(self.path, self.headers.get("User-Agent", ""))
            if cran.login and self.headers.get("Authorization") != f"Basic {_basic(cran.login)}":
                self.send_response(401)
                content = None
            else:
                self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        cran.url = f"http://127.0.0.1:{server.server_port}"
        yield cran
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
