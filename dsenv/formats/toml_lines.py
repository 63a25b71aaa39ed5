"""Where a key stands in a TOML text.

``tomllib`` gives values without positions, and a fault in ``dsenv.toml`` must name its line. The scanner runs after
``tomllib`` accepted the text, so it may take valid TOML for granted and only has to find its way
(https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
from typing import Final

Path = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRINGS: Final = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of each key, table and array element of a valid TOML text.

    An element of an array has its index in the path: ``("python", "packages", 0)``.
    """
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # an array of tables -> the index of its newest element

    def run(self) -> dict[Path, int]:
        table: Path = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self._lines

    def _header(self) -> Path:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        path: Path = ()
        keys = self._keys()
        self._at += 2 if is_array else 1
        for position, key in enumerate(keys):
            path = (*path, key)
            if is_array and position == len(keys) - 1:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
        self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._keys())
        self._at += 1  # the equals sign
        self._skip_blank()
        self._note(path, start)
        self._value(path)

    def _keys(self) -> list[str]:
        """Read a dotted key and stop before the ``=`` or ``]`` that ends it."""
        keys = []
        while True:
            self._skip_blank()
            if self._text[self._at] in "\"'":
                keys.append(_unquote(self._string()))
            else:
                keys.append(self._take(_BARE_KEY))
            self._skip_blank()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        character = self._text[self._at]
        if character == "[":
            self._items(path, "]")
        elif character == "{":
            self._items(path, "}")
        elif character in "\"'":
            self._string()
        else:
            self._take(_SCALAR)

    def _items(self, path: Path, end: str) -> None:
        self._at += 1
        index = 0
        self._skip_blank()
        while self._text[self._at] != end:
            if end == "}":
                self._pair(path)
            else:
                self._note((*path, index), self._at)
                self._value((*path, index))
            index += 1
            self._skip_blank()
            if self._text[self._at] == ",":
                self._at += 1
                self._skip_blank()
        self._at += 1

    def _string(self) -> str:
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return match[0]
        msg = f"no TOML string at {self._at}"  # unreachable for text that tomllib accepted
        raise ValueError(msg)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if not match:
            msg = f"no TOML token at {self._at}"
            raise ValueError(msg)
        self._at = match.end()
        return match[0]

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _note(self, path: Path, at: int) -> None:
        line = self._text.count("\n", 0, at) + 1
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)


def _unquote(text: str) -> str:
    import tomllib  # noqa: PLC0415 - only a quoted key needs it

    return str(tomllib.loads(f"key = {text}")["key"])
