"""Builds of Python that run anywhere on their kind of machine, as uv knows them: which exist, where, with which hash.

uv carries a list of them (python-build-standalone) and shows it without the hashes that it checks downloads against,
so it is made to check an empty archive and says which hash it expected. A list of somebody's own
(``python-downloads-json-url``) has the hashes itself; where one is missing the archive is downloaded and hashed.

The lock has the addresses of the list. Where uv is told of a mirror, that is asked first; the hash decides.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import posixpath
import re
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import StringConstraints

from dsenv.errors import DownloadError, DsenvError, ResolutionError
from dsenv.model import Model, Sha256Text, Size
from dsenv.pins import Artifact, without_credentials
from dsenv.tools import tar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsenv.network import Network
    from dsenv.pins import Target
    from dsenv.progress import Progress
    from dsenv.store import Store
    from dsenv.tree import Tree

LISTED: Final = "python-downloads-json-url"  # uv's words for its settings
MIRROR: Final = "python-install-mirror"
HINT: Final = (
    f"Name a mirror of Python's builds in uv's settings ({MIRROR}, or UV_PYTHON_INSTALL_MIRROR), or change [python] "
    "version or the base to a Python that the distribution has."
)
_ADDRESS: Final = r"https?://[^\s@?#]+"
_ARCHIVE: Final = r"[A-Za-z0-9][A-Za-z0-9._+-]*\.(?:tar\.gz|tgz)"  # what every base can unpack
_OS: Final = {"linux": "linux", "macos": "darwin", "windows": "windows"}
_ARCHITECTURE: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_LIBC: Final = {"linux": "gnu"}
_EXPECTED: Final = re.compile(r"Expected:\s+([0-9a-f]{64})\s")


class Build(Model):
    """A build of Python, locked like any other artifact."""

    date: Annotated[str, StringConstraints(pattern=r"^([0-9]{8})?$")] = ""  # "20261110"
    filename: Annotated[str, StringConstraints(pattern=rf"^{_ARCHIVE}$")]
    sha256: Sha256Text
    size: Size | None = None
    url: Annotated[str, StringConstraints(pattern=rf"^{_ADDRESS}$")]

    def artifact(self) -> Artifact:
        """Return the archive; a mirror of this machine's is its first address."""
        urls = (*_mirrored(self.url), self.url)
        return Artifact(filename=self.filename, sha256=self.sha256, size=self.size, urls=urls, hint=HINT)

    def unpacked(self, store: Store) -> tuple[Tree, Path]:
        """Return its tree, and the directory that holds its files, links left out; it is in the store."""
        return store.unpacked(self.artifact(), functools.partial(tar.unpack, owner=self.filename), tar.UNPACKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A build that uv's list has for one target."""

    version: str  # "3.12.16"
    key: str  # what uv calls it: "cpython-3.12.16-linux-x86_64-gnu"
    url: str
    sha256: str  # "" where the list does not tell
    date: str  # "20261110"; "" where neither list nor address tells

    @property
    def filename(self) -> str:
        """The archive's name."""
        return unquote(posixpath.basename(urlsplit(self.url).path))


def listed(minor: str, targets: Sequence[Target], network: Network) -> Mapping[Target, Sequence[Listed]]:
    """Return the builds of a minor for each target, the newest first; raise ``DownloadError`` without a list."""
    from dsenv.ecosystems.python import uv  # noqa: PLC0415 - what only reads a lock starts no uv

    own = uv.setting(LISTED)
    rows = _of_json(_read(own, network)) if own else _of_uv(uv.list_downloads(minor))
    found: dict[Target, list[Listed]] = {target: [] for target in targets}
    for place, row in rows:
        for target in targets:
            fits = place == (_OS[target.os], _ARCHITECTURE[target.architecture], _LIBC.get(target.os, "none"))
            right = re.fullmatch(rf"{re.escape(minor)}\.[0-9]+", row.version) and re.fullmatch(_ARCHIVE, row.filename)
            if fits and right:
                found[target].append(row)
    return {target: sorted(rows, key=lambda row: _patch(row.version), reverse=True) for target, rows in found.items()}


def was_there(date: str, before: datetime | None) -> bool:
    """Say whether a build of a day had been made before an instant; one without a date was there before none."""
    if before is None:
        return True
    with contextlib.suppress(ValueError):  # of no date, too
        return datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1) <= before
    return False


def locked(row: Listed, store: Store, progress: Progress) -> Build:
    """Return a build with its hash.

    Raises:
        ResolutionError: It has an address of this machine only.
        DownloadError: Nobody tells its hash, and the archive cannot be had.

    """
    if not re.fullmatch(_ADDRESS, without_credentials(row.url)):
        raise ResolutionError(
            f"the list of Python's builds names {without_credentials(row.url)}, which no other machine has",
            hint=f"List addresses of a server; a directory with the archives can be named as {MIRROR}.",
        )
    sha256 = row.sha256 or _asked_of_uv(row, store) or _downloaded(row, store, progress)
    return Build(date=row.date, filename=row.filename, sha256=sha256, url=without_credentials(row.url))


_Place = tuple[str, str, str]  # operating system, architecture, libc, in the words of the list


def _of_uv(rows: Sequence[Mapping[str, Any]]) -> list[tuple[_Place, Listed]]:
    """Return what ``uv python list`` shows."""
    words = {"macos": "darwin"}
    return [
        ((words.get(row["os"], row["os"]), row["arch"], row["libc"]), _row(row["version"], row["key"], row["url"]))
        for row in rows
        if (row["implementation"], row["variant"]) == ("cpython", "default") and row["url"]
    ]


def _of_json(document: Mapping[str, Any]) -> list[tuple[_Place, Listed]]:
    """Return the rows of a list of the form that ``python-downloads-json-url`` has."""
    found = []
    for key, row in document.items():
        if (row["name"], row.get("variant") or "default", row["arch"].get("variant")) != ("cpython", "default", None):
            continue
        version = f"{row['major']}.{row['minor']}.{row['patch']}{row.get('prerelease') or ''}"
        listed_row = _row(version, key, row["url"], sha256=row.get("sha256") or "", date=row.get("build") or "")
        found.append(((row["os"], row["arch"]["family"], row["libc"]), listed_row))
    return found


def _row(version: str, key: str, url: str, *, sha256: str = "", date: str = "") -> Listed:
    told = re.search(r"/([0-9]{8})/[^/]+$", url)
    date = date if re.fullmatch(r"[0-9]{8}", date) else told[1] if told else ""
    return Listed(version=version, key=key, url=url, sha256=sha256.lower(), date=date)


def _read(place: str, network: Network) -> Mapping[str, Any]:
    """Return a list of builds from an address or a file, as uv accepts them."""
    from dsenv.tools import http  # noqa: PLC0415

    url = place if re.match(r"(https?|file)://", place) else Path(place).absolute().as_uri()
    sink = io.BytesIO()
    hint = f"Correct {LISTED} (UV_PYTHON_DOWNLOADS_JSON_URL) in uv's settings."
    try:
        for _ in http.download(url, sink, start=0, network=network):
            pass
        document: Mapping[str, Any] = json.loads(sink.getvalue())
        _of_json(document)
    except DsenvError as error:
        error.hint = error.hint or hint
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        sentence = f"{without_credentials(url)} is no list of Python's builds"
        raise DownloadError(sentence, cause=str(error), hint=hint) from error
    return document


def _asked_of_uv(row: Listed, store: Store) -> str:
    """Return the hash that uv itself holds a download against, or nothing when it does not say."""
    from dsenv.ecosystems.python import uv  # noqa: PLC0415

    with store.scratch("builds") as directory:
        empty = directory / "mirror" / "/".join(_suffix(row.url))
        empty.parent.mkdir(parents=True)
        tarfile.open(empty, "w:gz").close()
        said = uv.check_download(row.key, mirror=directory / "mirror", into=directory / "into")
    match = _EXPECTED.search(said)
    return match[1] if match else ""


def _downloaded(row: Listed, store: Store, progress: Progress) -> str:
    """Return the hash of what an address serves, and keep that."""
    from dsenv.tools import http  # noqa: PLC0415

    progress.say(f"nobody tells the sha256 of {row.filename}: it is downloaded to be hashed")
    troubles = []
    for url in (*_mirrored(row.url), row.url):
        sink = io.BytesIO()
        try:
            for size in http.download(url, sink, start=0, network=store.network):
                progress.update(f"downloading {row.filename}, {sink.tell() / 1e6:.1f} MB") if size else None
            return store.keep(sink.getvalue())
        except DownloadError as error:
            troubles.append(": ".join(filter(None, (error.sentence, error.cause))))
    raise DownloadError(f"{row.filename} could not be downloaded", cause="\n".join(troubles), hint=HINT)


def _mirrored(url: str) -> tuple[str, ...]:
    """Return where the mirror that uv is told of has a build; it may hold credentials."""
    from dsenv.ecosystems.python import uv  # noqa: PLC0415

    date, name = url.split("/")[-2:]
    if not re.fullmatch(r"[0-9]{8}", date):
        return ()  # no build of the list that mirrors are of
    if mirror := uv.setting(MIRROR):
        return (f"{mirror.rstrip('/')}/{date}/{name}",)
    if mirror := uv.setting("astral-mirror-url"):
        return (f"{mirror.rstrip('/')}{urlsplit(url).path}",)
    return ()


def _suffix(url: str) -> Sequence[str]:
    """Return what of an address follows a mirror's, decoded: date and name."""
    return unquote(url).split("/")[-2:]


def _patch(version: str) -> int:
    return int(version.rpartition(".")[2])
