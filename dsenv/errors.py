"""Every expected end of a command: its class, its exit code, its sentence and its next step.

Nothing else in dsenv decides an exit code. An error that is not of these classes is a bug and shows a traceback
with ``--debug``.
"""

from __future__ import annotations

import contextlib
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    STALE_LOCK = 3
    DRIFT = 4
    INCOMPLETE = 5
    INTERRUPTED = 130


class DsenvError(Exception):
    """The root of all expected errors: one sentence, its cause, and what to do next.

    Args:
        sentence: What happened, in one sentence without a full stop.
        cause: What another tool or the system said about it; may span lines.
        hint: The next step, as an imperative sentence.

    """

    exit_code = Exit.FAILED

    def __init__(self, sentence: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.cause = cause
        self.hint = hint


class WrongUseError(DsenvError):
    """The command cannot be understood, or a file that a person wrote is wrong."""

    exit_code = Exit.WRONG_USE


class SpecError(WrongUseError):
    """``dsenv.toml`` is wrong; ``cause`` lists every fault, one a line."""


class LockFormatError(WrongUseError):
    """A lock file cannot be read: damaged, edited by hand, or of a newer format."""


class TornLockError(LockFormatError):
    """A file of the set of locks is missing."""


class StaleLockError(DsenvError):
    """The lock does not answer the spec, or there is none."""

    exit_code = Exit.STALE_LOCK


class DriftError(DsenvError):
    """The environment differs from the lock."""

    exit_code = Exit.DRIFT


class ResolutionError(DsenvError):
    """No set of packages satisfies the spec; ``cause`` names the chain."""


class DownloadError(DsenvError):
    """An artifact could be had from none of its addresses."""


class IntegrityError(DsenvError):
    """An artifact's bytes are not those that the lock names."""


class ToolError(DsenvError):
    """A program that dsenv runs is missing or failed; ``cause`` carries its own words."""


class BuildError(DsenvError):
    """Something could not be built from source; ``cause`` has the lines that matter of each log."""


class InterruptedByUserError(DsenvError):
    """The user pressed Ctrl-C."""

    exit_code = Exit.INTERRUPTED


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name ``path`` in an error of the operating system that names nothing, as a full disk's does."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
