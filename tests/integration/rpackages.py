"""A repository in CRAN's form on loopback, of R packages that are written on the spot."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FIELDS = ("Package", "Version", "Depends", "Imports", "LinkingTo", "License", "NeedsCompilation")


def source(fields: Mapping[str, str], files: Mapping[str, str]) -> bytes:
    """Return a source tarball.

    Args:
        fields: Its DESCRIPTION, beyond what every package has.
        files: Its other files, by path.

    """
    whole = {
        "Title": "A Package",
        "Description": "For tests.",
        "License": "MIT",
        "Authors@R": 'person("Ann", "Author", role = c("aut", "cre"), email = "ann@example.org")',
        **fields,
    }
    description = "".join(f"{name}: {value}\n" for name, value in whole.items())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in {"DESCRIPTION": description, **files}.items():
            member = tarfile.TarInfo(f"{fields['Package']}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def publish(directory: Path, *packages: tuple[Mapping[str, str], bytes]) -> None:
    """Write a repository of source tarballs, each with its DESCRIPTION's fields, in place of what was there."""
    contrib = directory / "src" / "contrib"
    contrib.mkdir(parents=True, exist_ok=True)
    stanzas = []
    for fields, content in packages:
        (contrib / f"{fields['Package']}_{fields['Version']}.tar.gz").write_bytes(content)
        listed = [f"{name}: {fields[name]}" for name in FIELDS if name in fields]
        stanzas.append("\n".join([*listed, f"MD5sum: {hashlib.md5(content).hexdigest()}"]))  # noqa: S324 - as CRAN does
    (contrib / "PACKAGES.gz").write_bytes(gzip.compress("\n\n".join(stanzas).encode(), mtime=0))


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Yield the address under which a directory is served; what lies in its ``for-r`` is for an R of Linux alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            own = directory / "for-r" / path.partition("?")[0].strip("/")
            is_r = re.match(r"R/4\.2\.[0-9]+ R \(4\.2\.[0-9]+ x86_64-pc-linux-gnu ", self.headers.get("User-Agent", ""))
            return str(own) if is_r and own.is_file() else super().translate_path(path)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
