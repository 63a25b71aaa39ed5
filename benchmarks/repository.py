"""A directory in CRAN's form as a repository on loopback, and a project that takes its packages from there."""

from __future__ import annotations

import functools
import http.server
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES: Final = [
    *("dplyr", "ggplot2", "tidyr", "readr", "purrr", "stringr", "shiny", "rmarkdown", "sf", "lme4", "data.table"),
    *("plumber", "testthat", "targets"),
]
SPEC: Final = """\
[project]
name = "bench"
[platform]
base = "bootstrap:debian:bookworm"
targets = ["linux-amd64"]
[r]
version = "4.2"
repositories = [{{ name = "CRAN", url = "{url}" }}]
packages = {packages}
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve files, and yield the address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
