"""Where an archive is as it was on a date: addresses of snapshot services, in the words of apt's own settings.

No address stands here. They come from ``[system] snapshots``, from the ``Snapshots`` field of a signed Release file,
or from apt's settings ``Acquire::Snapshots::URI`` (apt.conf(5)), which apt brings since 2.7.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Mapping

_SETTING: Final = re.compile(r'Acquire::Snapshots::URI::(?P<key>\S+) "(?P<value>[^"]*)";')
_IMPORTED: Final = timedelta(hours=12)
"""How long after its date a Release file is surely in a snapshot, and what it lists still in the archive's pool."""


def settings() -> dict[str, str]:
    """Return apt's settings about snapshots on this machine, by what follows ``Acquire::Snapshots::URI::``."""
    if not process.find("apt-config"):
        return {}
    return read_settings(process.run(["apt-config", "dump"], codes=None).stdout)


def read_settings(dump: str) -> dict[str, str]:
    """Return what ``apt-config dump`` says about snapshots."""
    return {match["key"]: match["value"] for match in map(_SETTING.fullmatch, dump.splitlines()) if match}


def template(uri: str, release: str, known: Mapping[str, str], given: str = "") -> str:
    """Return the form of the addresses of an archive's snapshots, or nothing when there are none.

    Args:
        uri: The archive's address.
        release: The text of its Release file, as far as it is known.
        known: apt's settings.
        given: What the project says: it comes first.

    """
    origin, label, field = (_field(release, name) for name in ("Origin", "Label", "Snapshots"))
    host = urlsplit(uri).hostname or ""
    overrides = [known.get(f"Override::Label::{label}"), known.get(f"Override::Origin::{origin}")]
    defaults = [known.get(f"{kind}::{name}") for kind, name in (("Label", label), ("Origin", origin), ("Host", host))]
    found = next((text for text in (given, *overrides, field, *defaults) if text), "")
    return "" if found == "no" else found


def address(template: str, uri: str, instant: datetime) -> str:
    """Return where an archive is as it was at an instant."""
    path = urlsplit(uri).path.strip("/")
    return template.replace("@PATH@", path).replace("@SNAPSHOTID@", f"{instant:%Y%m%dT%H%M%SZ}").rstrip("/")


def end_of(day: date) -> datetime:
    """Return the last second of a day, UTC: services give the newest state up to then."""
    return datetime.combine(day, time(23, 59, 59), UTC)


def after(release: str) -> datetime | None:
    """Return an instant at which a snapshot has what a Release file lists, or ``None`` when it tells no date."""
    signed = signed_on(_field(release, "Date"))
    return signed + _IMPORTED if signed else None


def signed_on(text: str) -> datetime | None:
    """Read the date of a Release file: ``Sat, 16 May 2026 09:53:46 UTC``."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


def _field(release: str, name: str) -> str:
    match = re.search(rf"^{name}: *(.*?)\s*$", release, re.MULTILINE)
    return match[1] if match else ""
