"""The export for renv and Posit's tools: ``renv.lock`` with v1 records.

It is never read back: ``renv::snapshot()`` drops what it does not know, a record cannot hold one artifact a target,
and its hash is one of metadata. A file that somebody else wrote or changed is never overwritten; ours carries a
digest of its own records.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dsenv.pins import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE: Final = "renv.lock"
_MARK: Final = "Dsenv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What renv wants to know of a package."""

    name: str
    version: str
    requires: tuple[str, ...]  # names, R and its own packages included
    hash: str  # renv's own, of the package's DESCRIPTION


def export(version: str, packages: Iterable[Record]) -> str:
    """Return the text of a renv.lock.

    Args:
        version: R's: ``4.2.2``.
        packages: Sorted by name.

    """
    records = {
        package.name: {
            "Package": package.name,
            "Version": package.version,
            "Source": "Repository",
            "Repository": "CRAN",
            "Requirements": list(package.requires),
            "Hash": package.hash,
        }
        for package in packages
    }
    document = _document(version, records)
    return json.dumps({**document, _MARK: {"Records": digest(document)}}, indent=2) + "\n"


def is_ours(text: str) -> bool:
    """Say whether a renv.lock is an export that nobody changed."""
    try:
        document = json.loads(text)
        mark = document.pop(_MARK)["Records"]
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
        return False
    return bool(mark == digest(document))


def _document(version: str, records: dict[str, Any]) -> dict[str, Any]:
    # No repository is named: renv then takes those of the R installation, as dsenv does.
    return {"R": {"Version": version, "Repositories": []}, "Packages": records}
