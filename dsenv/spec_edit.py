"""Edits of ``dsenv.toml`` that keep what its author wrote: comments, order and layout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

import tomlkit
from packaging.utils import canonicalize_name

from dsenv.ecosystems import ECOSYSTEMS, FOUNDATION
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomlkit.items import Array

_PARTS: Final = tuple(row.name for row in ECOSYSTEMS)
_PART: Final = re.compile(rf"({'|'.join(_PARTS)}):(?![:/])(.+)", re.DOTALL)
_SUBJECT: Final = re.compile(r"[^\s<>=!~;@\[(,]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A package as a person names it on a command line: ``pandas>=2.2``, ``r:dplyr``, ``system:jq``."""

    part: str  # the table that it belongs to
    text: str  # as it stands there

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Read an entry; without a part it is Python's."""
        match = _PART.fullmatch(text.strip())
        return cls(match[1], match[2].strip()) if match else cls("python", text.strip())

    def is_about(self, other: Any) -> bool:
        """Say whether what stands in the file, a text or a table, names the same package."""
        if isinstance(other, dict):
            other = other.get("name") or str(other.get("path", "")).rstrip("/").rpartition("/")[2]
        return _subject(self.part, self.text) == _subject(self.part, str(other))


def _subject(part: str, text: str) -> str:
    match = _SUBJECT.match(text.strip())
    name = match[0] if match else text
    return canonicalize_name(name) if part == "python" else name


def add(text: str, entries: list[Entry], *, group: str = "") -> str:
    """Return the text of a ``dsenv.toml`` with packages added; one that is there already is replaced.

    Raises:
        WrongUseError: There is no table to add to, and only a person can say what its other keys are to be.

    """
    document = cast("Any", tomlkit.parse(text))
    for entry in entries:
        array = _array(document, entry.part, group)
        places = [place for place, other in enumerate(array) if entry.is_about(other)]
        for place in places[:0:-1]:
            del array[place]
        if places:
            array[places[0]] = entry.text
        else:
            _append(array, entry.text)
    return tomlkit.dumps(document)


def remove(text: str, entries: list[Entry], *, group: str = "") -> str:
    """Return the text of a ``dsenv.toml`` without packages; raise ``WrongUseError`` for one that it does not name."""
    document = cast("Any", tomlkit.parse(text))
    for entry in entries:
        array = _existing(document, entry.part, group)
        places = [place for place, other in enumerate(array) if entry.is_about(other)]
        if not places:
            raise _absent(document, entry, group)
        for place in reversed(places):
            del array[place]
    return tomlkit.dumps(document)


def _absent(document: Any, entry: Entry, group: str) -> WrongUseError:
    where = f"[{entry.part}.groups] {group}" if group else f"[{entry.part}] packages"
    others = [Entry(part, entry.text) for part in _PARTS if part != entry.part]
    there = [other for other in others if any(map(other.is_about, _existing(document, other.part, group)))]
    return WrongUseError(
        f"{where} of dsenv.toml does not name {entry.text}",
        hint=f"Did you mean `{there[0].part}:{entry.text}`?"
        if there
        else "Only what stands there can be taken out; what a package brings goes with it.",
    )


def _existing(document: Any, part: str, group: str) -> Any:
    table = document.get(part, {})
    return table.get("groups", {}).get(group, []) if group else table.get("packages", [])


def _array(document: Any, part: str, group: str) -> Any:
    """Return the list that packages of a part are added to, made where it can be."""
    if part not in document:
        if part != FOUNDATION.name:
            raise WrongUseError(
                f"dsenv.toml has no table [{part}]", hint=f"Write it with its `version`: see `dsenv init`'s [{part}]."
            )
        document[part] = tomlkit.table()
    table = document[part]
    key = "packages"
    if group:
        if "groups" not in table:
            table["groups"] = tomlkit.table()
        table, key = table["groups"], group
    if key not in table:
        table[key] = tomlkit.array()
    return table[key]


def _append(array: Array, text: str) -> None:
    """Add an item on a line of its own where the others have one each."""
    lines = array.as_string().count("\n")
    if lines and lines >= len(array):
        indent = re.search(r"\n([ \t]+)\S", array.as_string())
        array.add_line(text, indent=indent[1] if indent else "    ", newline=True)
    else:
        array.append(text)


def starter(name: str, target: str) -> str:
    """Return a commented first ``dsenv.toml``.

    Args:
        name: What to call the project; turned into a valid name.
        target: The kind of machine to lock for.

    """
    document = cast("Any", tomlkit.parse(resources.files(__package__).joinpath("starter.toml").read_text("utf-8")))
    document["project"]["name"] = project_name(name)
    document["platform"]["targets"] = [target]
    return tomlkit.dumps(document)


def translated(text: str, part: str, table: Mapping[str, Any]) -> str:
    """Return the text of a starter file that has one part only, as another tool's lock says it."""
    document = cast("Any", tomlkit.parse(text))
    for other in _PARTS:
        if other in document:
            del document[other]
    made = tomlkit.table()
    for key, value in table.items():
        made[key] = _written(value)
    document[part] = made
    return tomlkit.dumps(document)


def _written(value: Any) -> Any:
    """Return a value in the form in which a person would write it: lists one item a line, tables on one."""
    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_written(item))
        return array.multiline(multiline=True)
    return value


def project_name(text: str) -> str:
    """Return the valid project name nearest to ``text``."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return "-".join(words)[:100].rstrip("-") or "project"
