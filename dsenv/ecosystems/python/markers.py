"""Markers in one canonical form: computed from where a package is installed, not from how an engine wrote it.

The declared targets and the patch releases of one Python minor are finite, so a marker is evaluated at each of them
and written anew. Two engines, or two versions of one, then give the same bytes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, cast

from packaging.markers import Marker

from dsenv.ecosystems.python import platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.pins import Target

_LAST_PATCH: Final = 60  # beyond what any minor of CPython has reached; stands for "and all later ones"

Where = frozenset[tuple["Target", int]]
"""The targets and patch releases on which something is installed."""


class Space:
    """All places that a lock is for: its targets, and the patches of its Python from the lowest on.

    Args:
        targets: The declared targets.
        lowest: The lowest interpreter recorded, ``3.11.2``.
        alone: Whether no later patch counts.

    """

    def __init__(self, targets: Sequence[Target], lowest: str, *, alone: bool = False) -> None:
        major, minor, patch = lowest.split(".")
        self._minor = f"{major}.{minor}"
        above = self.version(int(patch) + 1) if alone else f"{major}.{int(minor) + 1}"
        self.requires_python = f">={lowest},<{above}"
        self.bounds = f"python_full_version >= '{lowest}' and python_full_version < '{above}'"
        self.targets = tuple(targets)
        self.patches = range(int(patch), int(patch) + 1 if alone else _LAST_PATCH + 1)
        self.everywhere: Where = frozenset((target, patch) for target in self.targets for patch in self.patches)
        self._where = cache(self._evaluate)

    def version(self, patch: int) -> str:
        """Return the version that a patch is: ``3.11.2``."""
        return f"{self._minor}.{patch}"

    def where(self, marker: str) -> Where:
        """Return where a marker is true; an empty one is true everywhere."""
        return self._where(marker) if marker else self.everywhere

    def marker(self, always: Where, groups: Mapping[str, Where]) -> str:
        """Return the marker of a package, empty when it is always installed.

        Args:
            always: Where it is installed whatever groups are asked for.
            groups: Where it is installed when a group is asked for, by group.

        """
        if always == self.everywhere:
            return ""
        parts = [self._text(always)] if always else []
        by_where: dict[Where, list[str]] = {}
        for group in sorted(groups):
            if groups[group] - always:
                by_where.setdefault(groups[group], []).append(f"'{group}' in dependency_groups")
        for where, names in by_where.items():
            asked = " or ".join(names)
            if where == self.everywhere:
                parts.append(asked)
            else:
                parts.append(_both(asked, self._text(where)))
        return " or ".join(_grouped(part) for part in parts) if len(parts) > 1 else "".join(parts)

    def _evaluate(self, marker: str) -> Where:
        parsed = Marker(marker)
        return frozenset(
            (target, patch)
            for target, patch in self.everywhere
            if parsed.evaluate(cast("Mapping[str, str]", platforms.environment(target, self.version(patch))))
        )

    def _text(self, where: Where) -> str:
        """Return a marker that is true at ``where`` and nowhere else in the space."""
        targets_by_patches: dict[frozenset[int], list[Target]] = {}
        for target in self.targets:
            patches = frozenset(patch for patch in self.patches if (target, patch) in where)
            if patches:
                targets_by_patches.setdefault(patches, []).append(target)
        texts = []
        for patches, targets in targets_by_patches.items():
            when = self._patches_text(patches)
            texts.append(_both(self._targets_text(targets), when))
        return " or ".join(_grouped(text) for text in texts) if len(texts) > 1 else texts[0]

    def _targets_text(self, targets: Sequence[Target]) -> str:
        if set(targets) == set(self.targets):
            return ""
        texts = []
        for name in dict.fromkeys(target.os for target in self.targets):
            chosen = [target for target in targets if target.os == name]
            if chosen and len(chosen) == sum(target.os == name for target in self.targets):
                texts.append(f"sys_platform == '{platforms.sys_platform(chosen[0])}'")
            else:
                texts.extend(platforms.clause(target) for target in chosen)
        return " or ".join(_grouped(text) for text in texts) if len(texts) > 1 else texts[0]

    def _patches_text(self, patches: frozenset[int]) -> str:
        return " or ".join(self._range_text(first, last) for first, last in _ranges(sorted(patches)))

    def _range_text(self, first: int, last: int) -> str:
        bounds = []
        if first > self.patches[0]:
            bounds.append(f"python_full_version >= '{self._minor}.{first}'")
        if last < self.patches[-1]:
            bounds.append(f"python_full_version < '{self._minor}.{last + 1}'")
        return " and ".join(bounds)


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _both(left: str, right: str) -> str:
    if not left or not right:
        return left or right
    return f"{_grouped(left, ' or ')} and {_grouped(right, ' or ')}"


def _grouped(text: str, joiner: str = " ") -> str:
    return f"({text})" if joiner in text and (" or " in text or " and " in text) else text
