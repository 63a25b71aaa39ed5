"""What an R package says of itself: its DESCRIPTION file."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.r.versions import RVersion

if TYPE_CHECKING:
    from dsenv.formats.deb822 import Stanza

PATH: Final = re.compile(r"usr/lib/R/(?:site-library|library)/[A-Za-z0-9.]+/DESCRIPTION")
"""Where a Debian package has the DESCRIPTION of its R package."""

_HASHED: Final = (  # renv 1.x, R/hash.R: what its record hash covers, for packages of a repository
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


def version(description: Stanza) -> RVersion:
    """Return the package's version."""
    return RVersion(description["Version"])


def requires(description: Stanza) -> list[str]:
    """Return the names that the package depends on, ``R`` and R's own packages included, sorted as in the C locale."""
    names: set[str] = set()
    for field in ("Depends", "Imports", "LinkingTo"):
        for item in description.get(field, "").split(","):
            if name := item.partition("(")[0].strip():
                names.add(name)
    return sorted(names)


def renv_hash(description: Stanza) -> str:
    """Return the hash that renv records for an installed package: of its metadata, saying nothing of its files."""
    lines = [f"{field}: {description[field]}" for field in _HASHED if field in description]
    text = re.sub(r"\s", "", "\n".join(lines))
    return hashlib.md5(f"{text}\n".encode(), usedforsecurity=False).hexdigest()
