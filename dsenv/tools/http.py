"""Download over HTTP: proxies, credentials and certificate authorities as the machine has them set.

``requests`` takes proxies from the environment and credentials from ``~/.netrc``. Certificates are trusted when the
system trusts them (corporate authorities are installed there), when ``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE`` names them, or when they are in the public bundle.
"""

from __future__ import annotations

import ssl
import threading
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter

from dsenv import __version__
from dsenv.errors import DownloadError
from dsenv.pins import CREDENTIALS, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18  # bytes
TIMEOUT = (20, 60)  # seconds to connect, seconds of silence


class _SystemTrust(HTTPAdapter):
    """Trust what the system trusts, beside the public bundle that requests brings."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=ssl.create_default_context())

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=ssl.create_default_context())


_local = threading.local()


def _session() -> requests.Session:
    if not hasattr(_local, "session"):
        session = requests.Session()
        session.headers["User-Agent"] = f"dsenv/{__version__}"
        session.headers["Accept-Encoding"] = "identity"  # the bytes are hashed as they lie on the server
        session.mount("https://", _SystemTrust())
        _local.session = session
    return _local.session  # type: ignore[no-any-return]


def download(url: str, sink: IO[bytes], *, start: int, proxies: dict[str, str] | None = None) -> Iterator[int]:
    """Append what ``url`` serves from byte ``start`` on to ``sink``; yield the size of each piece.

    A server that cannot resume makes the sink start over.

    Args:
        url: An ``http``, ``https`` or ``file`` address.
        sink: Open for writing, positioned at ``start``.
        start: How many bytes the sink already holds.
        proxies: By scheme, before those of the environment.

    Raises:
        DownloadError: The address does not answer, or not with the file.

    """
    if urlsplit(url).scheme == "file":
        yield from _copy(url, sink)
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        with _session().get(url, headers=headers, stream=True, timeout=TIMEOUT, proxies=proxies) as response:
            if start and response.status_code in {requests.codes.ok, requests.codes.requested_range_not_satisfiable}:
                sink.seek(0)
                sink.truncate()
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                raise DownloadError(f"{without_credentials(url)} could not be resumed")
            response.raise_for_status()
            for chunk in response.iter_content(CHUNK):
                sink.write(chunk)
                yield len(chunk)
    except requests.HTTPError as error:
        code = error.response.status_code
        raise DownloadError(f"{without_credentials(url)} answered {code}", hint=_hint(code)) from error
    except requests.RequestException as error:
        reason = CREDENTIALS.sub("", str(error))
        raise DownloadError(f"{without_credentials(url)} did not answer", cause=reason) from error


def _hint(code: int) -> str:
    if code in {401, 403, 407}:
        return "Put the credentials for this host into ~/.netrc or the proxy settings."
    return ""


def _copy(url: str, sink: IO[bytes]) -> Iterator[int]:
    sink.seek(0)
    sink.truncate()
    try:
        with open(unquote(urlsplit(url).path), "rb") as source:  # noqa: PTH123 - a path of any form
            while chunk := source.read(CHUNK):
                sink.write(chunk)
                yield len(chunk)
    except FileNotFoundError as error:
        raise DownloadError(f"{url} does not exist") from error
