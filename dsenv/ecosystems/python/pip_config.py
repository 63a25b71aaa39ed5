"""What pip is told of indexes on this machine, read as pip reads it, and said again in uv's words.

People who have set up pip for their company should not have to say it twice. Only how a server is reached is taken:
the default index, certificates, the proxy, how long to wait, whether keyrings are asked. More places to look at
(``extra-index-url``, ``find-links``) are another matter: pip takes the best file of all of them, uv the first index
that has a name. What comes from them has to be said in ``dsenv.toml`` (``elsewhere``).
https://pip.pypa.io/en/stable/topics/configuration/
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.errors import WrongUseError
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

_SYSTEM: Final = Path("/etc/pip.conf")
_SECTIONS: Final = ("global", "install")  # the weakest first: a command's own section beats the global one
_ENVIRONMENT: Final = "PIP_"
_ALIASES: Final = {"default-timeout": "timeout", "pypi-url": "index-url"}
Settings = Mapping[str, "Setting"]
"""What pip is told, by option: ``index-url``."""
_NOT_TAKEN: Final = ("client-cert", "trusted-host", "constraint")  # what pip would heed and uv is not told


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value that pip is given."""

    value: str
    origin: str  # "/etc/pip.conf", "PIP_INDEX_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A place beside the default index where pip looks, too."""

    option: str  # "extra-index-url" or "find-links"
    origin: str
    address: str  # may hold credentials

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this machine, which no other machine has."""
        return self.address.startswith("file:") or "://" not in self.address

    def __str__(self) -> str:
        return f"{self.option} {without_credentials(self.address)} ({self.origin})"


def read() -> Settings:
    """Return pip's settings that count for an installation, by option: ``index-url``.

    Raises:
        WrongUseError: A file of pip's is damaged.

    """
    found: dict[str, Setting] = {}
    by_section: dict[str, dict[str, Setting]] = {section: {} for section in _SECTIONS}
    for path in _files():
        parser = configparser.RawConfigParser()
        parser.optionxform = _normalized  # type: ignore[method-assign,assignment]  # what configparser offers for it
        try:
            parser.read_string(path.read_text("utf-8"), str(path))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (configparser.Error, UnicodeDecodeError) as error:
            raise WrongUseError(f"{path} cannot be read", cause=str(error), hint="Correct pip's settings.") from error
        for section in _SECTIONS:
            if parser.has_section(section):
                for option, value in parser.items(section):
                    by_section[section][option] = Setting(value=value, origin=str(path))
    for section in _SECTIONS:
        found.update(by_section[section])
    for name, value in os.environ.items():
        if name.startswith(_ENVIRONMENT) and name != "PIP_CONFIG_FILE":
            found[_normalized(name.removeprefix(_ENVIRONMENT))] = Setting(value=value, origin=name)
    return found


def elsewhere(settings: Settings) -> list[Elsewhere]:
    """Return the places beside the default index where pip looks, too."""
    return [
        Elsewhere(option=option, origin=settings[option].origin, address=address)
        for option in ("extra-index-url", "find-links")
        if option in settings
        for address in settings[option].value.split()
    ]


def asks_no_index(settings: Settings) -> str:
    """Return where pip is told to ask no index at all, or nothing."""
    setting = settings.get("no-index")
    return setting.origin if setting and setting.value.strip().lower() in {"1", "true", "yes", "y", "t", "on"} else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """How a setting of pip's is said to uv."""

    option: str
    names: tuple[str, ...]  # the variables that say it
    unless: tuple[str, ...] = ()  # variables and keys of uv's settings that have said it already


_MEANINGS: Final = (
    Meaning(option="index-url", names=("UV_DEFAULT_INDEX",)),
    Meaning(option="cert", names=("SSL_CERT_FILE",), unless=("SSL_CERT_DIR",)),
    Meaning(option="proxy", names=("HTTP_PROXY", "HTTPS_PROXY"), unless=("ALL_PROXY", "http-proxy", "https-proxy")),
    Meaning(option="timeout", names=("UV_HTTP_TIMEOUT",), unless=("UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT")),
    Meaning(option="keyring-provider", names=("UV_KEYRING_PROVIDER",), unless=("keyring-provider",)),
)


def for_uv(settings: Settings, said: Container[str], *, has_default: bool) -> dict[str, str]:
    """Return the variables that tell uv what pip is told.

    Args:
        settings: What ``read`` returned.
        said: The variables of the environment, which come first, and the keys of uv's own settings.
        has_default: Whether uv has a default index of its own.

    """
    found: dict[str, str] = {}
    for meaning in _MEANINGS:
        value = settings[meaning.option].value.strip() if meaning.option in settings else ""
        known = (*meaning.names, *meaning.unless)
        is_said = any(name in said or name.lower() in said for name in known)
        if value and not is_said and not (meaning.option == "index-url" and has_default):
            found.update(dict.fromkeys(meaning.names, _said(meaning.option, value)))
    return {name: value for name, value in found.items() if value}


def _said(option: str, value: str) -> str:
    if option == "proxy" and "://" not in value:
        return f"http://{value}"  # pip takes `user:password@host:port`
    if option == "keyring-provider" and value not in {"subprocess", "disabled"}:
        return ""  # uv can ask no keyring by import
    return value


def told(settings: Settings, taken: Mapping[str, str]) -> Iterator[str]:
    """Yield what was taken from pip's settings and what was not, a sentence each.

    Args:
        settings: What ``read`` returned.
        taken: What ``for_uv`` returned.

    """
    for meaning in _MEANINGS:
        if taken.keys() & {*meaning.names}:
            value = without_credentials(taken[meaning.names[0]])
            yield f"pip's {meaning.option} is taken: {value} ({settings[meaning.option].origin})"
    for option in _NOT_TAKEN:
        if option in settings:
            yield f"pip's {option} is not taken ({settings[option].origin})"
    for place in elsewhere(settings):
        if place.is_local:
            yield f"pip's {place} is not taken: no other machine has that directory"


def _files() -> list[Path]:
    """Return the files that pip reads, the strongest last."""
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []  # pip's own way to have none read
    home = Path("~").expanduser()
    shared = [Path(path) for path in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if path]
    files = [*(directory / "pip" / "pip.conf" for directory in shared), _SYSTEM]
    if not (named and Path(named).exists()):
        user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        files += [home / ".pip" / "pip.conf", user / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(named)] if named else files


def _normalized(name: str) -> str:
    option = name.lower().replace("_", "-").removeprefix("--")
    return _ALIASES.get(option, option)
