"""Which of many things go together, where not all of them do: asked by halves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def fitting(items: Sequence[str], refused: Callable[[Sequence[str]], str]) -> tuple[list[str], dict[str, str]]:
    """Return the items that go together, as many as come in their order, and the reason why each other one does not.

    Args:
        items: What is to fit.
        refused: Says why some of them do not fit, or nothing when they do. Its last answer of nothing was about
            those that are returned.

    """
    accepted: list[str] = []
    left: dict[str, str] = {}

    def fit(some: Sequence[str]) -> None:
        reason = refused([*accepted, *some]) if some else ""
        if not reason:
            accepted.extend(some)
        elif len(some) == 1:
            left[some[0]] = reason
        else:
            half = len(some) // 2
            fit(some[:half])
            fit(some[half:])

    fit(items)
    return accepted, left
