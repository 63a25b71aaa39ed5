"""What is there now of R: its files come with the system packages, and no others may lie in its libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.ecosystem import Expectation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.builds import Built
    from dsenv.ecosystems.r.pins import Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place
    from dsenv.store import Store

_LIBRARIES: Final = ("usr/lib/R/site-library", "usr/lib/R/library", "usr/local/lib/R/site-library")


def expectation(
    pins: Pins, selection: Selection, place: Place, store: Store, built: Mapping[str, Built]
) -> Expectation:
    """Return the libraries of an image; in a project every directory is owned anyway."""
    del pins, selection, store, built
    return Expectation(owned=_LIBRARIES if place.kind == "image" else ())
