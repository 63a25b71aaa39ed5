"""ccache in a build: where a root has it, compilers give what they compiled before for the same package.

It changes no key and no result: what ccache keeps is what the same compiler, in the same root, made of the same text.
Each package has a cache of its own, as a build may write into it whatever it likes.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PROGRAM: Final = "usr/bin/ccache"
_COMPILER: Final = re.compile(r"(?:\w+-linux-gnu\w*-)?(?:gcc|g\+\+|cc|c\+\+)(?:-[0-9.]+)?")
_MOST: Final = "1G"  # of one package


def is_in(root: Path) -> bool:
    """Say whether a root has it."""
    return (root / _PROGRAM).is_file()


def lay(root: Path, directory: Path) -> None:
    """Write compilers into a directory that ask ccache first, for use in a root that is entered."""
    directory.mkdir()
    for name in _compilers(root):
        path = directory / name
        path.write_text(f'#!/bin/sh\nexec /{_PROGRAM} /usr/bin/{shlex.quote(name)} "$@"\n', "utf-8")
        path.chmod(0o755)


def variables(directory: str, key: str) -> Mapping[str, str]:
    """Return what tells it where its cache is, and for what that counts.

    Args:
        directory: The cache's, as a build sees it.
        key: The root's. What was compiled in another root counts for nothing: ccache itself looks at the compiler's
            driver alone, and not at the compiler proper or the assembler.

    """
    return {
        "CCACHE_DIR": directory,
        "CCACHE_COMPILERCHECK": f"string:{key}",
        "CCACHE_MAXSIZE": _MOST,
        # Headers are unpacked for each build: that they are new says nothing. Their content is compared all the same.
        "CCACHE_SLOPPINESS": "include_file_ctime,include_file_mtime",
    }


def _compilers(root: Path) -> Iterator[str]:
    for path in sorted((root / "usr/bin").iterdir()):
        if _COMPILER.fullmatch(path.name):
            yield path.name
