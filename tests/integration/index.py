"""A Python index on loopback: wheels made on the spot, served with as much or as little as a real one tells."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JSON = "application/vnd.pypi.simple.v1+json"


def wheel(
    name: str, version: str, files: Mapping[str, str | bytes] | None = None, *, requires: tuple[str, ...] = ()
) -> bytes:
    """Return a wheel; ``{data}`` in a path stands for its .data directory."""
    name = name.replace("-", "_")
    info, data = f"{name}-{version}.dist-info", f"{name}-{version}.data"
    members: dict[str, str | bytes] = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        **{path.replace("{data}", data): text for path, text in (files or {}).items()},
    }
    rows = [f"{path},sha256={_record(text)},{len(text)}" for path, text in members.items()]
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**members, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,", ""])}.items():
            archive.writestr(path, text)
    return buffer.getvalue()


def _record(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@dataclass
class Index:
    """What is served: files by project and name."""

    url: str = ""  # of the simple API
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    hashed: str = "sha256"  # the algorithm that its pages name, "" for none
    json: bool = False  # whether pages are as PEP 691 has them, with sizes and upload times
    uploaded: dict[str, str] = field(default_factory=dict)  # by file name; "" for a file without
    yanked: dict[str, str] = field(default_factory=dict)  # the reason, by file name
    lies: dict[str, bytes] = field(default_factory=dict)  # other bytes than those that the page's hash is of, by path
    metadata: dict[str, bytes] = field(default_factory=dict)  # what is served as a wheel's metadata, by file name
    login: tuple[str, str] | None = None  # the user and password without which nothing is served
    lists: bool = True  # whether it has a list of its projects
    busy: int = 0  # how often each path is answered with 503 first
    cut: set[str] = field(default_factory=set)  # paths whose body ends in the middle, each time
    slow: float = 0  # seconds that each answer takes
    asked: list[str] = field(default_factory=list)  # paths, in order

    def add(
        self,
        name: str,
        version: str,
        *,
        tag: str = "py3-none-any",
        content: bytes | None = None,
        requires: tuple[str, ...] = (),
        uploaded: str = "2020-01-01T00:00:00Z",
    ) -> str:
        """Serve one more wheel of a project; return its file name."""
        filename = f"{name.replace('-', '_')}-{version}-{tag}.whl"
        content = wheel(name, version, requires=requires) if content is None else content
        self.files.setdefault(name, {})[filename] = content
        self.uploaded[filename] = uploaded
        return filename

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return the status, kind and body that a path has."""
        match path.strip("/").split("/"):
            case ["simple"] if self.lists:
                return self._list()
            case ["simple", project] if project in self.files:
                return self._project(project)
            case ["links.html"]:
                return 200, "text/html", _html([link for project in self.files for link in self._links(project)])
            case ["files", project, filename] if filename in self.files.get(project, {}):
                return 200, "application/octet-stream", self.lies.get(path, self.files[project][filename])
            case ["files", _, filename] if filename.removesuffix(".metadata") in self.metadata:
                return 200, "text/plain", self.metadata[filename.removesuffix(".metadata")]
            case _:
                return 404, "text/plain", b""

    def _project(self, project: str) -> tuple[int, str, bytes]:
        if self.json:
            return 200, JSON, json.dumps(self._page(project)).encode()
        return 200, "text/html", _html(self._links(project))

    def _list(self) -> tuple[int, str, bytes]:
        if self.json:
            projects = [{"name": name} for name in sorted(self.files)]
            return 200, JSON, json.dumps({"meta": {"api-version": "1.0"}, "projects": projects}).encode()
        return 200, "text/html", _html([f'<a href="/simple/{name}/">{name}</a>' for name in sorted(self.files)])

    def _links(self, project: str) -> list[str]:
        links = []
        for filename, content in self.files[project].items():
            fragment = f"#{self.hashed}={hashlib.new(self.hashed, content).hexdigest()}" if self.hashed else ""
            links.append(f'<a href="/files/{project}/{filename}{fragment}">{filename}</a>')
        return links

    def _page(self, project: str) -> dict[str, object]:
        rows = []
        for filename, content in self.files[project].items():
            row: dict[str, object] = {
                "filename": filename,
                "url": f"/files/{project}/{filename}",
                "size": len(content),
                "hashes": {self.hashed: hashlib.new(self.hashed, content).hexdigest()} if self.hashed else {},
                "yanked": self.yanked.get(filename, False),
            }
            if self.uploaded.get(filename):
                row["upload-time"] = self.uploaded[filename]
            if filename in self.metadata:
                row["core-metadata"] = {"sha256": hashlib.sha256(self.metadata[filename]).hexdigest()}
            rows.append(row)
        return {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": rows}


def _html(links: list[str]) -> bytes:
    return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def serve() -> Iterator[Index]:
    """Serve an index until the context ends."""
    index = Index()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(index.slow)
            first = index.asked.count(self.path) < index.busy
            index.asked.append(self.path)
            status, kind, body = index.answer(self.path)
            if index.login and self.headers.get("Authorization") != _basic(*index.login):
                status, kind, body = 401, "text/plain", b""
            elif first:
                status, kind, body = 503, "text/plain", b""
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: len(body) // 2] if self.path in index.cut else body)

        do_HEAD = do_GET  # noqa: N815 - as http.server calls it

        def log_message(self, *_: object) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # whoever asked may have had enough

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
