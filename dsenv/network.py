"""How this machine's tools are told to reach servers, beyond what the environment says.

Ecosystems fill such a value from their tools' settings, downloads use it; nothing of it is ever written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Credentials(Protocol):
    """Who one is at a server."""

    def __call__(self, url: str, *, refused: bool = False) -> tuple[str, str] | None:
        """Return user and password for an address, or ``None`` to go there as nobody, or as ``~/.netrc`` says.

        Args:
            url: Any address; it need not be known.
            refused: Whether the server has turned down what was there so far: slower ways may now be tried.

        """


def _nobody(url: str, *, refused: bool = False) -> tuple[str, str] | None:
    del url, refused
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the tools of one ecosystem, or of all, know of the network."""

    proxies: Mapping[str, str] = field(default_factory=dict)  # by scheme, where the environment names none
    authority: str = ""  # a file of certificates that are trusted, too
    credentials: Credentials = _nobody
    directory: Path | None = None  # the project's: where addresses that are only a path begin


def joined(networks: Iterable[Network]) -> Network:
    """Return what several ecosystems know together; of two that know the same, the first one counts."""
    known = list(networks)

    def credentials(url: str, *, refused: bool = False) -> tuple[str, str] | None:
        answers = (network.credentials(url, refused=refused) for network in known)
        return next((answer for answer in answers if answer), None)

    return Network(
        proxies={scheme: proxy for network in reversed(known) for scheme, proxy in network.proxies.items()},
        authority=next((network.authority for network in known if network.authority), ""),
        credentials=credentials,
        directory=next((network.directory for network in known if network.directory), None),
    )
