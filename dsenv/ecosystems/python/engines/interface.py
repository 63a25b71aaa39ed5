"""What an engine is asked and what it answers: values that know no engine, so that a lock does not tell which it was.

An engine reaches indexes as the machine is set up to; how to resolve is said by the question alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dsenv.errors import ResolutionError
from dsenv.pins import without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from packaging.pylock import PackageSdist, PackageWheel

    from dsenv.ecosystems.python.markers import Space, Where
    from dsenv.pins import Target
    from dsenv.store import Store

_EXACT: Final = {"==", "==="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A version that is locked already, and is to stay if it can."""

    name: str  # "numpy", normalized
    version: str
    index: str  # the simple API that it came from


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Packages that come from one index and from no other, whoever asks for them."""

    index: str  # what dsenv.toml calls it
    url: str  # without credentials
    patterns: tuple[str, ...]  # "acme-*", normalized
    names: tuple[str, ...]  # named outright, or matched by a pattern among what the index has
    targets: tuple[Target, ...]  # on which that holds
    flat: bool = False  # whether the index is one page of links


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be resolved, for every place of a space at once.

    A requirement that names its own source leads to a wheel on this machine that stands for it.
    """

    space: Space
    requirements: Sequence[str]  # PEP 508
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by normalized name
    conflicts: Sequence[Sequence[str]] = ()  # sets of groups, of which one at a time is installed
    constraints: Sequence[str] = ()
    overrides: Sequence[str] = ()
    exclude: Sequence[str] = ()  # names
    prereleases: Sequence[str] = ()  # names of packages of which a pre-release may be taken
    preferred: Sequence[Pin] = ()
    routes: Sequence[Route] = ()
    build: Sequence[str] = ()  # names of packages that may be built from source, if some target has no wheel of them
    before: datetime | None = None  # what was uploaded at that instant or later does not exist
    after: Sequence[str] = ()  # "pillow==12.3.0": versions that are taken whenever they were uploaded
    python: str = ""  # the locked interpreter's program, where it is a build and the engine answers for one place

    @property
    def by_hand(self) -> set[str]:
        """The names of packages that somebody has pinned with ``==``."""
        texts = [*self.requirements, *self.constraints, *self.overrides, *self.after]
        texts += [text for group in self.groups.values() for text in group]
        wanted = [Requirement(text) for text in texts]
        return {
            canonicalize_name(item.name) for item in wanted if any(one.operator in _EXACT for one in item.specifier)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One package of an answer."""

    name: str  # normalized
    version: str
    index: str  # without credentials; "" for one that names its own source
    wheels: tuple[PackageWheel, ...]  # as the index lists them, for whatever machine
    sdist: PackageSdist | None = None  # where it may be built
    stub: str = ""  # the path of the wheel that stood for it, if it names its own source (``origins.stub``)
    dependencies: tuple[Mapping[str, str], ...]  # name, and version where the answer has several
    where: Mapping[str, Where]  # by group, "" for what is always installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine found."""

    packages: Sequence[Found]
    engine: str  # "uv 0.13.9"
    warnings: Sequence[str] = ()


class Engine(Protocol):
    """An engine; a module of this package is its implementation."""

    @property
    def one_place(self) -> bool:
        """Whether it answers for one target and one interpreter only, those that it runs on."""

    def resolve(self, question: Question, directory: Path, store: Store) -> Answer:
        """Answer a question.

        Args:
            question: What is asked.
            directory: An empty directory to work in.
            store: Has the caches of tools.

        Raises:
            ResolutionError: There is no solution; the cause names the chain.
            DownloadError: An index does not answer.

        """


def no_upload_time(index: str, names: Sequence[str]) -> ResolutionError:
    """Return the error for an index that does not say since when it has its files."""
    return ResolutionError(
        f"index {without_credentials(index)} does not tell when files were uploaded, so a date cannot be kept there",
        cause="\n".join(sorted(names)),
        hint="Name their exact versions in `after-as-of`, leave `as-of` and `min-age` out, or use an index that tells.",
    )


def no_sha256(url: str) -> ResolutionError:
    """Return the error for a file that an index lists without its sha256."""
    return ResolutionError(
        f"the Python index gives no sha256 for {without_credentials(url)}",
        hint="Take the package from an index that lists sha256 hashes.",
    )


def to_build(names: Sequence[str]) -> str:
    """Return the hint for packages that have sdists and no wheel: what to add, if it is to be built."""
    listed = ", ".join(f'"{name}"' for name in names)
    return f"If they may be built from source, add `build = [{listed}]` to [python]." if names else ""
