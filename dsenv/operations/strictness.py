"""Where a machine has something else than what is locked: told with a restore, and an end to a strict one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.errors import DriftError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsenv.ground import GroundCheck


def insist(*, misfit: str = "", ground: GroundCheck | None = None, differs: Sequence[str] = ()) -> None:
    """Raise ``DriftError`` unless a machine can have, or has, exactly what is locked.

    Args:
        misfit: Why the locked system packages cannot run here, if they cannot.
        ground: How the base of the lock compares with this machine.
        differs: What an environment has in place of what is locked.

    """
    found = [*([misfit] if misfit else []), *differs, *(_rows(ground) if ground else ())]
    if found:
        raise DriftError(
            "this machine does not have exactly what is locked",
            cause="\n".join(found),
            hint="Leave --strict out to take what it has, or use the image, which has all of it: `dsenv docker`.",
        )


def _rows(ground: GroundCheck) -> Iterator[str]:
    for word, rows in ground.by_word().items():
        if word != "equal":
            yield from (f"base package {row}: {word}" for row in rows)
