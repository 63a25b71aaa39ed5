"""``dsenv init``: write a commented first ``dsenv.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv import project, spec_edit
from dsenv.errors import WrongUseError
from dsenv.operations.selection import host_target
from dsenv.pins import TARGETS

if TYPE_CHECKING:
    from pathlib import Path


def init(directory: Path, *, name: str = "") -> Path:
    """Write the file into ``directory`` and return its path; an existing one is never overwritten."""
    path = directory / project.SPEC
    target = str(host_target())
    if target not in TARGETS:
        target = "linux-amd64"
    text = spec_edit.starter(name or directory.resolve().name, target)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise WrongUseError(f"there is a {path.name} already", hint="Edit it, or remove it first.") from error
    return path
