"""What the log of a failed build tells: the lines that matter, and what is likely missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["header", "library", "program", "module", "package"]

_MISSING: Final[tuple[tuple[Kind, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(pattern))  # type: ignore[misc]
    for kind, pattern in (
        (
            "header",
            r"(?:fatal error|error): ['\"]?([\w.+/-]+\.(?:h|hh|hpp|hxx|H))['\"]?(?:: No such file| file not found)",
        ),
        ("library", r"cannot find -l([\w.+-]+)"),
        ("library", r"unable to find library -l([\w.+-]+)"),
        ("package", r"^\s*\* deb: ([a-z0-9][a-z0-9+.-]+)"),  # R packages' own configure scripts say it
        ("program", r"(?:^|[\s:])([\w.+/-]+): (?:command )?not found"),
        ("program", r"([\w.+-]+) executable not found"),
        ("program", r"No such file or directory: '([\w.+-]+)'"),
        ("program", r"make(?:\[\d+\])?: ([\w.+-]+): No such file or directory"),
        ("library", r"Package '?([\w.+-]+)'?,? (?:required by .*, )?(?:was )?not found"),
        ("module", r"ModuleNotFoundError: No module named '([\w.]+)'"),
    )
)
_ERRORS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"fatal error:|\berror: |undefined reference|cannot find -l|: command not found|ModuleNotFoundError",
        r"^ERROR|^Error|\bError\b|: not found|No such file or directory|^Traceback",
        r"make(?:\[\d+\])?: \*\*\*|failed",
    )
)
_BEFORE: Final = 3
_SHOWN: Final = 12  # lines


@dataclass(frozen=True, slots=True, order=True)
class Missing:
    """What a build looked for in vain."""

    kind: Kind
    name: str  # "curl/curl.h"; of a library without "lib" and ".so"


def excerpt(text: str) -> list[str]:
    """Return the lines around the first error; the last ones where none is to be seen."""
    lines = [line.rstrip() for line in text.splitlines()]
    for pattern in _ERRORS:
        at = next((number for number, line in enumerate(lines) if pattern.search(line)), None)
        if at is not None:
            start = max(0, min(at - _BEFORE, len(lines) - _SHOWN))
            return lines[start : start + _SHOWN]
    return lines[-_SHOWN:]


def missing(text: str) -> Missing | None:
    """Return what a build looked for in vain, as far as its log tells: the first of the surest kind."""
    for kind, pattern in _MISSING:
        for line in text.splitlines():
            if match := pattern.search(line):
                return Missing(kind, match[1].rpartition("/")[2] if kind == "program" else match[1])
    return None


def sentence(lost: Missing, package: str) -> str:
    """Return what a person can do about what is missing.

    Args:
        lost: What it is.
        package: The system package that brings it, or nothing when none is known to.

    """
    what = {"library": f"the library {lost.name}", "module": f"the Python module {lost.name}"}.get(lost.kind, lost.name)
    if lost.kind == "module":
        return f"{what} is missing: the package does not name it among its build requirements"
    named = f'"{package}"' if package else "the package that brings it"
    return f"{what} is missing: add {named} to [system] build and run `dsenv lock`"
