"""All sources that a spec names, and those that these name in turn: located, asked what they are, and stood for.

A requirement that names its source is replaced by one that leads to a small wheel on this machine (``metadata.py``).
The engines resolve that like any other, and their answer is traced back by the wheel's path.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.pylock import PackageArchive, PackageDirectory, PackageVcs
from packaging.requirements import Requirement

from dsenv.ecosystems.python.origins import fetch, metadata, reference
from dsenv.errors import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.python.building.inspect import Inspected, Inspector
    from dsenv.ecosystems.python.origins.fetch import Located
    from dsenv.ecosystems.python.origins.metadata import Metadata
    from dsenv.ecosystems.python.origins.reference import Reference

    _Known = tuple[Located, Inspected | None, Metadata]

_DEPTH: Final = 100  # sources that may name further ones
AT_ONCE: Final = 4  # sources that are asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A source that was named, and all that is known of it."""

    located: Located
    metadata: Metadata
    inspected: Inspected | None = None  # how it is built; a wheel is not

    def package(self) -> dict[str, object]:
        """Return it in PEP 751's words: the fields of a ``Package`` that say where it comes from."""
        located, asked = self.located, self.located.reference
        if located.commit:
            vcs = PackageVcs(
                type="git",
                url=located.place,
                requested_revision=(asked.revision if asked else "") or None,
                commit_id=located.commit,
                subdirectory=located.subdirectory or None,
            )
            return {"vcs": vcs}
        if located.form == "tree":
            editable = (asked is not None and asked.editable) or None
            return {
                "directory": PackageDirectory(
                    path=located.place, editable=editable, subdirectory=located.subdirectory or None
                )
            }
        is_own = "://" not in located.place
        return {
            "archive": PackageArchive(
                path=located.place if is_own else None,
                url=None if is_own else located.place,
                size=located.artifact.size,
                hashes={"sha256": located.artifact.sha256},
                subdirectory=located.subdirectory or None,
            )
        }


class Gathered:
    """The sources of a resolution.

    Args:
        request: What is to be resolved.
        inspector: Asks sources what they are.
        directory: Where the wheels that stand for them come to lie; it lives as long as the resolution.

    """

    def __init__(self, request: Request, inspector: Inspector, directory: Path) -> None:
        self._request = request
        self._inspector = inspector
        self._directory = directory
        self._known: dict[Reference, _Known] = {}
        self._stubs: dict[Reference, Path] = {}
        self._origins: dict[str, Origin] = {}

    def redirect(self, texts: Iterable[str]) -> list[str]:
        """Return requirements with those that name a source leading to what stands for it.

        Raises:
            ResolutionError: A source is another package than it is asked for, or cannot be asked.

        """
        wanted = list(texts)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            unknown = [named for named in reference.all_of(wanted) if named not in self._stubs]
            self._known.update(zip(unknown, pool.map(self._find_out, unknown), strict=True))
        return [self._redirected(text, "dsenv.toml", 0) for text in wanted]

    @property
    def names(self) -> set[str]:
        """The names of the packages that come from a source of their own."""
        return {origin.located.name for origin in self._origins.values()}

    def of(self, stub: str) -> Origin | None:
        """Return the source for which a wheel stands."""
        return self._origins.get(_tail(stub))

    def _redirected(self, text: str, whose: str, depth: int) -> str:
        try:
            named = reference.read(text)
        except ValueError as error:
            raise ResolutionError(f"{whose} asks for {text}", cause=str(error)) from error
        if named is None:
            return text
        if depth > _DEPTH or (depth and named.kind == "path"):
            raise ResolutionError(f"{whose} asks for {text}, which no other machine has")
        if named not in self._stubs:
            self._bring(named, depth)
        requirement = Requirement(text)
        requirement.url = self._stubs[named].as_uri()
        return str(requirement)

    def _bring(self, named: Reference, depth: int) -> None:
        located, inspected, said = self._known.get(named) or self._find_out(named)
        if said.name != named.name:
            raise ResolutionError(
                f"dsenv.toml asks for {named.name}, and what {located.place} has calls itself {said.name}",
                hint=f"Write `{said.name}` in front of its source, if that is what you want.",
            )
        redirected = {text: self._redirected(text, located.title, depth + 1) for text in said.requires if "@" in text}
        filename = located.artifact.filename if located.form == "wheel" else ""
        home = self._directory / str(len(self._stubs))
        stub = metadata.write_stub(home, said.redirected(redirected), filename)
        self._stubs[named] = stub
        self._origins[_tail(str(stub))] = Origin(located=located, metadata=said, inspected=inspected)

    def _find_out(self, named: Reference) -> _Known:
        """Locate a source and ask it what it is."""
        located = fetch.locate(named, self._request)
        if located.form == "wheel":
            path = self._request.store.path(located.artifact)
            return located, None, metadata.of_wheel(path, located.artifact.filename)
        inspected = self._inspector.inspect(located)
        return located, inspected, inspected.metadata


def _tail(stub: str) -> str:
    """Return what of a path tells one stub from the others: engines write the rest in several ways."""
    return "/".join(stub.split("/")[-2:])
