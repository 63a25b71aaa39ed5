"""A requirement that names its own source: a git repository, a file at an address, a path of the project.

A person writes it as PEP 508 has it, or as a table with the names that uv has. Inside it is always text, so that
whatever reads requirements reads it, too::

    mypkg[extra] @ git+https://host/repo@v1.2#subdirectory=py ; sys_platform == 'linux'
    x @ https://host/x-1.0-py3-none-any.whl#sha256=…
    own @ ./pkgs/own#editable=true
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self
from urllib.parse import parse_qsl, quote, unquote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import Discriminator, Field, Tag, model_validator

from dsenv import addresses
from dsenv.model import Array, Model, Text, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_SDISTS: Final = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar")
_GIT: Final = re.compile(r"(https?|ssh|git|file)://\S+")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
Kind = Literal["git", "url", "path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The source that a requirement names."""

    name: str  # normalized
    kind: Kind
    place: str  # "https://host/repo", "https://host/x-1.0.tar.gz", "pkgs/own"; variables are not filled in
    revision: str = ""  # "v1.2", "refs/heads/main"; "" for the default branch
    subdirectory: str = ""
    editable: bool = False
    sha256: str = ""  # what the address itself promises

    @property
    def suffix(self) -> str:
        """How a file's name ends, ``.whl``; nothing for a directory."""
        name = self.place.rpartition("/")[2].lower()
        return next((suffix for suffix in (".whl", *_SDISTS) if name.endswith(suffix)), "")


def read(text: str) -> Reference | None:
    """Return the source that a requirement names, or ``None`` where it is to come from an index.

    Raises:
        ValueError: It names something that cannot be one; the message says what was expected.

    """
    requirement = Requirement(text)
    if requirement.url is None:
        return None
    address, _, fragment = requirement.url.partition("#")
    facts = dict(parse_qsl(fragment, keep_blank_values=True))
    found = Reference(
        name=str(canonicalize_name(requirement.name)),
        subdirectory=_inner(facts.pop("subdirectory", "")),
        editable=facts.pop("editable", "") == "true",
        sha256=facts.pop("sha256", ""),
        **_place(address),
    )
    facts.pop("egg", "")  # what pip wanted before a name stood in front
    if facts:
        msg = f"expected `#subdirectory=` or `#sha256=` behind an address, not `#{next(iter(facts))}=`"
        raise ValueError(msg)
    if found.sha256 and not (_HASH.fullmatch(found.sha256) and found.kind == "url"):
        msg = "expected 64 hexadecimal digits behind `#sha256=`, and that only for a file at an address"
        raise ValueError(msg)
    if found.kind == "url" and not found.suffix:
        msg = "expected a wheel or an sdist behind the address: `.whl`, `.tar.gz` or `.zip`"
        raise ValueError(msg)
    if found.editable and (found.kind != "path" or found.suffix):
        msg = "only a directory of the project can be editable"
        raise ValueError(msg)
    return found


def all_of(texts: Iterable[str]) -> list[Reference]:
    """Return the sources that requirements name, each once, in order."""
    return list(dict.fromkeys(found for text in texts if (found := read(text))))


def public(text: str) -> str:
    """Return a requirement in its canonical form, without who one is at a server."""
    requirement = Requirement(text)
    if requirement.url:
        requirement.url = addresses.public(requirement.url)
    return str(requirement)


def _place(address: str) -> dict[str, Any]:
    """Return what an address is, and where: the fields of a ``Reference``."""
    if address.startswith("git+"):
        place, _, revision = _split(address.removeprefix("git+"))
        addresses.check_secrets(place)
        if not _GIT.fullmatch(place) or (place.startswith("ssh:") and addresses.VARIABLE.search(place)):
            msg = "expected `git+https://host/repository` or `git+ssh://git@host/repository`"
            raise ValueError(msg)
        if revision and not is_revision(revision):
            msg = f"expected a tag, a branch or a commit behind `@`, not `{revision}`"
            raise ValueError(msg)
        return {"kind": "git", "place": place, "revision": revision}
    if re.match(r"https?://", address) or addresses.VARIABLE.match(address):
        return {"kind": "url", "place": addresses.check(address)}
    if "://" in address or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", address):
        msg = "expected `git+https://…`, `https://…`, or a path of the project such as `./pkgs/own`"
        raise ValueError(msg)
    return {"kind": "path", "place": inside(unquote(address))}


def _split(address: str) -> tuple[str, str, str]:
    """Return a repository's address and what stands behind its ``@``: a branch may have a slash in its name."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    place, at, revision = path.partition("@")
    return f"{scheme}://{host}{slash}{place}", at, revision


def is_revision(text: str) -> bool:
    """Say whether git could know something by that name; never an option or a range."""
    return bool(_REVISION.fullmatch(text)) and ".." not in text and not text.endswith((".lock", "/", "."))


def inside(text: str) -> str:
    """Return a path below the project's directory in its plain form; raise ``ValueError`` for any other path."""
    path = PurePosixPath(printable(text))
    if path.is_absolute() or ".." in path.parts or "\\" in text or re.match(r"[A-Za-z]:", text):
        msg = "expected a path inside the project, such as `pkgs/own`: other machines do not have what lies elsewhere"
        raise ValueError(msg)
    return str(path)


def _inner(text: str) -> str:
    path = PurePosixPath(printable(text))
    if path.is_absolute() or ".." in path.parts:
        msg = "expected a directory inside of what is fetched, such as `python`"
        raise ValueError(msg)
    return "" if str(path) == "." else str(path)


class Table(Model):
    """A requirement with its source, in the names that uv has."""

    name: Text = Field(description="The package's name.")
    git: Text | None = Field(default=None, description="A repository: `https://host/repository`.")
    tag: Text | None = Field(default=None, description="A tag of the repository.")
    branch: Text | None = Field(default=None, description="A branch; its commit stays until it is upgraded.")
    rev: Text | None = Field(default=None, description="A commit, or anything that git knows by a name.")
    url: Text | None = Field(default=None, description="The address of a wheel or an sdist.")
    path: Text | None = Field(
        default=None, description="A directory, a wheel or an sdist of the project, beside `dsenv.toml`."
    )
    subdirectory: Text | None = Field(default=None, description="Where in it the package lies, if not at its top.")
    editable: bool = Field(
        default=False, description="Whether the environment leads to the directory instead of holding a copy."
    )
    extras: Array[Text] = Field(default=(), description="Extras of the package.")
    marker: Text | None = Field(default=None, description="On which machines: `sys_platform == 'linux'`.")

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if sum(value is not None for value in (self.git, self.url, self.path)) != 1:
            msg = "expected one of `git`, `url` and `path`"
            raise ValueError(msg)
        named = [word for word in ("tag", "branch", "rev") if getattr(self, word) is not None]
        if named and not self.git:
            msg = f"`{named[0]}` belongs to `git`"
            raise ValueError(msg)
        if len(named) > 1:
            msg = "expected one of `tag`, `branch` and `rev`"
            raise ValueError(msg)
        return self

    def text(self) -> str:
        """Return the same as PEP 508 writes it; raise ``ValueError`` as ``read`` does."""
        if self.git is not None:
            if re.match(r"[^/]+@[^/]+:", self.git):
                msg = f"expected `ssh://{self.git.replace(':', '/', 1)}` for a repository behind SSH"
                raise ValueError(msg)
            names = ((self.tag, "refs/tags/"), (self.branch, "refs/heads/"), (self.rev, ""))
            address = f"git+{self.git.removeprefix('git+')}"
            address += "".join(f"@{prefix}{name}" for name, prefix in names if name is not None)
        else:
            address = self.url if self.url is not None else "./" + quote(inside(self.path or ""))
        facts = {"subdirectory": quote(self.subdirectory or ""), "editable": "true" if self.editable else ""}
        fragment = "&".join(f"{key}={value}" for key, value in facts.items() if value)
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        text = f"{self.name}{extras} @ {address}{'#' if fragment else ''}{fragment}{marker}"
        requirement = Requirement(text)  # what is no name, extra or marker is told here
        if (requirement.name, requirement.extras) != (self.name, {*self.extras}) or not requirement.url:
            msg = "expected a name and a source, each for itself"
            raise ValueError(msg)
        return text


def kind_of(value: Any) -> str:
    """Return what a requirement is written as, by a tag of ``Written``."""
    return "table" if isinstance(value, dict | Table) else "text"


Written = Annotated[Annotated[str, Tag("text")] | Annotated[Table, Tag("table")], Discriminator(kind_of)]
"""A requirement as a person may write it."""
