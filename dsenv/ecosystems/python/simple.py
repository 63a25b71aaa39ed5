"""The pages of a Python index: which files a project has, since when, with which hashes.

Read as PEP 691 (JSON) has them, else as PEP 503 (HTML), through the pypi-simple package.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.errors import DownloadError
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

_AT_ONCE: Final = 12  # pages


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a project's page lists."""

    name: str  # "numpy-2.4.6-cp311-….whl"
    version: str  # "" where the name does not tell
    url: str  # absolute
    sha256: str  # "" where the page has none
    size: int | None
    uploaded: datetime | None
    yanked: bool


def pages(index: str, names: Iterable[str]) -> Mapping[str, Sequence[File]]:
    """Return the files of each project, read side by side; a project that the index lacks has none.

    Args:
        index: The address of the simple API, which may hold credentials.
        names: Normalized.

    Raises:
        DownloadError: The index does not answer, or not with pages.

    """
    wanted = list(dict.fromkeys(names))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(lambda name: _page(index, name), wanted), strict=True))


def _page(index: str, name: str) -> Sequence[File]:
    import pypi_simple  # noqa: PLC0415 - 300 ms that only some locks pay
    import requests  # noqa: PLC0415

    from dsenv.tools import http  # noqa: PLC0415

    try:
        client = pypi_simple.PyPISimple(index.rstrip("/") + "/", session=http.session())
        page = client.get_project_page(name, timeout=http.TIMEOUT)
    except pypi_simple.NoSuchProjectError:
        return ()
    except (requests.RequestException, pypi_simple.UnsupportedContentTypeError, ValueError) as error:
        raise DownloadError(
            f"{without_credentials(index)} has no readable page of {name}", cause=http.reason(error)
        ) from error
    return [
        File(
            name=package.filename,
            version=package.version or "",
            url=package.url.partition("#")[0],
            sha256=package.digests.get("sha256", ""),
            size=package.size,
            uploaded=package.upload_time,
            yanked=package.is_yanked,
        )
        for package in page.packages
    ]
