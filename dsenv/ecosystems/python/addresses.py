"""What an address may look like in ``dsenv.toml``: variables where secrets are, no secret where it is written down."""

from __future__ import annotations

import re
from typing import Final

from dsenv.model import printable

VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")


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
    return text if text.startswith(("ssh://", "git+ssh://")) else _USERINFO.sub("", text)
