"""The repositories of a lock, in order: where each is, what its index lists, and what its Archive has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dsenv.download import LostError, Unhashed
from dsenv.ecosystems.r import description
from dsenv.ecosystems.r.cran import index as indexes
from dsenv.ecosystems.r.requests import NAME
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import DownloadError, WrongUseError
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from dsenv.ecosystems.r.cran.index import Index
    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact
    from dsenv.store import Store

_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(?:tar\.gz|tgz|tar\.xz|tar\.bz2)")
_PART: Final = re.compile(r"[A-Za-z0-9_~+.-]*[A-Za-z0-9_~+-]")  # of a path
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY: Final = re.compile(rf"([0-9]{{4}})-([0-9]{{2}})-([0-9]{{2}})|([0-9]{{2}})-({'|'.join(_MONTHS)})-([0-9]{{4}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repository is."""

    name: str
    url: str
    dated: bool = False  # whether this is the address of the state of a day
    today: tuple[str, ...] = ()  # where the same repository is as of today: its Archive has the files, too
    optional: bool = False  # whether it may be missing
    binary: Mapping[str, str] = field(default_factory=dict)  # by target, where its built packages are


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A version that an index lists."""

    fields: Stanza
    version: RVersion
    repository: str
    urls: tuple[str, ...]
    filename: str

    @property
    def published(self) -> date | None:
        """The day on which it came out."""
        return description.published(self.fields)

    @property
    def md5(self) -> str:
        """The index's hash of its file."""
        return indexes.md5(self.fields)


@dataclass(slots=True)
class Repository:
    """One repository, read."""

    place: Place
    index: Index
    file: Artifact  # the index's
    store: Store
    _archived: dict[str, Mapping[str, date | None]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.place.name

    def rows(self, name: str) -> list[Row]:
        """Return what the index lists of a name, the newest version first."""
        found = [row for fields in self.index.rows(name) if (row := self._row(fields))]
        return sorted(found, key=lambda row: row.version, reverse=True)

    def archived(self, name: str) -> Mapping[str, date | None]:
        """Return the versions in the Archive as they are spelled, with their days where the listing has them."""
        if name not in self._archived:
            self._archived[name] = self._listing(name)
        return self._archived[name]

    def archive_urls(self, name: str, version: str) -> tuple[str, ...]:
        """Return where a version is that has left the index: in the Archive, or not yet there."""
        contrib, file = f"{self.place.url}/src/contrib", f"{name}_{version}.tar.gz"
        return f"{contrib}/Archive/{name}/{file}", f"{contrib}/{file}", *self._elsewhere(name, file)

    def _elsewhere(self, name: str, file: str) -> list[str]:
        return [url for base in self.place.today for url in _urls(f"{base}/src/contrib", name, file)]

    def check_archive(self, day: date) -> None:
        """Raise ``WrongUseError`` when nothing tells which versions there were on a day."""
        url = f"{self.place.url}/src/contrib/Archive/"
        try:
            self.store.learn([Unhashed(filename="Archive.html", urls=(url,), fresh=True)])
        except LostError as error:
            raise WrongUseError(
                f"what {self.name} had on {day} cannot be found out: it lists no Archive",
                cause=error.cause,
                hint="Name the address of its dated states: [r] as-of-url for CRAN, `as-of-url` of a repository.",
            ) from error

    def _row(self, fields: Stanza) -> Row | None:
        """Return a row of the index, ``None`` for one that cannot be used."""
        name, below = fields.get("Package", ""), place_below(fields)
        try:
            version = RVersion(fields.get("Version", ""))
        except ValueError:
            return None
        filename = fields.get("File", f"{name}_{version}.tar.gz")
        if not re.fullmatch(NAME, name) or not _FILE.fullmatch(filename) or below is None:
            return None
        contrib = f"{self.place.url}/src/contrib"
        urls = [f"{contrib}/{below}{filename}", f"{contrib}/Archive/{name}/{filename}"]
        urls += self._elsewhere(name, filename)
        if re.fullmatch(r"https?://[^\s@]+", direct := fields.get("DownloadURL", "")):
            urls.insert(0, direct)
        return Row(fields=fields, version=version, repository=self.name, urls=tuple(urls), filename=filename)

    def _listing(self, name: str) -> Mapping[str, date | None]:
        url = f"{self.place.url}/src/contrib/Archive/{name}/"
        try:
            artifact = self.store.learn([Unhashed(filename=f"Archive-{name}.html", urls=(url,), fresh=True)])[0]
        except LostError:
            return {}
        return parse_listing(self.store.path(artifact).read_text("utf-8", "replace"), name)


def place_below(fields: Stanza) -> str | None:
    """Return where below its index a row says that its file is: "", ``4.2.0/Other/``; ``None`` for no such place."""
    path = fields.get("Path", "").strip("/")
    if not path:
        return ""
    return f"{path}/" if all(map(_PART.fullmatch, path.split("/"))) else None


def _urls(contrib: str, name: str, file: str) -> list[str]:
    return [f"{contrib}/{file}", f"{contrib}/Archive/{name}/{file}"]


def parse_listing(text: str, name: str) -> dict[str, date | None]:
    """Return the versions that a web server's listing of a directory names, with their days where it has them."""
    from datetime import date  # noqa: PLC0415 - beside its only use

    link = re.compile(rf"href=[\"'](?:[^\"']*/)?{re.escape(name)}_([0-9]+(?:[.-][0-9]+)*)\.tar\.gz[\"']", re.IGNORECASE)
    matches = list(link.finditer(text))
    found: dict[str, date | None] = {}
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        beside = text[match.end() : following.start() if following else len(text)]
        day = _DAY.search(beside)
        when = None
        if day:
            numbers = (day[1], day[2], day[3]) if day[1] else (day[6], _MONTHS.index(day[5]) + 1, day[4])
            try:
                when = date(*map(int, numbers))
            except ValueError:
                when = None
        found.setdefault(match[1], when)
    return found


def load(places: Sequence[Place], store: Store) -> list[Repository]:
    """Fetch and read the indexes of all places.

    Raises:
        DownloadError: One does not answer, or has no index.

    """
    found = []
    for place in places:
        try:
            index, artifact = indexes.fetch(f"{place.url}/src/contrib", store)
        except LostError as error:
            if place.optional:
                continue
            shown = without_credentials(place.url)
            if place.dated:
                raise WrongUseError(
                    f"{shown} has no index of R packages: nothing is known of that day there",
                    hint="Correct `as-of-url`, or choose another day for `as-of`.",
                ) from error
            raise DownloadError(
                f"repository {place.name} ({shown}) has no index of R packages",
                cause=error.cause,
                hint="Expected is the address above `src/contrib`.",
            ) from error
        found.append(Repository(place, index, artifact, store))
    return found
