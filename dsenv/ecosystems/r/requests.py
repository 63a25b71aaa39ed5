"""One entry of ``[r] packages`` as a value: which package, from where, with which bounds.

Beside ``ggplot2>=3.4,<4`` the words of pak are read: ``bioc::limma``, ``user/repo@ref``, ``gitlab::…``, ``git::…``,
``url::…``, ``local::…``, ``cran::…``, ``name@1.2``. A word that dsenv has no answer to is refused with what to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from dsenv.ecosystems.r.versions import RVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# "Writing R Extensions" 1.1.1: ASCII letters, digits and dots, at least two, not ending in a dot.
NAME: Final = r"[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9]"
_VERSION: Final = r"[0-9]+(?:[.-][0-9]+)*"
_BOUND: Final = re.compile(rf"\s*(>=|<=|==|!=|>|<)\s*({_VERSION})\s*")
_ENTRY: Final = re.compile(rf"({NAME})\s*((?:(?:>=|<=|==|!=|>|<)[^,]*)(?:,[^,]*)*)?")
_AT: Final = re.compile(rf"({NAME})@\s*(>=|==)?\s*({_VERSION})")
_WORD: Final = re.compile(rf"(?:({NAME})=)?(?:([a-z]+)::)?(.*)", re.DOTALL)
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_FORGE: Final = re.compile(rf"({_PART})/({_PART})((?:/{_PART})*)(?:@([^\s@?#*]+))?")
_REV: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")
_GIT: Final = re.compile(
    r"((?:https?|git)://[^\s@#?/]+/[^\s@#?]+|ssh://(?:[\w.-]+@)?[^\s@#?/]+/[^\s@#?]+)(?:@([^\s@#?]+))?"
)
_URL: Final = re.compile(r"https?://[^\s#?]+\.(?:tar\.gz|tgz)")

FORGES: Final = {  # where pak looks for user/repo
    "github": "https://github.com/{}/{}.git",
    "gitlab": "https://gitlab.com/{}/{}.git",
    "bitbucket": "https://bitbucket.org/{}/{}.git",
}
WITH_R: Final = frozenset(  # R's own: no repository has them
    (
        *("base", "compiler", "datasets", "grDevices", "graphics", "grid", "methods"),
        *("parallel", "splines", "stats", "stats4", "tcltk", "tools", "utils"),
    )
)
_REFUSED: Final = {
    "deps": 'write `from = "DESCRIPTION"` for what a package needs',
    "installed": "an environment takes nothing that this machine has installed",
    "param": "pak's parameters are not understood",
    "svn": "Subversion is not supported: use a tarball's address, `{ url = … }`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A package's source outside of any repository."""

    kind: Literal["git", "url", "path"]
    url: str = ""  # of a git repository or a tarball
    rev: str = ""  # a branch, tag or commit; "" for the default branch
    subdirectory: str = ""  # of the git repository
    path: str = ""  # of a directory or tarball below the project's
    forge: str = ""  # "github" where that word was used: renv has fields of its own for it

    def __str__(self) -> str:
        if self.kind == "path":
            return self.path
        below = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        return f"{self.url}{f'@{self.rev}' if self.rev else ''}{below}"


@dataclass(frozen=True, slots=True)
class RPackageRequest:
    """An R package that somebody asked for, with the bounds for its version."""

    name: str  # "" where only its own DESCRIPTION can tell
    bounds: tuple[tuple[str, RVersion], ...] = ()
    repository: str = ""  # the only one that it may come from: "CRAN", "bioc"; "" for the first that has it
    remote: Remote | None = field(default=None)

    def allows(self, version: RVersion) -> bool:
        """Say whether ``version`` is within all bounds."""
        return all(version.satisfies(operator, bound) for operator, bound in self.bounds)

    def __str__(self) -> str:
        text = self.name + ",".join(f"{operator}{bound}" for operator, bound in self.bounds)
        if self.remote:
            return f"{text} @ {self.remote}" if text else str(self.remote)
        return f"{self.repository}::{text}" if self.repository else text


def parse_request(text: str) -> RPackageRequest:
    """Read one entry; raise ``ValueError`` with what was expected."""
    match = _WORD.fullmatch(text.strip())
    assert match  # noqa: S101 - the last group takes whatever there is
    name, word, rest = match[1] or "", match[2] or "", match[3]
    if name and not word and not _FORGE.fullmatch(rest):
        return _plain(text)  # "pkg==1.0" reads like "pkg" "=" "=1.0"
    if word in _REFUSED:
        raise ValueError(_REFUSED[word])
    if "?" in rest:
        msg = "pak's parameters (`?…`) are not understood"
        raise ValueError(msg)
    if word in _WORDS:
        return _WORDS[word](name, rest)
    if word:
        known = ", ".join(f"`{known}::`" for known in sorted(_WORDS) if known)
        msg = f"`{word}::` is not one of {known}"
        raise ValueError(msg)
    return _forge("github", name, rest) if "/" in rest else _plain(rest)


def _plain(text: str) -> RPackageRequest:
    """Read a name and its bounds, in R's or in pak's way."""
    text = text.strip()
    if match := _AT.fullmatch(text):
        return RPackageRequest(match[1], ((match[2] or "==", RVersion(match[3])),))
    match = _ENTRY.fullmatch(text)
    try:
        if match:
            return RPackageRequest(match[1], parse_bounds(match[2]) if match[2] else ())
    except ValueError:
        pass
    msg = "expected the name of an R package with optional bounds, such as `ggplot2>=3.4,<4`"
    raise ValueError(msg)


def parse_bounds(text: str) -> tuple[tuple[str, RVersion], ...]:
    """Read ``>=3.4,<4``; raise ``ValueError`` with what was expected."""
    found = [_BOUND.fullmatch(bound) for bound in text.split(",")]
    if not all(found):
        msg = "expected bounds such as `>=3.4,<4`"
        raise ValueError(msg)
    return tuple((match[1], RVersion(match[2])) for match in found if match)


def _of(repository: str) -> Callable[[str, str], RPackageRequest]:
    """Return the reader of what follows a repository's word."""

    def read(name: str, rest: str) -> RPackageRequest:
        del name
        found = _plain(rest)
        return RPackageRequest(found.name, found.bounds, repository)

    return read


def _from(forge: str) -> Callable[[str, str], RPackageRequest]:
    return lambda name, rest: _forge(forge, name, rest)


def _forge(forge: str, name: str, rest: str) -> RPackageRequest:
    """Read ``user/repo/subdirectory@rev``, and ``user/repo#42`` for the state of a pull request."""
    pull = re.fullmatch(r"([^#]+)#([0-9]+)", rest)
    match = _FORGE.fullmatch(pull[1] if pull else rest)
    if match is None or (pull and (match[4] or forge != "github")):
        msg = (
            "expected `user/repo`, with `/subdirectory`, and `@` with a branch, tag or commit, such as `user/repo@v1.2`"
        )
        raise ValueError(msg)
    remote = Remote(
        kind="git",
        url=FORGES[forge].format(match[1], match[2].removesuffix(".git")),
        rev=f"refs/pull/{pull[2]}/head" if pull else check_rev(match[4] or ""),
        subdirectory=check_subdirectory(match[3].strip("/")),
        forge=forge,
    )
    return RPackageRequest(name, remote=remote)


def _git(name: str, rest: str) -> RPackageRequest:
    match = _GIT.fullmatch(rest)
    if match is None:
        msg = "expected a git repository's address, such as `git::https://git.example/repo.git@v1.2`"
        raise ValueError(msg)
    return RPackageRequest(name, remote=Remote(kind="git", url=match[1], rev=check_rev(match[2] or "")))


def _url(name: str, rest: str) -> RPackageRequest:
    return RPackageRequest(name, remote=Remote(kind="url", url=check_tarball(rest)))


def _local(name: str, rest: str) -> RPackageRequest:
    return RPackageRequest(name, remote=Remote(kind="path", path=check_path(rest)))


_WORDS: Final[Mapping[str, Callable[[str, str], RPackageRequest]]] = {
    "any": lambda _name, rest: _plain(rest),
    "standard": lambda _name, rest: _plain(rest),
    "bioc": _of("bioc"),
    "cran": _of("CRAN"),
    **{forge: _from(forge) for forge in FORGES},
    "git": _git,
    "local": _local,
    "url": _url,
}


def check_rev(text: str) -> str:
    """Return what git may be asked for, "" included; raise ``ValueError``."""
    if text and (not _REV.fullmatch(text) or ".." in text or text.endswith((".lock", "/"))):
        msg = "expected a branch, tag or commit after `@`, such as `v1.2`"
        raise ValueError(msg)
    return text


def check_subdirectory(text: str) -> str:
    """Return a directory of a repository, "" for its root; raise ``ValueError``."""
    if text and not all(re.fullmatch(_PART, part) for part in text.split("/")):
        msg = "expected a directory of the repository, such as `pkgs/core`"
        raise ValueError(msg)
    return text


def check_path(text: str) -> str:
    """Return a path below the project, normalized; raise ``ValueError``."""
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if not text or text.startswith(("/", "~")) or ".." in parts or re.search(r"[\x00-\x1f\x7f\\]", text):
        msg = "expected a path inside the project, such as `pkgs/own`"
        raise ValueError(msg)
    return "/".join(parts) or "."


def check_tarball(text: str) -> str:
    """Return the address of a source tarball; raise ``ValueError``."""
    if not _URL.fullmatch(text) or "@" in text.partition("://")[2].partition("/")[0]:
        msg = "expected the address of a source tarball without user and password, ending in `.tar.gz`"
        raise ValueError(msg)
    return text


def check_git(text: str) -> str:
    """Return the address of a git repository; raise ``ValueError``."""
    match = _GIT.fullmatch(text)
    if match is None or match[2]:
        msg = "expected a git repository's address without a password, such as `https://git.example/repo.git`"
        raise ValueError(msg)
    return text
