"""The pages of a Python index: which projects it has, which files a project has, since when, with which hashes.

Read as PEP 691 (JSON) has them, else as PEP 503 (HTML), through the pypi-simple package.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dsenv.errors import DownloadError
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    import requests

    from dsenv.network import Network

_AT_ONCE: Final = 12  # pages
_ATTEMPTS: Final = 3
_PAUSE: Final = 1.0  # seconds before a server that is busy is asked again
_LOST: Final = (404, 410)
_ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, */*;q=0.01"
)


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


def pages(index: str, names: Iterable[str], network: Network) -> Mapping[str, Sequence[File]]:
    """Return the files of each project, read side by side; a project that the index lacks has none.

    Args:
        index: The address of the simple API, which may hold credentials.
        names: Normalized.
        network: What is known of the way there.

    Raises:
        DownloadError: The index does not answer, or not with pages.

    """
    wanted = list(dict.fromkeys(names))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(lambda name: _files(index, name, network), wanted), strict=True))


def projects(index: str, network: Network, *, flat: bool = False) -> Sequence[str]:
    """Return the normalized names of the projects that an index lists.

    Args:
        index: Its address.
        network: What is known of the way there.
        flat: Whether it is one page with links to files instead of a list of projects.

    Raises:
        DownloadError: It does not answer, or not with a list.

    """
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - beside its only use
    from pypi_simple import IndexPage, ProjectPage  # noqa: PLC0415 - 300 ms that only some locks pay

    what = "list of its projects"
    if flat:
        page = _read(index, index, what, network, lambda response: ProjectPage.from_response(response, ""))
        names = [file.project for file in page.packages if file.project] if page else []
    else:
        page = _read(f"{index.rstrip('/')}/", index, what, network, IndexPage.from_response)
        names = page.projects if page else []
    return sorted({canonicalize_name(name) for name in names})


def knock(index: str, name: str, network: Network) -> int:
    """Go to a project's page and return how that was answered, 0 for not at all."""
    import requests  # noqa: PLC0415

    from dsenv.tools import http  # noqa: PLC0415

    try:
        with http.get(f"{index.rstrip('/')}/{name}/", network, headers={"Accept": _ACCEPT}, stream=True) as response:
            return response.status_code
    except (requests.RequestException, ValueError):
        return 0  # whoever needs the index will find out why, and say it


def introduce(index: str, name: str, network: Network) -> tuple[str, str] | None:
    """Return who one is at an index, after a visit where a password is missing: a keyring is asked after a refusal."""
    if not (network.credentials(index) or ("", ""))[1]:
        knock(index, name, network)
    return network.credentials(index)


def _files(index: str, name: str, network: Network) -> Sequence[File]:
    from pypi_simple import ProjectPage  # noqa: PLC0415

    address = f"{index.rstrip('/')}/{name}/"
    what = f"page of {name}"
    page = _read(address, index, what, network, lambda response: ProjectPage.from_response(response, name))
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
        for package in (page.packages if page else ())
    ]


def _read(url: str, index: str, what: str, network: Network, parse: Callable[[requests.Response], Any]) -> Any:
    """Return a parsed page, or ``None`` where there is none; ask again where a later answer may be another."""
    import pypi_simple  # noqa: PLC0415
    import requests  # noqa: PLC0415

    from dsenv.tools import http  # noqa: PLC0415

    def unreadable(cause: str, hint: str = "") -> DownloadError:
        return DownloadError(f"{without_credentials(index)} has no readable {what}", cause=cause, hint=hint)

    left = _ATTEMPTS
    while True:
        left -= 1
        try:
            with http.get(url, network, headers={"Accept": _ACCEPT, "Accept-Encoding": "gzip"}) as response:
                if response.status_code in _LOST:
                    return None
                if response.ok:
                    return parse(response)
                answer = http.AnswerError(url, response)
                if not left or not answer.may_pass:
                    raise unreadable(answer.sentence, answer.hint)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            if not left:
                raise unreadable(http.reason(error)) from error
        except (
            requests.RequestException,
            pypi_simple.UnsupportedContentTypeError,
            pypi_simple.UnsupportedRepoVersionError,
            ValueError,
        ) as error:
            raise unreadable(http.reason(error)) from error
        time.sleep(_PAUSE)
