"""Locks of other tools, said in words of ``dsenv.toml``: renv.lock, rv.lock, and pak's pkg.lock.

Versions become pins: ``==`` for what nothing else in the lock needs, constraints for the rest. What has no word in
``dsenv.toml``, or cannot be had by anybody else, is told.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystems.r import requests
from dsenv.ecosystems.r.requests import WITH_R, parse_request
from dsenv.errors import LockFormatError
from dsenv.foreign import Translation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dsenv.ecosystem import Table

_EDGES: Final = ("Requirements", "Depends", "Imports", "LinkingTo")
_FORGES: Final = {"api.github.com": "github.com", "api.bitbucket.org/2.0": "bitbucket.org"}


@dataclass(slots=True)
class _Found:
    """What a lock says."""

    tool: str
    version: str  # R's
    repositories: dict[str, str] = field(default_factory=dict)  # address by name
    bioconductor: str = ""
    entries: dict[str, str | Table] = field(default_factory=dict)  # by name: an entry of [r] packages
    needed: set[str] = field(default_factory=set)  # names that others need
    lost: list[str] = field(default_factory=list)

    def put(self, name: str, version: str, *, word: str = "") -> None:
        """Note a version of a repository's package."""
        if name in WITH_R or name == "R":
            return
        try:
            parse_request(f"{name}=={version}")
        except ValueError:
            self.lost.append(f"{name} {version}: no name and version of an R package")
        else:
            self.entries[name] = f"{word}{name}=={version}"

    def place(self, name: str, table: Mapping[str, str]) -> None:
        """Note a package of a source of its own."""
        checks = {"git": requests.check_git, "rev": requests.check_rev, "url": requests.check_tarball}
        checks["subdirectory"] = requests.check_subdirectory
        try:
            parse_request(name)
            for key, value in table.items():
                checks[key](value)
        except ValueError as error:
            self.lost.append(f"{name}: {error}")
        else:
            self.entries[name] = {"name": name, **{key: value for key, value in table.items() if value}}


def obstacles(directory: Path) -> tuple[str, ...]:
    """Return what another tool has left in a project that would take R's libraries over, with the way out."""
    try:
        profile = (directory / ".Rprofile").read_text("utf-8", "replace")
    except OSError:
        return ()
    match = re.search(r"(?m)^[^#\n]*\bsource\(\s*[\"']((?:renv|packrat|rv)/[^\"']+)[\"']", profile)
    if match is None:
        return ()
    tool = match[1].partition("/")[0]
    taking = "; `dsenv init --from renv.lock` takes its versions over" if tool == "renv" else ""
    effect = f"which puts {tool}'s library in place of the environment's"
    return (f".Rprofile sources {match[1]}, {effect}: delete that line{taking}",)


def translate(filename: str, text: str) -> Translation | None:
    """Return what another tool's lock says, as the table ``[r]``; ``None`` when the file is none of those.

    Raises:
        LockFormatError: It is, and cannot be read.

    """
    readers: dict[str, Callable[[str], _Found]] = {"renv.lock": _renv, "rv.lock": _rv, "pkg.lock": _pak}
    if filename not in readers:
        return None
    try:
        found = readers[filename](text)
        table = _table(found)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise LockFormatError(f"{filename} cannot be read", cause=f"{type(error).__name__}: {error}") from error
    return Translation(tool=found.tool, table=table, count=len(found.entries), lost=tuple(sorted(found.lost)))


def _table(found: _Found) -> Table:
    version = re.search(r"[0-9]+\.[0-9]+", found.version)
    if version is None:
        msg = f"{found.version!r} is no version of R"
        raise ValueError(msg)
    free = {name for name in found.entries if name not in found.needed} or set(found.entries)
    packages: list[str | Table] = []
    constraints: list[str | Table] = []
    for name, entry in sorted(found.entries.items()):
        is_plain = isinstance(entry, str) and "::" not in entry  # a bound alone cannot say where a package is from
        (constraints if is_plain and name not in free else packages).append(entry)
    repositories = [{"name": name, "url": url} for name, url in found.repositories.items()]
    table: Table = {
        "version": version[0],
        "repositories": repositories or ["CRAN"],
        "packages": packages,
        "constraints": constraints,
    }
    if found.bioconductor:
        table["bioconductor"] = {"version": found.bioconductor}
    return {key: value for key, value in table.items() if value}


def _renv(text: str) -> _Found:
    """Read renv's lock, whichever of its two kinds of records it has."""
    document = json.loads(text)
    found = _Found("renv", document["R"]["Version"])
    for row in document["R"].get("Repositories") or ():
        found.repositories[_name(row["Name"])] = _address(row["URL"])
    found.bioconductor = (document.get("Bioconductor") or {}).get("Version", "")
    if python := document.get("Python"):
        found.lost.append(f"Python {python.get('Version', '')}: write [python] if the project needs it")
    for name, record in document["Packages"].items():
        found.needed |= set(_needs(record))
        _record(found, name, record)
    return found


def _needs(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that a record needs: a list, or fields of DESCRIPTION as lists."""
    for key in _EDGES:
        value = record.get(key) or ()
        for item in value.split(",") if isinstance(value, str) else value:
            yield re.split(r"[\s(]", item.strip(), maxsplit=1)[0]


def _record(found: _Found, name: str, record: Mapping[str, Any]) -> None:
    source, version = str(record.get("Source", "unknown")), str(record["Version"])
    kind = source.lower()
    if kind in {"repository", "cran", "standard"}:
        found.put(name, version)
        where = str(record.get("Repository", ""))
        if re.match(r"https?://", where) and _address(where) not in found.repositories.values():
            found.repositories[f"repository{len(found.repositories) + 1}"] = _address(where)
    elif kind in {"bioconductor", "bioc"}:
        found.put(name, version, word="bioc::")
    elif kind in {*requests.FORGES, "git", "git2r", "xgit"}:
        found.place(name, _git(kind, record))
    elif kind == "url":
        found.place(name, {"url": str(record.get("RemoteUrl", ""))})
    else:
        origin = record.get("RemoteUrl") or record.get("Path") or "an unknown place"
        found.lost.append(f"{name} {version}, from {origin}: put it into the project and name it by `path`")


def _git(kind: str, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the entry for a git repository's package, pinned to its commit."""
    if kind in requests.FORGES:
        host = str(record.get("RemoteHost") or f"{kind}.com")
        host = _FORGES.get(host, host.removesuffix("/api/v3"))
        url = f"https://{host}/{record['RemoteUsername']}/{record['RemoteRepo']}.git"
    else:
        url = str(record.get("RemoteUrl", ""))
    if match := re.fullmatch(r"git@([\w.-]+):(.+)", url):
        url = f"ssh://git@{match[1]}/{match[2]}"
    rev = str(record.get("RemoteSha") or record.get("RemoteRef") or "")
    return {"git": url, "rev": rev, "subdirectory": str(record.get("RemoteSubdir") or "")}


def _rv(text: str) -> _Found:
    """Read rv's lock, of either version."""
    document = tomllib.loads(text)
    found = _Found("rv", str(document["r_version"]))
    for row in document.get("packages", ()):
        name, version, source = row["name"], row["version"], row["source"]
        edges = [item if isinstance(item, str) else item["name"] for item in row.get("dependencies", ())]
        found.needed |= {*edges}
        repository = source.get("repository") or (source.get("url") if "name" in source else None)
        if source.get("builtin"):
            continue
        if "git" in source:
            url = source["git"].rstrip("/")
            found.place(name, {"git": url, "rev": source["sha"], "subdirectory": source.get("directory") or ""})
        elif repository:
            found.put(name, version)
            address = _address(repository)
            if address not in found.repositories.values():
                fallback = "CRAN" if not found.repositories else f"repository{len(found.repositories) + 1}"
                found.repositories[_name(source.get("name", fallback))] = address
        elif "url" in source:
            found.place(name, {"url": source["url"]})
        else:
            found.lost.append(f"{name} {version}, from {source.get('path')}: name it by `path`, inside of the project")
    return found


def _pak(text: str) -> _Found:
    """Read pak's lock."""
    document = json.loads(text)
    if document["lockfile_version"] != 1:
        msg = f"its format {document['lockfile_version']} is not known"
        raise ValueError(msg)
    found = _Found("pak", document["r_version"])
    direct = set()
    for row in document["packages"]:
        name, kind = row["package"], row["type"]
        metadata = row.get("metadata") or {}
        if row.get("direct") or row.get("directpkg"):
            direct.add(name)
        _record(found, name, {**metadata, "Source": kind, "Version": row["version"]})
        repository = metadata.get("RemoteRepos") or ""
        if kind in {"cran", "standard"} and repository and _address(repository) not in found.repositories.values():
            fallback = "CRAN" if not found.repositories else f"repository{len(found.repositories) + 1}"
            found.repositories[fallback] = _address(repository)
    found.needed = set(found.entries) - direct
    return found


def _name(text: str) -> str:
    """Return a repository's name as one may be written."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", text) or "repository"


def _address(url: str) -> str:
    """Return a repository's address for sources, without the part for one distribution's built packages."""
    return re.sub(r"/__linux__/[^/]+", "", url).rstrip("/")
