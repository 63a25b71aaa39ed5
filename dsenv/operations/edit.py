"""Changing ``dsenv.toml`` for somebody: all of it holds, or nothing was changed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dsenv import spec as specs
from dsenv import tree
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dsenv.project import Project
    from dsenv.spec import Spec


@contextlib.contextmanager
def edited(project: Project, edit: Callable[[str], str]) -> Iterator[Spec]:
    """Write ``dsenv.toml`` with ``edit`` applied and yield the new spec; when the block fails, the old file is back.

    Raises:
        SpecError: The file is wrong, before the edit or after it.

    """
    path = project.spec
    specs.load(path)  # a file with faults of its own is not edited on top
    before = path.read_bytes()
    text = before.decode("utf-8-sig")
    after = edit(text.replace("\r\n", "\n"))
    if "\r\n" in text:
        after = after.replace("\n", "\r\n")
    _replace(path, after.encode())
    try:
        yield specs.load(path)
    except BaseException:
        if path.read_bytes() != after.encode():
            raise WrongUseError(
                f"{path.name} was changed by somebody else meanwhile", hint="Look through it, and run `dsenv lock`."
            ) from None
        _replace(path, before)
        raise


def _replace(path: Path, content: bytes) -> None:
    """Replace a file, or what a link leads to, with the mode that it has."""
    path = path.resolve()
    tree.replace_file(path, content, mode=path.stat().st_mode & 0o7777, durable=True)
