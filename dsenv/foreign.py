"""What others say and serve, as values: another tool's lock, a file in place of the one that is locked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.errors import DsenvError


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What a lock file that another tool wrote says."""

    filename: str  # "pylock.toml"
    tool: str  # as it calls itself: "uv"
    pins: Any  # the ecosystem's own model, as far as it can be filled: to be preferred
    count: int  # of versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What another tool's lock says, as an ecosystem's table in dsenv.toml."""

    tool: str  # "renv"
    table: Mapping[str, Any]
    count: int  # of packages
    lost: tuple[str, ...] = ()  # what could not be kept, a sentence each


@dataclass(frozen=True, slots=True, kw_only=True)
class Repack:
    """What the addresses of a package serve instead of what is locked, under the same version."""

    package: str
    harmless: bool  # whether its content is the same
    error: DsenvError  # for whoever came upon it
    pins: Any  # the ecosystem's pins as they are once it is accepted
