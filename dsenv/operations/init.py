"""``dsenv init``: write a commented first ``dsenv.toml``, or one that says what another tool's lock says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsenv import project, spec, spec_edit
from dsenv.ecosystems import ECOSYSTEMS
from dsenv.errors import WrongUseError
from dsenv.operations.selection import host_target
from dsenv.pins import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from dsenv.foreign import Translation


@dataclass(frozen=True, slots=True, kw_only=True)
class InitResult:
    """What was written."""

    path: Path
    taken: Translation | None = None


def init(directory: Path, *, name: str = "", source: Path | None = None) -> InitResult:
    """Write the file into ``directory``; an existing one is never overwritten.

    Args:
        directory: The project's.
        name: What to call it; the directory's name by default.
        source: Another tool's lock, whose versions become pins.

    """
    path = directory / project.SPEC
    target = str(host_target())
    if target not in TARGETS:
        target = "linux-amd64"
    text = spec_edit.starter(name or directory.resolve().name, target)
    taken = None
    if source:
        part, taken = _translated(source)
        text = spec_edit.translated(text, part, taken.table)
        spec.parse(text)  # before it is written: what is wrong in it is the other tool's
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise WrongUseError(f"there is a {path.name} already", hint="Edit it, or remove it first.") from error
    return InitResult(path=path, taken=taken)


def _translated(source: Path) -> tuple[str, Translation]:
    try:
        text = source.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise WrongUseError(f"there is no {source}") from error
    except UnicodeDecodeError as error:
        raise WrongUseError(f"{source} is not UTF-8 text", cause=str(error)) from error
    for row in ECOSYSTEMS:
        if found := row.translate(source.name, text):
            return row.name, found
    raise WrongUseError(
        f"{source.name} is no lock that is known",
        hint="Known are renv.lock, rv.lock and pak's pkg.lock; for Python write `from` in [python].",
    )
