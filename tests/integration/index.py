"""A Python index on loopback: wheels made on the spot, served with as much or as little as a real one tells."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def wheel(name: str, version: str, files: Mapping[str, str] | None = None, *, requires: tuple[str, ...] = ()) -> bytes:
    """Return a wheel; ``{data}`` in a path stands for its .data directory."""
    info, data = f"{name}-{version}.dist-info", f"{name}-{version}.data"
    members = {
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


def _record(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Index:
    """What is served: files by project and name."""

    url: str = ""  # of the simple API
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    hashed: str = "sha256"  # the algorithm that its pages name, "" for none

    def add(self, name: str, version: str, *, tag: str = "py3-none-any", content: bytes | None = None) -> None:
        """Serve one more wheel of a project."""
        filename = f"{name}-{version}-{tag}.whl"
        self.files.setdefault(name, {})[filename] = wheel(name, version) if content is None else content

    def page(self, project: str) -> str | None:
        """Return a project's page as PEP 503 has it, without sizes and upload times."""
        if project not in self.files:
            return None
        links = []
        for filename, content in self.files[project].items():
            fragment = f"#{self.hashed}={hashlib.new(self.hashed, content).hexdigest()}" if self.hashed else ""
            links.append(f'<a href="/files/{project}/{filename}{fragment}">{filename}</a>')
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"


@contextmanager
def serve() -> Iterator[Index]:
    """Serve an index until the context ends."""
    index = Index()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            body: bytes | None = None
            if parts[0] == "simple" and len(parts) == 2:
                page = index.page(parts[1])
                body = page.encode() if page else None
            elif parts[0] == "files":
                body = index.files.get(parts[1], {}).get(parts[2])
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html" if parts[0] == "simple" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815 - as http.server calls it

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
