"""Which pins are years behind the newest release: mostly a bound that nobody meant, or a solver that gave in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from packaging.version import InvalidVersion, Version

from dsenv.ecosystems.python import simple
from dsenv.ecosystems.python.pins import CREATED_BY
from dsenv.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from dsenv.ecosystems.python.engines.interface import Found
    from dsenv.ecosystems.python.pins import Pins
    from dsenv.network import Network

BEHIND: Final = timedelta(days=2 * 365)


def stale(
    packages: Sequence[Found], network: Network, before: datetime | None, standing: Sequence[Pins] = ()
) -> list[str]:
    """Return a sentence for each package whose version is ``BEHIND`` the newest release of its project.

    No clock is asked: only packages that are old beside the newest of the answer have their project's page read. The
    pages of a large environment take longer than its resolution, so a pin is judged when it comes into the lock.

    Args:
        packages: What was found.
        network: What is known of the way to the indexes.
        before: From when on no release counts.
        standing: What was locked before.

    """
    judged = {
        (package.name, str(package.version))
        for pins in standing
        if pins.lock.created_by == CREATED_BY
        for package in pins.lock.packages
    }
    dates = {found.name: date for found in packages if (date := _uploaded(found))}
    if not dates:
        return []
    newest = max(dates.values())
    old = [
        found
        for found in packages
        if found.name in dates and newest - dates[found.name] > BEHIND and (found.name, found.version) not in judged
    ]
    sentences = []
    for index in sorted({found.index for found in old}):
        here = {found.name: found for found in old if found.index == index}
        try:
            pages = simple.pages(index, here, network)
        except DownloadError:
            continue  # the lock does without this advice: the engine may know another way in
        for name, files in pages.items():
            release = _newest(file for file in files if not before or (file.uploaded and file.uploaded < before))
            if release and release[1] - dates[name] > BEHIND:
                years = (release[1] - dates[name]).days / 365
                sentences.append(
                    f"{name} {here[name].version} ({dates[name]:%Y-%m-%d}) is {years:.0f} years behind its newest "
                    f"release {release[0]}: bound it, or see what holds it back"
                )
    return sorted(sentences)


def prepare() -> None:
    """Import what reading pages takes, half a second, while an engine is waited for."""
    import pypi_simple  # noqa: F401, PLC0415

    from dsenv.tools import http  # noqa: F401, PLC0415


def _uploaded(found: Found) -> datetime | None:
    times = [wheel.upload_time for wheel in found.wheels] + [found.sdist.upload_time if found.sdist else None]
    return max((time for time in times if time), default=None)


def _newest(files: Iterable[simple.File]) -> tuple[str, datetime] | None:
    """Return the newest final release that is not withdrawn, and when it came."""
    releases: dict[Version, datetime] = {}
    for file in files:
        try:
            version = Version(file.version)
        except InvalidVersion:
            continue
        if file.uploaded and not file.yanked and not version.is_prerelease:
            releases[version] = max(file.uploaded, releases.get(version, file.uploaded))
    return (str(version := max(releases)), releases[version]) if releases else None
