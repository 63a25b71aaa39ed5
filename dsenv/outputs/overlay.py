"""Lay an environment's tree over /usr and its like, for this process and what it becomes: then all paths are true.

Nothing of the machine is written to: the mounts are seen in a namespace of this process alone, and end with it. A user
namespace makes that possible without root, where the machine allows one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dsenv.outputs.enter import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    call,
    mount,
)

_OVER: Final = ("usr", "etc", "opt")  # /var holds what the machine's programs keep


def lay_over(root: Path) -> str:
    """Lay the tree below ``root`` over the machine's; return why that cannot be, or nothing when it is done."""
    places = [name for name in _OVER if (root / name).is_dir() and Path("/", name).is_dir()]
    try:
        _unshare()
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        for name in places:
            _lay(root / name, Path("/", name))
        os.chdir(Path.cwd())  # where it is now, as the new mounts show it
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _unshare() -> None:
    """Give this process mounts of its own: by its rights, else by those that a user namespace gives it."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            call("unshare", CLONE_NEWNS)
        except PermissionError:
            pass
        else:
            return
    call("unshare", CLONE_NEWNS | CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", "ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", "ascii")


def _lay(tree: Path, place: Path) -> None:
    """Mount ``tree`` over ``place``; what is mounted below it is bound again, as an overlay does not show it."""
    below = [path for path in _mountpoints() if path.startswith(f"{place}/")]
    held = [(os.open(path, os.O_PATH), path) for path in below]
    layers = ":".join(_escaped(str(path)) for path in (tree, place))
    mount("overlay", str(place), "overlay", MS_RDONLY, f"lowerdir={layers}")
    for descriptor, path in held:
        if os.path.lexists(path):
            mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        os.close(descriptor)


def _mountpoints() -> list[str]:
    """Return where something is mounted (proc(5)), each above what is mounted below it."""
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    return sorted({line.split()[4].encode().decode("unicode_escape") for line in lines})


def _escaped(path: str) -> str:
    """Return a path as the overlay's options have it."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
