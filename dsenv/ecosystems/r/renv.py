"""The export for renv and Posit's tools: ``renv.lock`` with v1 records.

It is never read back: ``renv::snapshot()`` drops what it does not know, a record cannot hold one artifact a target,
and its hash is one of metadata. A file that somebody else wrote or changed is never overwritten; ours carries a
digest of its own records.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dsenv.pins import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Final = "renv.lock"
_MARK: Final = "Dsenv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What renv wants to know of a package."""

    name: str
    version: str
    requires: tuple[str, ...]  # names, R and its own packages included
    hash: str  # renv's own, of the package's DESCRIPTION; "" where only R can tell
    source: str = "Repository"  # "GitHub", "Bioconductor", …
    repository: str = "CRAN"  # "" for none
    remote: Mapping[str, str] = field(default_factory=dict)  # the fields by which renv finds the source again


def export(version: str, packages: Iterable[Record], repositories: Mapping[str, str], bioconductor: str = "") -> str:
    """Return the text of a renv.lock.

    Args:
        version: R's: ``4.2.2``.
        packages: Sorted by name.
        repositories: Addresses by name; none for those that the R installation has set.
        bioconductor: Its release, "" where no package is from there.

    """
    records = {package.name: _record(package) for package in packages}
    rows = [{"Name": name, "URL": url} for name, url in repositories.items()]
    document: dict[str, Any] = {"R": {"Version": version, "Repositories": rows}}
    if bioconductor:
        document["Bioconductor"] = {"Version": bioconductor}
    document["Packages"] = records
    return json.dumps({**document, _MARK: {"Records": digest(document)}}, indent=2) + "\n"


def is_ours(text: str) -> bool:
    """Say whether a renv.lock is an export that nobody changed."""
    try:
        document = json.loads(text)
        mark = document.pop(_MARK)["Records"]
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
        return False
    return bool(mark == digest(document))


def _record(package: Record) -> dict[str, Any]:
    record: dict[str, Any] = {"Package": package.name, "Version": package.version, "Source": package.source}
    if package.repository:
        record["Repository"] = package.repository
    record |= package.remote
    record["Requirements"] = list(package.requires)
    if package.hash:
        record["Hash"] = package.hash
    return record


def remote(kind: str, source: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return renv's word for a source that is no repository, and its Remote fields.

    Args:
        kind: ``git``, ``url`` or ``path``.
        source: What is locked of it: ``url``, ``ref``, ``commit``, ``subdirectory``, ``path``, ``forge``.

    """
    if kind == "path":
        return "Local", {"RemoteType": "local", "RemoteUrl": source["path"]}
    if kind == "url":
        return "URL", {"RemoteType": "url", "RemoteUrl": source["url"]}
    match = re.fullmatch(r"https://([^/]+)/([^/]+)/([^/]+?)(?:\.git)?", source["url"])
    fields: dict[str, str]
    if source["forge"] in _FORGES and match:
        word, kind, host = _FORGES[source["forge"]]
        fields = {"RemoteType": kind, "RemoteHost": host, "RemoteUsername": match[2], "RemoteRepo": match[3]}
    else:
        word, fields = "git", {"RemoteType": "git", "RemoteUrl": source["url"]}
    fields |= {"RemoteRef": source["ref"] or "HEAD", "RemoteSha": source["commit"]}
    if source["subdirectory"]:
        fields["RemoteSubdir"] = source["subdirectory"]
    return word, fields


_FORGES: Final = {
    "github": ("GitHub", "github", "api.github.com"),
    "gitlab": ("GitLab", "gitlab", "gitlab.com"),
    "bitbucket": ("Bitbucket", "bitbucket", "api.bitbucket.org/2.0"),
}
