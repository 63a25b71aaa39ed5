"""Which repositories R is told of: what ``"CRAN"`` in ``dsenv.toml`` stands for on this machine.

In this order: the file that ``R_REPOSITORIES`` names, the options of the R that is installed here (its and the
user's profile set them), the same profiles where no R is installed, and the site profile of the R that is locked.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.errors import ToolError, WrongUseError
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SITE: Final = ("/etc/R/Rprofile.site", "/usr/lib/R/etc/Rprofile.site", "/usr/local/lib/R/etc/Rprofile.site")
_UNSET: Final = "@CRAN@"  # what R puts where nobody has chosen a mirror
_ADDRESS: Final = r"""["'](https?://[^"'\s]+)["']"""
_VECTOR: Final = re.compile(r"\brepos\s*=\s*(?:c|list)\s*\(((?:[^()]|\([^()]*\))*)\)", re.DOTALL)
_ITEM: Final = re.compile(rf"[\"'`]?([A-Za-z][\w.-]*)[\"'`]?\s*=\s*{_ADDRESS}")
_ONE: Final = re.compile(rf"\brepos\s*=\s*{_ADDRESS}")
_SET: Final = re.compile(rf"\[\[?\s*[\"']([A-Za-z][\w.-]*)[\"']\s*\]\]?\s*(?:<-|=)\s*{_ADDRESS}")
_BIOC: Final = re.compile(rf"\bBioC_mirror\s*=\s*{_ADDRESS}")
_ASK: Final = """\
r <- getOption("repos"); b <- getOption("BioC_mirror")
cat(sprintf("\\n@repos\\t%s\\t%s", if (is.null(names(r))) rep("CRAN", length(r)) else names(r), unlist(r)), sep = "")
cat(sprintf("\\n@bioc\\t\\t%s\\n", if (is.null(b)) "" else b), sep = "")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What R is told."""

    repositories: Mapping[str, str] = field(default_factory=dict)  # address by name, in order
    bioc_mirror: str = ""
    where: str = ""  # for a person: "/etc/R/Rprofile.site"


def read(locked_profile: str) -> Configured:
    """Return what R is told on this machine; of several places the first one that names a repository counts.

    Args:
        locked_profile: The text of the locked R's own site profile.

    Raises:
        WrongUseError: ``R_REPOSITORIES`` names a file that is not there.

    """
    found = [*_places(), _profile(locked_profile, "the locked R's own Rprofile.site")]
    first = next((one for one in found if one.repositories), Configured())
    mirror = next((one.bioc_mirror for one in found if one.bioc_mirror), "")
    return Configured(repositories=first.repositories, bioc_mirror=mirror, where=first.where)


def _places() -> Iterator[Configured]:
    named = os.environ.get("R_REPOSITORIES", "")
    if named not in {"", "NULL"}:
        yield _repositories_file(Path(named))
    program = process.find("Rscript")
    if program:
        yield _installed(program)
    else:
        user = os.environ.get("R_PROFILE_USER") or str(Path.home() / ".Rprofile")
        for path in (user, os.environ.get("R_PROFILE", ""), *_SITE):
            if path and Path(path).is_file():
                yield _profile(Path(path).read_text("utf-8", "replace"), path)


def _repositories_file(path: Path) -> Configured:
    """Read a file in the form of R's ``etc/repositories``: a table whose rows are named, the defaults marked."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUseError(f"R_REPOSITORIES names {path}, which cannot be read", cause=str(error)) from error
    rows = [
        row for row in csv.reader(lines, delimiter="\t", skipinitialspace=True) if row and not row[0].startswith("#")
    ]
    found = {}
    for row in rows[1:]:  # the first one names the columns, without one for the rows' names
        columns = dict(zip(["name", *rows[0]], row, strict=False))
        url = columns.get("URL", "")
        if columns.get("default", "").upper() == "TRUE" and url.startswith(("http://", "https://")):
            found[columns["name"]] = _plain(url)
    return Configured(repositories=found, where=f"{path} (R_REPOSITORIES)")


def _installed(program: str) -> Configured:
    """Ask the R of this machine, in a directory without a profile of its own."""
    try:
        completed = process.run([program, "--no-save", "-e", _ASK], cwd=Path("/"))
    except ToolError:
        return Configured()  # a broken R says nothing; whoever needs an answer says which key to write
    found: dict[str, str] = {}
    mirror = ""
    for line in completed.stdout.splitlines():
        kind, _, rest = line.partition("\t")
        name, _, url = rest.partition("\t")
        if kind == "@repos" and url.startswith(("http://", "https://")):
            found[name or "CRAN"] = _plain(url)
        elif kind == "@bioc":
            mirror = _plain(url)
    return Configured(repositories=found, bioc_mirror=mirror, where="the options of R on this machine")


def _profile(text: str, where: str) -> Configured:
    """Read what a profile sets in the plain forms that people write; it is not run."""
    code = "\n".join(re.sub(r"(?m)^\s*#.*$", "", line) for line in text.splitlines())
    found: dict[str, str] = {}
    for vector in _VECTOR.finditer(code):
        found.update((match[1], _plain(match[2])) for match in _ITEM.finditer(vector[1]))
    found.update(("CRAN", _plain(match[1])) for match in _ONE.finditer(code))
    found.update((match[1], _plain(match[2])) for match in _SET.finditer(code))
    mirror = _BIOC.search(code)
    return Configured(repositories=found, bioc_mirror=_plain(mirror[1]) if mirror else "", where=where)


def _plain(url: str) -> str:
    """Return a repository's address for sources: without the part that asks for one distribution's built packages."""
    return re.sub(r"/__linux__/[^/]+", "", url).rstrip("/")
