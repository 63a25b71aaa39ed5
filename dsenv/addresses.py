"""Addresses of servers as ``dsenv.toml`` has them: with variables, without secrets; and who one is there.

Users and passwords come from ``${VARIABLES}`` of an address, from ``~/.netrc`` (read by whoever makes the connection),
and from the ``keyring`` program once a server has refused. They go into requests, never into a lock or a message.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dsenv.errors import WrongUseError
from dsenv.model import printable
from dsenv.pins import CREDENTIALS
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?P<scheme>[a-z]+://)(?P<user>[^/@:]*)(?P<colon>:?)(?P<password>[^/]*)@(?P<rest>.*)")
_PORTS: Final = {"http": 80, "https": 443}


def check(text: str) -> str:
    """Return the address of a server; raise ``ValueError`` for what is none, and for a secret in a place that is kept.

    Args:
        text: ``https://${USER}:${PASSWORD}@acme.example/simple``.

    """
    printable(text)
    rest = VARIABLE.sub("x", text)
    if not re.match(r"https?://[^/]", rest) and not VARIABLE.match(text):
        msg = "expected an address such as `https://acme.example/simple`"
        raise ValueError(msg)
    check_secrets(text)
    return text


def check_secrets(text: str) -> None:
    """Refuse an address of which a part cannot be left out of a lock, or would be left in it."""
    if re.search(r"[${}?#\s]", VARIABLE.sub("x", text)):
        msg = "expected an address without `?`, `#` and spaces, and variables as `${NAME}`"
        raise ValueError(msg)
    userinfo, _, place = text.rpartition("@")
    if re.search(r"://[^/]*:(?!\$\{)[^/]+$", userinfo):
        msg = "expected no password in this file: write `${NAME}` in its place, or leave it to keyring or ~/.netrc"
        raise ValueError(msg)
    for match in VARIABLE.finditer(place):
        if _SECRET.search(match[1]):
            msg = f"`{match[0]}` would stand in the lock with its value: only a user and a password are left out of it"
            raise ValueError(msg)


def public(text: str) -> str:
    """Return an address as it may be written down: whole, but for who one is there; SSH has no address without."""
    return text if text.startswith(("ssh://", "git+ssh://")) else CREDENTIALS.sub("", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an index is, and who one is there as far as its settings tell."""

    url: str  # without user and password
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    whole: bool = False  # whether nothing is missing: a user alone may be a token, or want a password from a keyring


def filled(template: str, whose: str) -> Address:
    """Return an address of ``dsenv.toml``, its variables filled in.

    A variable in the user's or the password's place is taken as it is, with whatever characters.

    Args:
        template: ``https://${USER}:${PASSWORD}@${HOST}/simple``.
        whose: What it is the address of, for a person: ``index acme``.

    Raises:
        WrongUseError: A variable is not set.

    """

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


def split(url: str) -> Address:
    """Return the address that a tool's setting holds, its user and password apart."""
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    return Address(
        url=urlunsplit(parts._replace(netloc=host)) if userinfo else url,
        user=unquote(user),
        password=unquote(password),
        whole=bool(colon),
    )


def joined(url: str, who: tuple[str, str]) -> str:
    """Return an address with user and password, for where nobody else can read it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(who[0], safe='')}:{quote(who[1], safe='')}@{rest}"


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
