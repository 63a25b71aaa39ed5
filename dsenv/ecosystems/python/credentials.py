"""Who one is at which Python index, and where that index is: addresses with variables, users and passwords.

Users and passwords come from where Python's tools look for them: ``UV_INDEX_<NAME>_USERNAME`` and ``_PASSWORD``,
``${VARIABLES}`` of an address in ``dsenv.toml``, addresses in uv's and pip's own settings, ``~/.netrc`` (read by
whoever makes the connection), and the ``keyring`` program once a server has refused. They go into requests and into
the environment of uv; never into a lock, a file that stays, a message or a command line.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dsenv.ecosystems.python import pip_config, uv
from dsenv.ecosystems.python.addresses import VARIABLE
from dsenv.ecosystems.python.spec import Expanded, references
from dsenv.errors import WrongUseError
from dsenv.network import Network
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsenv.ecosystems.python.origins.reference import Reference
    from dsenv.ecosystems.python.spec import Spec

_USERINFO: Final = re.compile(r"(?P<scheme>[a-z]+://)(?P<user>[^/@:]*)(?P<colon>:?)(?P<password>[^/]*)@(?P<rest>.*)")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an index is, and who one is there as far as its settings tell."""

    url: str  # without user and password
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    whole: bool = False  # whether nothing is missing: a user alone may be a token, or want a password from a keyring


def address(template: str, name: str) -> Address:
    """Return an index of ``dsenv.toml``, its variables filled in.

    A variable in the user's or the password's place is taken as it is, with whatever characters.

    Args:
        template: ``https://${USER}:${PASSWORD}@${HOST}/simple``.
        name: What ``dsenv.toml`` calls it.

    Raises:
        WrongUseError: A variable is not set.

    """
    return _as_told(_filled(template, f"index {name}"), name)


def place(reference: Reference) -> Address:
    """Return where a requirement's own source is, its variables filled in; SSH keeps its user.

    Raises:
        WrongUseError: A variable is not set.

    """
    if reference.place.startswith("ssh:"):
        return Address(url=reference.place)
    return _filled(reference.place, reference.name)


def _filled(template: str, whose: str) -> Address:
    def fill(text: str) -> str:
        return VARIABLE.sub(lambda match: _value(match[1], whose), text)

    match = _USERINFO.fullmatch(template)
    if match is None:
        return split(fill(template))  # a variable may be the whole address
    return Address(
        url=fill(match["scheme"] + match["rest"]),
        user=fill(unquote(match["user"])),
        password=fill(unquote(match["password"])),
        whole=bool(match["colon"]) or "$" in match["user"],
    )


def split(url: str, name: str = "") -> Address:
    """Return the address that a tool's setting holds, its user and password apart."""
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    found = Address(
        url=urlunsplit(parts._replace(netloc=host)) if userinfo else url,
        user=unquote(user),
        password=unquote(password),
        whole=bool(colon),
    )
    return _as_told(found, name) if name else found


def joined(url: str, who: tuple[str, str]) -> str:
    """Return an address with user and password, for where nobody else can read it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(who[0], safe='')}:{quote(who[1], safe='')}@{rest}"


def variables(name: str) -> tuple[str, str]:
    """Return the variables in which uv looks for the user and the password of an index."""
    stem = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}"
    return f"{stem}_USERNAME", f"{stem}_PASSWORD"


def _as_told(found: Address, name: str) -> Address:
    """Return an address with the user and the password that the environment has for it."""
    user, password = (os.environ.get(variable) for variable in variables(name))
    if user is None and password is None:
        return found
    return Address(
        url=found.url, user=found.user if user is None else user, password=password or "", whole=password is not None
    )


def _value(variable: str, whose: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise WrongUseError(
            f"the address of {whose} has the variable ${{{variable}}}, which is not set",
            hint=f"Set {variable} in the environment and run it again.",
        )
    return value


class Keys:
    """Who one is at the indexes that are known; an implementation of ``network.Credentials``.

    Args:
        addresses: The known indexes; of two at one place the first one counts.
        keyring: Whether the ``keyring`` program may be asked.

    """

    def __init__(self, addresses: Iterable[Address], *, keyring: bool) -> None:
        self._addresses = tuple(addresses)
        self._keyring = keyring
        self._asked: dict[str, tuple[str, str] | None] = {}
        self._lock = threading.Lock()

    def __call__(self, url: str, *, refused: bool = False) -> tuple[str, str] | None:
        """Return user and password for an address of an index's server."""
        near = self._nearest(url)
        if near is None:
            return None
        if near.whole:
            return None if refused else (near.user, near.password)
        with self._lock:
            if refused and near.url not in self._asked:
                self._asked[near.url] = _ask_keyring(near) if self._keyring else None
            if found := self._asked.get(near.url):
                return found
        # A user alone may be a token: it is tried as one before a keyring is asked, where a command line would show it.
        return None if refused or not near.user else _from_netrc(near) or (near.user, "")

    def _nearest(self, url: str) -> Address | None:
        """Return the index on the same server that shares the most of its path: files lie beside their pages."""
        here = _server(url)
        known = [known for known in self._addresses if _server(known.url) == here]
        return max(known, key=lambda known: _shared(_path(known.url), _path(url)), default=None)


def _server(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or ""), parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no address at all; whoever asks for it will say so
        return "", "", None


def _path(url: str) -> list[str]:
    return urlsplit(url).path.strip("/").split("/")


def _shared(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _from_netrc(known: Address) -> tuple[str, str] | None:
    """Return what ``~/.netrc`` has for a user whose password is not known."""
    import requests  # noqa: PLC0415 - 100 ms that only an address with a user alone pays

    found = requests.utils.get_netrc_auth(known.url)
    return (known.user, found[1]) if found and found[0] == known.user else None


def _ask_keyring(known: Address) -> tuple[str, str] | None:
    """Return what the keyring has for an index: under its address, else under its host's, as pip and uv ask."""
    if not process.find("keyring"):
        return None
    for service in (known.url, urlsplit(known.url).netloc):
        words = (known.user,) if known.user else ("--mode", "creds")
        completed = process.run(["keyring", "get", service, *words], codes=None)
        lines = completed.stdout.splitlines()
        if completed.code == 0 and len(lines) >= (1 if known.user else 2):
            return (known.user, lines[0]) if known.user else (lines[0], lines[1])
    return None


def network(spec: Spec | None) -> Network:
    """Return what pip, uv and the spec's own indexes know of the way to servers."""
    if spec is None:
        return Network()
    settings = pip_config.read()
    told = uv.from_pip(settings)
    proxy = told.get("HTTPS_PROXY", "")
    return Network(
        proxies={"http": proxy, "https": proxy} if proxy else {},
        authority=told.get("SSL_CERT_FILE", ""),
        credentials=Keys(_known(spec, settings), keyring=_may_ask(settings)),
        directory=spec.directory if isinstance(spec, Expanded) else None,
    )


def _known(spec: Spec, settings: pip_config.Settings) -> list[Address]:
    found = []
    for index in spec.indexes:
        with contextlib.suppress(WrongUseError):  # said by whoever needs the index; a restore from the store needs none
            found.append(address(index.url, index.name))
    for reference in references(spec):
        with contextlib.suppress(WrongUseError):
            found += [known] if (known := place(reference)).user else []
    found += [split(listed.url, listed.name) for listed in uv.indexes()]
    urls = [settings["index-url"].value] if "index-url" in settings else []
    urls += [place.address for place in pip_config.elsewhere(settings) if not place.is_local]
    return [*found, *map(split, urls)]


def _may_ask(settings: pip_config.Settings) -> bool:
    pip = settings.get("keyring-provider")
    return "disabled" not in {os.environ.get("UV_KEYRING_PROVIDER"), pip.value if pip else ""}
