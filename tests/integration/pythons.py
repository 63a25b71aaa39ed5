"""A build of Python as uv's list has them, made of one that this machine has, and the list that names it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEFT_OUT = ("test", "idlelib", "lib2to3", "ensurepip", "site-packages", "tkinter", "turtledemo", "__pycache__")


def archive(home: Path, minor: str) -> bytes:
    """Return the archive of a Python that runs wherever it is unpacked.

    Args:
        home: Where it is installed, with its own library beside its program.
        minor: Its version: "3.12".

    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as packed:
        for path in _files(home, minor):
            member = packed.gettarinfo(path, f"python/{path.relative_to(home)}")
            member.uid = member.gid = 1234  # nobody of this machine
            if member.isfile():
                content = _movable(path.read_bytes(), home)
                packed.addfile(member, io.BytesIO(content))
            else:
                packed.addfile(member)
    return buffer.getvalue()


def _files(home: Path, minor: str) -> Iterator[Path]:
    yield from sorted((home / "bin").glob("python3*[0-9]"))
    yield home / "bin" / "python3"
    yield from sorted((home / "lib").glob("libpython3.*"))
    library = home / "lib" / f"python{minor}"
    for path in sorted(library.rglob("*")):
        first, *_ = path.relative_to(library).parts
        if first not in _LEFT_OUT and not first.startswith("config-") and "__pycache__" not in path.parts:
            yield path


def _movable(content: bytes, home: Path) -> bytes:
    """Return a program or library that looks for its own beside itself, not where it was installed."""
    there = str(home / "lib").encode() + b"\0"
    if not content.startswith(b"\x7fELF"):
        return content
    return content.replace(there, b"$ORIGIN/../lib".ljust(len(there), b"\0"))


def listing(version: str, url: str, sha256: str | None, *, build: str = "20240107", os: str = "linux") -> str:
    """Return a list of one build, as uv's ``python-downloads-json-url`` has it."""
    major, minor, patch = map(int, version.split("."))
    row = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": os,
        "libc": "gnu" if os == "linux" else "none",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": url,
        "sha256": sha256,
        "variant": None,
        "build": build,
    }
    return json.dumps({f"cpython-{version}-{os}-x86_64-gnu": row})
