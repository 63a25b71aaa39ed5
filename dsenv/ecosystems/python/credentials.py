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
from typing import TYPE_CHECKING

from dsenv import addresses
from dsenv.addresses import Address, Keys
from dsenv.ecosystems.python import pip_config, uv
from dsenv.ecosystems.python.spec import Expanded, references
from dsenv.errors import WrongUseError
from dsenv.network import Network

if TYPE_CHECKING:
    from dsenv.ecosystems.python.origins.reference import Reference
    from dsenv.ecosystems.python.spec import Spec


def address(template: str, name: str) -> Address:
    """Return an index of ``dsenv.toml``, its variables filled in; raise ``WrongUseError`` when one is not set.

    Args:
        template: ``https://${USER}:${PASSWORD}@${HOST}/simple``.
        name: What ``dsenv.toml`` calls it.

    """
    return _as_told(addresses.filled(template, f"index {name}"), name)


def place(reference: Reference) -> Address:
    """Return where a requirement's own source is, its variables filled in; SSH keeps its user.

    Raises:
        WrongUseError: A variable is not set.

    """
    if reference.place.startswith("ssh:"):
        return Address(url=reference.place)
    return addresses.filled(reference.place, reference.name)


def split(url: str, name: str = "") -> Address:
    """Return the address that a tool's setting holds, its user and password apart."""
    found = addresses.split(url)
    return _as_told(found, name) if name else found


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
