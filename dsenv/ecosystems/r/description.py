"""What an R package says of itself: its DESCRIPTION file, and the row that an index makes of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsenv.formats.deb822 import Stanza

PATH: Final = re.compile(r"usr/lib/R/(?:site-library|library)/[A-Za-z0-9.]+/DESCRIPTION")
"""Where a Debian package has the DESCRIPTION of its R package."""

HARD: Final = ("Depends", "Imports", "LinkingTo")
"""The fields that name what a package cannot do without when it is built."""

_ITEM: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9.]*)\s*(?:\(\s*(>=|<=|==|!=|>|<)\s*([0-9]+(?:[.-][0-9]+)*)\s*\))?.*", re.DOTALL
)
_BUILT: Final = re.compile(r"R ([0-9]+\.[0-9]+(?:\.[0-9]+)?); ?([A-Za-z0-9_.+-]*) ?;[^;]*; ?(unix|windows)")
_DATES: Final = ("Published", "Date/Publication", "Packaged")  # an index's own word first
_HASHED: Final = (  # renv 1.x, R/hash.R: what its record hash covers, beside the Remote fields
    "Author",
    "Depends",
    "Description",
    "Imports",
    "LinkingTo",
    "Maintainer",
    "Package",
    "Suggests",
    "Title",
    "Version",
)


@dataclass(frozen=True, slots=True)
class Dependency:
    """A package that another one needs, R itself among them."""

    name: str
    operator: str = ""  # "" for any version
    version: RVersion | None = None

    def allows(self, version: RVersion) -> bool:
        """Say whether a version will do."""
        return self.version is None or version.satisfies(self.operator, self.version)

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.version else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a package says of how it was built, in the field ``Built``."""

    r: RVersion
    platform: str  # "x86_64-pc-linux-gnu"; "" where it has no code of its own
    system: str  # "unix", "windows"


def built(description: Mapping[str, str]) -> Built | None:
    """Return what the field ``Built`` says, ``None`` where it is missing or says nothing: that is a source.

    R writes ``R 4.2.2; x86_64-pc-linux-gnu; 2026-11-20 10:00:00 UTC; unix``.
    """
    match = _BUILT.fullmatch(" ".join(description.get("Built", "").split()))
    return Built(r=RVersion(match[1]), platform=match[2], system=match[3]) if match else None


def check_title(stanza: Stanza, filename: str, wanted: str) -> None:
    """Raise ``IntegrityError`` where a file is of another package or version than ``dplyr 1.1.4``."""
    says = f"{stanza.get('Package', 'no name')} {stanza.get('Version', 'without a version')}"
    if says != wanted:
        raise IntegrityError(
            f"{filename} says that it is {says}, not {wanted}",
            hint="The repository is broken, or somebody put another file in its place.",
        )


def version(description: Stanza) -> RVersion:
    """Return the package's version."""
    return RVersion(description["Version"])


def dependencies(description: Mapping[str, str], fields: tuple[str, ...] = HARD) -> Iterator[Dependency]:
    """Yield what some fields name, as they come; what cannot be read of a bound is no bound, as in R itself."""
    for field in fields:
        for item in description.get(field, "").split(","):
            match = _ITEM.match(item.strip())
            if match:
                bound = RVersion(match[3]) if match[3] else None
                yield Dependency(match[1], match[2] or "", bound)


def requires(description: Stanza) -> list[str]:
    """Return the names that the package depends on, ``R`` and R's own packages included, sorted as in the C locale."""
    return sorted({dependency.name for dependency in dependencies(description)})


def published(description: Mapping[str, str]) -> date | None:
    """Return the day on which a package came out, ``None`` where that is not said."""
    for field in _DATES:
        match = re.match(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", description.get(field, ""))
        if match:
            try:
                return date(int(match[1]), int(match[2]), int(match[3]))
            except ValueError:
                continue
    return None


def renv_hash(description: Stanza, remote: Mapping[str, str] | None = None) -> str:
    """Return the hash that renv records for an installed package: of its metadata, saying nothing of its files.

    It is "" where only R could tell: it makes Author and Maintainer of ``Authors@R`` when it installs.

    Args:
        description: The package's own.
        remote: The Remote fields that renv's record has, for a package that is from no repository.

    """
    if "Authors@R" in description and not {"Author", "Maintainer"} <= description.keys():
        return ""
    fields: dict[str, str] = {field: description[field] for field in _HASHED if field in description}
    fields |= {field: value for field, value in (remote or {}).items() if (field, value) != ("RemoteRef", "HEAD")}
    text = re.sub(r"\s", "", "\n".join(f"{field}: {fields[field]}" for field in sorted(fields)))
    return hashlib.md5(f"{text}\n".encode(), usedforsecurity=False).hexdigest()
