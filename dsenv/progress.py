"""What a long operation may say while it works. Whoever calls an operation decides what is shown."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Talk for a person: never data, never on standard output."""

    def say(self, text: str) -> None:
        """Tell one finished thing, as one line."""

    def warn(self, text: str) -> None:
        """Tell something that the reader may have to act on."""

    def note(self, text: str) -> None:
        """Tell what only a reader who wants to know all is told (``--verbose``)."""

    def update(self, text: str) -> None:
        """Replace the line that tells what is going on at this moment."""


class Silent:
    """Progress for callers who want none."""

    def say(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def update(self, text: str) -> None:
        """Ignore."""
