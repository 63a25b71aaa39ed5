"""One entry of [r] packages, as a person writes it: a text, or a table where more has to be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from dsenv.ecosystems.r import requests
from dsenv.ecosystems.r.names import RName
from dsenv.ecosystems.r.requests import WITH_R, Remote, RPackageRequest, parse_request
from dsenv.model import Model, Text, printable

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_R: Final = "this package is a part of R itself: leave it out"
_BOUNDS_ONLY: Final = "expected the name of an R package with bounds, such as `rlang==1.1.1`"


def _check_text(text: str) -> str:
    printable(text)
    if parse_request(text).name in WITH_R:
        raise ValueError(_OF_R)
    return text


def _check_bound(text: str) -> str:
    found = parse_request(_check_text(text))
    if found.remote or found.repository or not found.bounds:
        raise ValueError(_BOUNDS_ONLY)
    return text


def checked(check: Callable[[str], str]) -> AfterValidator:
    """Return a validator of texts without control characters."""
    return AfterValidator(lambda text: check(printable(text)))


class Entry(Model):
    """A package whose source, repository or Suggests have to be said."""

    name: RName | None = Field(default=None, description="The package's name, where its source cannot tell it in time.")
    version: Text = Field(default="", description="Bounds: `>=1.2,<2`.")
    repository: Text = Field(default="", description="The only repository that it may come from.")
    git: Annotated[str, checked(requests.check_git)] | None = Field(
        default=None, description="The address of a git repository."
    )
    rev: Annotated[str, checked(requests.check_rev)] = Field(
        default="", description="A branch, tag or commit of it; `lock` pins the commit."
    )
    subdirectory: Annotated[str, checked(requests.check_subdirectory)] = Field(
        default="", description="Where in it the package lies."
    )
    path: Annotated[str, checked(requests.check_path)] | None = Field(
        default=None, description="A directory or a source tarball of the project."
    )
    url: Annotated[str, checked(requests.check_tarball)] | None = Field(
        default=None, description="The address of a source tarball."
    )

    @model_validator(mode="after")
    def _check(self) -> Entry:
        places = [key for key in ("git", "path", "url", "repository") if getattr(self, key)]
        if len(places) > 1:
            msg = f"a package comes from one place: expected only one of `{'`, `'.join(places)}`"
            raise ValueError(msg)
        if (self.rev or self.subdirectory) and not self.git:
            msg = "`rev` and `subdirectory` belong to `git`"
            raise ValueError(msg)
        if self.name is None and (not places or self.repository or self.version):
            msg = "expected a `name`"
            raise ValueError(msg)
        if self.name in WITH_R:
            raise ValueError(_OF_R)
        if self.version:
            requests.parse_bounds(self.version)
        return self

    def request(self) -> RPackageRequest:
        """Return the entry as a value."""
        remote = None
        if self.git:
            remote = Remote(kind="git", url=self.git, rev=self.rev, subdirectory=self.subdirectory)
        elif self.path:
            remote = Remote(kind="path", path=self.path)
        elif self.url:
            remote = Remote(kind="url", url=self.url)
        bounds = requests.parse_bounds(self.version) if self.version else ()
        return RPackageRequest(self.name or "", bounds, self.repository, remote)


def kind(value: Any) -> str:
    """Return which of the two forms a value has."""
    return "table" if isinstance(value, dict | Model) else "text"


RRequest = Annotated[
    Annotated[str, AfterValidator(_check_text), Tag("text")] | Annotated[Entry, Tag("table")], Discriminator(kind)
]
RBound = Annotated[str, AfterValidator(_check_bound)]
