"""The doors of an ecosystem that has nothing to say there (``ecosystem.Ecosystem``).

Each is what having none of something means: no groups, nothing to build, no other tool's lock files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystem import Libraries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsenv.builds import Build, Built
    from dsenv.ecosystem import Offer
    from dsenv.foreign import Adopted
    from dsenv.pins import Artifact, Need, Selection, Target
    from dsenv.steps import Place
    from dsenv.store import Store

exports: Final[tuple[str, ...]] = ()


def export(form: str, pins: Any, selections: Sequence[Selection]) -> str:
    """Return nothing: there are no exports."""
    del form, pins, selections
    return ""


def adopt(files: Mapping[str, str]) -> Adopted | None:
    """Return nothing: no lock files of other tools are read."""
    del files
    return None


def translate(filename: str, text: str) -> None:
    """Return nothing: no other tool's lock is translated."""
    del filename, text


def obstacles(directory: Path) -> Sequence[str]:
    """Return what stands in its way in a directory: nothing."""
    del directory
    return ()


def repacked(pins: Any, which: Artifact | str, store: Store) -> None:
    """Return nothing: no file of a version is replaced."""
    del pins, which, store


def groups(pins: Any) -> Sequence[str]:
    """Return the groups of packages: there are none."""
    del pins
    return ()


def revealed(pins: Any, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
    """Return the system packages that only the resolution revealed: none."""
    del pins, offers
    return ()


def builds(pins: Any, selection: Selection, place: Place) -> Sequence[Build]:
    """Return what has to be built: nothing."""
    del pins, selection, place
    return ()


def recorded(pins: Any, selection: Selection, built: Mapping[str, Built]) -> Any:
    """Return the pins as they are: nothing is built."""
    del selection, built
    return pins


def delivered(pins: Any, directory: Path) -> Any:
    """Return the pins as they are: an image takes what a project takes."""
    del directory
    return pins


def libraries(pins: Any, selection: Selection, store: Store, built: Mapping[str, Built]) -> Libraries:
    """Return nothing: the packages are system packages, and apt has seen to what those need."""
    del pins, selection, store, built
    return Libraries()
