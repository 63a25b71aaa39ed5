"""Read wheels (PEP 427): what they hold, and where an installer puts it."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import re
import shutil
import zipfile
from typing import TYPE_CHECKING, Final

from dsenv.errors import IntegrityError
from dsenv.tree import Entry, Tree, safe_path, stream_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNPACKED: Final = "wheel1"  # names this way of unpacking in the store's keys
_SHEBANG: Final = b"#!python"
_ENTRY_POINT: Final = re.compile(r"\s*([^\s=\[#;][^=]*?)\s*=")


def unpack(path: Path, destination: Path) -> Tree:
    """Write a wheel's files below an empty directory and return their tree."""
    tree: Tree = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = safe_path(member.filename)
            if member.is_dir() or not name:
                continue
            mode = 0o755 if member.external_attr >> 16 & 0o111 else 0o644
            file = destination / name
            file.parent.mkdir(parents=True, exist_ok=True)
            sha256 = hashlib.sha256()
            with archive.open(member) as reader, file.open("xb") as writer:
                shutil.copyfileobj(reader, _Both(writer, sha256))
            file.chmod(mode)
            tree[name] = Entry(kind="file", mode=mode, content=sha256.hexdigest(), owner=path.name)
    return tree


class Wheel:
    """A wheel's own account of itself.

    Args:
        path: The wheel, its bytes checked.
        name: What to call it in errors: its file name.

    Raises:
        IntegrityError: It is no wheel, or its RECORD cannot be read.

    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        with self._open() as archive:
            infos = [item for item in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", item)]
            if len(infos) != 1:
                raise IntegrityError(f"{name} has {len(infos)} RECORD files, not one")
            self.info = infos[0].removesuffix("/RECORD")  # "numpy-2.4.6.dist-info"
            self.data = self.info.removesuffix(".dist-info") + ".data"
            self._record = _hashes(archive.read(infos[0]).decode("utf-8"))
            points = f"{self.info}/entry_points.txt"
            self._entry_points = archive.read(points).decode("utf-8") if points in archive.namelist() else ""

    def files(self) -> dict[str, str]:
        """Return the sha256 of each file by its path in the wheel, RECORD itself left out.

        RECORD says it; where it has none, or one of another kind, the file is read.
        """
        with self._open() as archive:
            found = {}
            for member in archive.infolist():
                path = safe_path(member.filename)
                if not member.is_dir() and path != f"{self.info}/RECORD":
                    found[path] = self._record.get(path) or _member_sha256(archive, member)
            return found

    def read(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        """Yield the path and the content of each file that is ``wanted``."""
        with self._open() as archive:
            for member in archive.infolist():
                path = safe_path(member.filename)
                if not member.is_dir() and wanted(path):
                    yield path, archive.read(member)

    def python_scripts(self) -> set[str]:
        """Return the paths of the scripts whose first line an installer rewrites (PEP 427)."""
        with self._open() as archive:
            names = [name for name in archive.namelist() if name.startswith(f"{self.data}/scripts/")]
            return {name for name in names if archive.open(name).read(len(_SHEBANG)) == _SHEBANG}

    def entry_points(self) -> list[str]:
        """Return the names of the programs that an installer generates from the wheel's entry points."""
        names: list[str] = []
        section = ""
        for line in self._entry_points.splitlines():
            if header := re.fullmatch(r"\s*\[([^\]]*)\]\s*", line):
                section = header[1].strip()
            elif section in {"console_scripts", "gui_scripts"} and (match := _ENTRY_POINT.match(line)):
                names.append(match[1])
        return names

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        except (zipfile.BadZipFile, OSError, ValueError, csv.Error) as error:  # ValueError: of text and base64, too
            raise IntegrityError(f"{self._name} is not a readable wheel", cause=str(error)) from error


def _hashes(record: str) -> dict[str, str]:
    """Return the sha256 of each path that a RECORD has one for."""
    found: dict[str, str] = {}
    for row in csv.reader(io.StringIO(record)):
        if row:
            algorithm, _, value = (row[1] if len(row) > 1 else "").partition("=")
            path = safe_path(row[0])
            if algorithm == "sha256":
                found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    return found


def _member_sha256(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    with archive.open(member) as file:
        return stream_sha256(file)


class _Both(io.RawIOBase):
    """Write what is hashed."""

    def __init__(self, file: io.BufferedWriter, sha256: hashlib._Hash) -> None:
        self._file = file
        self._sha256 = sha256

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._sha256.update(data)
        return self._file.write(data)
