"""Sources made on the spot: git repositories served on loopback, sdists, and directories of a project."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import subprocess
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FAST = """\
#include <Python.h>
#include <assert.h>
static PyObject *answer(PyObject *self, PyObject *args) { assert(self); return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", 0, -1, methods};
PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
"""


def pyproject(name: str, version: str = "1.0", *, more: str = "", requires: str = '"setuptools>=64"') -> str:
    """Return the text of a pyproject.toml that setuptools builds; without a version it is dynamic."""
    said = f'version = "{version}"' if version else 'dynamic = ["version"]'
    return (
        f'[build-system]\nrequires = [{requires}]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\n{said}\n{more}'
    )


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Write files below a directory and return it."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def sdist(files: Mapping[str, str], stem: str = "") -> bytes:
    """Return a tar.gz; with a stem, below a directory of that name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{stem}/{name}" if stem else name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Repository:
    """A repository and its bare copy, which is served."""

    def __init__(self, root: Path, name: str) -> None:
        self.work = root / "work" / name
        self._bare = root / "served" / f"{name}.git"
        self.work.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, files: Mapping[str, str], *, tag: str = "", branch: str = "") -> str:
        """Commit files, publish them, and return the commit."""
        if branch:
            self._git("checkout", "--quiet", "-B", branch)
        write(self.work, files)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", "more")
        if tag:
            self._git("tag", tag)
        if branch:
            self._git("checkout", "--quiet", "main")
        if not self._bare.exists():
            self._git("clone", "--quiet", "--bare", ".", str(self._bare))
        self._git("push", "--quiet", "--force", "--mirror", str(self._bare))
        subprocess.run(["git", "--git-dir", str(self._bare), "update-server-info"], check=True)
        return self._git("rev-parse", branch or "HEAD")

    def _git(self, *words: str) -> str:
        who = ("-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "-c", "core.hooksPath=/dev/null")
        argv = ["git", "-C", str(self.work), *who, *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


class Server:
    """Files below a directory, by HTTP; with a login, for nobody else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.login: tuple[str, str] | None = None
        self.asked: list[str] = []


@contextmanager
def serve(root: Path) -> Iterator[Server]:
    """Serve what lies in ``served`` until the context ends."""
    (root / "served").mkdir(parents=True, exist_ok=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            wanted = found.login and "Basic " + base64.b64encode(":".join(found.login).encode()).decode()
            if wanted and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            super().do_GET()

        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Handler, directory=str(root / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    found = Server(f"http://127.0.0.1:{server.server_port}")
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
