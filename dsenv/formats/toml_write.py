"""Write values as TOML in one canonical form: what makes two locks equal as values makes them equal as bytes.

Keys come in the order of the mapping, tables after plain values, one array element a line once a list does not fit
on its own, so that a diff shows what changed and version control can merge most changes by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

WIDTH: Final = 110
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED: Final = re.compile(r'["\\\x00-\x1f\x7f]')
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


class Inline(dict[str, Any]):
    """A mapping to be written on one line, ``{ name = "numpy" }``, not as a table."""


class Lines(list[Any]):
    """A list to be written one element a line, however short it is: what people add to on several branches."""


def spread(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``table`` with all its lists, those of inner tables included, as ``Lines``."""
    return {
        key: spread(value) if isinstance(value, Mapping) else Lines(value) if isinstance(value, list) else value
        for key, value in table.items()
    }


def dumps(document: Mapping[str, Any]) -> str:
    """Return ``document`` as TOML text that ends with a newline.

    Args:
        document: Strings, booleans, integers, aware datetimes, lists and mappings; no ``None``.

    """
    lines: list[str] = []
    _table(lines, (), document)
    return "\n".join(lines).strip("\n") + "\n"


def _table(lines: list[str], path: tuple[str, ...], table: Mapping[str, Any]) -> None:
    inner = {key: value for key, value in table.items() if _is_table(value) or _is_tables(value)}
    for key, value in table.items():
        if key not in inner:
            lines.append(f"{_key(key)} = {_value(value, len(_key(key)) + 3)}")
    for key, value in inner.items():
        here = (*path, key)
        name = ".".join(_key(part) for part in here)
        if _is_tables(value):
            for element in value:
                lines.extend(("", f"[[{name}]]"))
                _table(lines, here, element)
        else:
            if not value or not all(_is_table(item) or _is_tables(item) for item in value.values()):
                lines.extend(("", f"[{name}]"))
            _table(lines, here, value)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and not isinstance(value, Inline)


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(_is_table(element) for element in value)


def _value(value: Any, indent: int = 0) -> str:  # noqa: PLR0911 - one return a type
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="auto").replace("+00:00", "Z")
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return _list(value, indent)
    msg = f"TOML cannot hold a {type(value).__name__}"
    raise TypeError(msg)


def _list(values: Sequence[Any], indent: int) -> str:
    texts = [_value(value) for value in values]
    flat = "[" + ", ".join(texts) + "]"
    spreads = isinstance(values, Lines) and values
    if not spreads and not any(isinstance(value, Mapping) for value in values) and indent + len(flat) <= WIDTH:
        return flat
    return "[\n" + "".join(f"    {text},\n" for text in texts) + "]"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    return '"' + _ESCAPED.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}", text) + '"'
