"""How a command answers: data on standard output, as text or JSON, and talk on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dsenv import __version__
from dsenv.errors import DsenvError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMAT: Final = 1  # of the JSON envelope
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PAUSE: Final = 0.1  # seconds between two updates of the line that tells what is going on


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a command has to say."""

    lines: Sequence[str]  # for a person
    data: dict[str, Any] = field(default_factory=dict)  # for a program
    code: int = Exit.DONE


class Terminal:
    """Talk on standard error; the ``Progress`` of every operation.

    Args:
        quiet: Say nothing but warnings.
        color: Whether colours are wanted; they are used on a terminal only.
        verbose: Tell notes, too.

    """

    def __init__(self, *, quiet: bool = False, color: bool = True, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        is_able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._lively = is_able and not quiet
        self._color = color and is_able and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()
        self._updated = 0.0
        self._line = False

    def say(self, text: str) -> None:
        """Tell one finished thing."""
        if not self._quiet:
            self._write(text)

    def warn(self, text: str) -> None:
        """Tell something that the reader may have to act on."""
        self._write(text, self._paint("33", "warning: "))

    def note(self, text: str) -> None:
        """Tell what only a reader who wants to know all is told."""
        if self._verbose:
            self._write(text)

    def update(self, text: str) -> None:
        """Replace the line that tells what is going on; in a log there is no such line."""
        now = time.monotonic()
        if not self._lively or now - self._updated < _PAUSE:
            return
        with self._lock:
            self._updated = now
            self._line = True
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write(f"\r\033[K{printable(text)[: width - 1]}")
            sys.stderr.flush()

    def error(self, error: DsenvError) -> None:
        """Tell why a command ended: the sentence, the cause, the next step."""
        self._write(error.sentence, self._paint("31", "error: "))
        for line in error.cause.splitlines():
            self._write(line, "  ")
        if error.hint:
            self._write(error.hint, self._paint("36", "hint: "))

    def clear(self) -> None:
        """Remove the line that tells what is going on."""
        with self._lock:
            self._clear()

    def _write(self, text: str, head: str = "") -> None:
        with self._lock:
            self._clear()
            sys.stderr.write(f"{head}{printable(text)}\n")
            sys.stderr.flush()

    def _clear(self) -> None:
        if self._line:
            sys.stderr.write("\r\033[K")
            self._line = False

    def _paint(self, code: str, text: str) -> str:
        return f"\033[1;{code}m{text}\033[0m" if self._color else text


def printable(text: str) -> str:
    """Return text with control characters made visible: names from locks and archives must not steer a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def show(command: str, report: Report, *, as_json: bool) -> None:
    """Print a report."""
    if as_json:
        _envelope(command, report.code, {"data": report.data})
    else:
        sys.stdout.writelines(f"{printable(line)}\n" for line in report.lines)


def show_error(command: str, error: DsenvError) -> None:
    """Print an error as JSON."""
    _envelope(
        command, error.exit_code, {"error": {"sentence": error.sentence, "cause": error.cause, "hint": error.hint}}
    )


def _envelope(command: str, code: int, content: dict[str, Any]) -> None:
    envelope = {"dsenv": __version__, "format": _FORMAT, "command": command, "exit": int(code), **content}
    sys.stdout.write(json.dumps(envelope, indent=2, ensure_ascii=False) + "\n")
