"""Download over HTTP: proxies, credentials and certificate authorities as the machine has them set.

``requests`` takes proxies from the environment and credentials from ``~/.netrc``. Certificates are trusted when the
system trusts them (corporate authorities are installed there), when ``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE`` names them, or when they are in the public bundle. What the machine's
other tools know beyond that comes as a ``Network``.
"""

from __future__ import annotations

import os
import ssl
import threading
from functools import cache
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from dsenv import __version__
from dsenv.errors import DownloadError
from dsenv.pins import CREDENTIALS, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsenv.network import Network

CHUNK = 1 << 18  # bytes
TIMEOUT = (20, 60)  # seconds to connect, seconds of silence
_REFUSED = (401, 403)


_lock = threading.Lock()  # `cache` lets threads that come at once all do the work


@cache
def _trust() -> ssl.SSLContext:
    """Return what all connections share: reading a bundle of authorities takes longer than a small file."""
    return ssl.create_default_context()


@cache
def _trust_also(bundle: str) -> None:
    try:
        _trust().load_verify_locations(bundle)
    except OSError as error:
        raise requests.exceptions.SSLError(error) from error


class _SystemTrust(HTTPAdapter):
    """Trust what the system trusts, beside the public bundle that requests brings, or another in its place."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        with _lock:
            trust = _trust()
        super().init_poolmanager(*args, **kwargs, ssl_context=trust)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        with _lock:
            trust = _trust()
        return super().proxy_manager_for(*args, **kwargs, ssl_context=trust)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if conn.ca_certs:
            with _lock:
                _trust_also(conn.ca_certs)
            conn.ca_certs = None  # else it is read again for each connection


_local = threading.local()


def session() -> requests.Session:
    """Return this thread's connection to the world."""
    if not hasattr(_local, "session"):
        made = requests.Session()
        made.headers["User-Agent"] = f"dsenv/{__version__}"
        made.headers["Accept-Encoding"] = "identity"  # the bytes are hashed as they lie on the server
        made.mount("https://", _SystemTrust())
        _local.session = made
    return _local.session  # type: ignore[no-any-return]


class AnswerError(DownloadError):
    """A server answered, but not with the file."""

    def __init__(self, url: str, response: requests.Response) -> None:
        self.status = response.status_code
        wait = response.headers.get("Retry-After", "")
        self.after = float(wait) if wait.isdecimal() else None  # seconds that the server asks to wait
        hint = "Put the credentials for this host into ~/.netrc, or where its tools look for them, or the proxy's."
        super().__init__(
            f"{without_credentials(url)} answered {self.status}",
            hint=hint if self.status in {401, 403, 407} else "",
        )

    @property
    def may_pass(self) -> bool:
        """Whether the same question may have another answer soon."""
        return self.status in {408, 425, 429} or self.status >= requests.codes.internal_server_error


def download(url: str, sink: IO[bytes], *, start: int, network: Network, agent: str = "") -> Iterator[int]:
    """Append what ``url`` serves from byte ``start`` on to ``sink``; yield the size of each piece.

    A server that cannot resume makes the sink start over.

    Args:
        url: An ``http``, ``https`` or ``file`` address.
        sink: Open for writing, positioned at ``start``.
        start: How many bytes the sink already holds.
        network: What is known of the way there.
        agent: The User-Agent to ask as; "" for our own.

    Raises:
        AnswerError: The server has something else to say.
        DownloadError: The address does not answer, or is none.

    """
    try:
        scheme = urlsplit(url).scheme
        yield from _read(url, sink) if scheme == "file" else _get(url, sink, start, network, agent)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise DownloadError(f"{without_credentials(url)} did not answer", cause=reason(error)) from error
    except ValueError as error:
        raise DownloadError(f"{without_credentials(url)} is not an address", cause=str(error)) from error


def serves(url: str, network: Network, size: int | None = None, agent: str = "") -> bool:
    """Say whether an address has a file, of a known size if it tells one; nothing but its beginning is fetched."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return os.path.isfile(unquote(parts.path))  # noqa: PTH113 - a path of any form
    try:
        with get(url, network, headers=_as(agent), stream=True) as response:
            told = response.headers.get("Content-Length", "")
            return response.ok and (size is None or not told.isdecimal() or int(told) == size)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
        return False


def get(url: str, network: Network, *, headers: dict[str, str], stream: bool = False) -> requests.Response:
    """Ask for an address once, or once more as somebody whom the server may know better."""

    def ask(who: tuple[str, str] | None) -> requests.Response:
        return session().get(
            url,
            headers=headers,
            stream=stream,
            timeout=TIMEOUT,
            proxies=_proxies(url, dict(network.proxies)),
            auth=who,
            verify=network.authority if network.authority and not _BUNDLES & os.environ.keys() else None,
        )

    response = ask(network.credentials(url))
    if response.status_code in _REFUSED and (who := network.credentials(url, refused=True)):
        response.close()
        response = ask(who)
    return response


_BUNDLES = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}  # the environment's word comes first


def _as(agent: str) -> dict[str, str]:
    return {"User-Agent": agent} if agent else {}


def _get(url: str, sink: IO[bytes], start: int, network: Network, agent: str) -> Iterator[int]:
    headers = _as(agent) | ({"Range": f"bytes={start}-"} if start else {})
    with get(url, network, headers=headers, stream=True) as response:
        if start and response.status_code in {requests.codes.ok, requests.codes.requested_range_not_satisfiable}:
            sink.seek(0)
            sink.truncate()
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            raise DownloadError(f"{without_credentials(url)} could not be resumed")
        if not response.ok:
            raise AnswerError(url, response)
        # Not `iter_content`: a server that calls a .tar.gz "Content-Encoding: gzip" would have it unpacked here.
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            sink.write(chunk)
            yield len(chunk)


def _proxies(url: str, fallback: dict[str, str]) -> dict[str, str] | None:
    """Return ``fallback`` unless the environment names a proxy for an address, or none (``no_proxy``)."""
    direct = requests.utils.should_bypass_proxies(url, no_proxy=None)
    named = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    return None if direct or named else fallback


def reason(error: BaseException) -> str:
    """Return the innermost reason of a failed request: what the operating system said."""
    inner = error
    while True:
        causes = (getattr(inner, "reason", None), *inner.args)
        deeper = next((item for item in causes if isinstance(item, BaseException)), None)
        if deeper is None:
            return CREDENTIALS.sub("", str(inner)).rpartition("): ")[2]
        inner = deeper


def _read(url: str, sink: IO[bytes]) -> Iterator[int]:
    sink.seek(0)
    sink.truncate()
    try:
        source = open(unquote(urlsplit(url).path), "rb")  # noqa: PTH123, SIM115 - a path of any form, closed below
    except OSError as error:
        raise DownloadError(f"{url} cannot be read", cause=str(error.strerror)) from error
    with source:
        while chunk := source.read(CHUNK):
            sink.write(chunk)
            yield len(chunk)
