"""Edits of ``dsenv.toml`` that keep what its author wrote: comments, order and layout."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any, cast

import tomlkit


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


def project_name(text: str) -> str:
    """Return the valid project name nearest to ``text``."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return "-".join(words)[:100].rstrip("-") or "project"
