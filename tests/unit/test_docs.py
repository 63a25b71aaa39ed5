"""What the documentation shows is so: each ``dsenv.toml`` in it is read without a fault."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomlkit

from dsenv import spec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NEEDED: dict[str, dict[str, Any]] = {
    "project": {"name": "shown"},
    "platform": {"base": "bootstrap:debian:bookworm", "targets": ["linux-amd64"]},
    "python": {"version": "3.11"},
    "r": {"version": "4.2"},
}
"""What a table has to have; a text that is about something else leaves it out."""


def _shown() -> Iterator[tuple[str, str]]:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, block in enumerate(re.findall(r"```toml\n(.*?)```", path.read_text("utf-8"), re.DOTALL)):
            yield f"{path.name} {number}", block


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in _shown()])
def test_what_is_shown_is_valid(text: str) -> None:
    raw: dict[str, Any] = tomllib.loads(text)
    for table, keys in NEEDED.items():
        if table in raw or table in {"project", "platform"}:
            raw[table] = {**keys, **raw.get(table, {})}
    spec.parse(tomlkit.dumps(raw))
