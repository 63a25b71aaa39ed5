"""What is there now of R: nothing that the install steps and the system packages do not already say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystem import Expectation

if TYPE_CHECKING:
    from dsenv.ecosystems.r.pins import Pins
    from dsenv.pins import Selection
    from dsenv.steps import Place
    from dsenv.store import Store


def expectation(pins: Pins, selection: Selection, place: Place, store: Store) -> Expectation:
    """Return nothing: R's files come with the system packages, and its own steps write by themselves."""
    del pins, selection, place, store
    return Expectation()
