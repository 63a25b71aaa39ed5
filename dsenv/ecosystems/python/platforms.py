"""What a target means to Python's packaging: its marker environment, its clause in markers, its wheel tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.markers import Environment
    from packaging.pylock import PackageWheel

    from dsenv.pins import Target

_SYS_PLATFORM: Final = {"linux": "linux", "macos": "darwin", "windows": "win32"}
_SYSTEM: Final = {"linux": "Linux", "macos": "Darwin", "windows": "Windows"}
_MACHINE: Final = {
    ("linux", "amd64"): "x86_64",
    ("linux", "arm64"): "aarch64",
    ("macos", "amd64"): "x86_64",
    ("macos", "arm64"): "arm64",
    ("windows", "amd64"): "AMD64",
}
_MAC_RELEASE: Final = (14, 0)  # the oldest macOS that a lock serves
_OLDEST_GLIBC: Final = 5  # manylinux1, by PEP 600's numbering: glibc 2.5


def machine(target: Target) -> str:
    """Return ``platform_machine`` of a target."""
    return _MACHINE[target.os, target.architecture]


def sys_platform(target: Target) -> str:
    """Return ``sys_platform`` of a target."""
    return _SYS_PLATFORM[target.os]


def program(target: Target, minor: str) -> str:
    """Return where the directory of a target's Python has its program."""
    return "python.exe" if target.os == "windows" else f"bin/python{minor}"


def library(target: Target, minor: str) -> str:
    """Return where the directory of a target's Python has the standard library."""
    return "Lib" if target.os == "windows" else f"lib/python{minor}"


def clause(target: Target) -> str:
    """Return the marker that is true on a target and on no other."""
    return f"sys_platform == '{sys_platform(target)}' and platform_machine == '{machine(target)}'"


def environment(target: Target, version: str) -> Environment:
    """Return a target's marker environment under CPython ``version`` (``3.11.2``).

    What a lock cannot know, the kernel's release, is empty.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "nt" if target.os == "windows" else "posix",
        "platform_machine": machine(target),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": _SYSTEM[target.os],
        "platform_version": "",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": sys_platform(target),
    }


def tags(target: Target, version: str, libc: str) -> list[Tag]:
    """Return the wheel tags that a target's CPython takes, the best first.

    Args:
        target: The kind of machine.
        version: Of CPython: ``3.11.2``.
        libc: The base's glibc, ``2.36``; empty for targets without one.

    """
    python = tuple(int(part) for part in version.split(".")[:2])
    platforms = list(_platforms(target, libc))
    interpreter = f"cp{python[0]}{python[1]}"
    return [
        *cpython_tags(python, platforms=platforms),
        *compatible_tags(python, interpreter=interpreter, platforms=platforms),
    ]


def _platforms(target: Target, libc: str) -> Iterator[str]:
    if target.os == "macos":
        yield from mac_platforms(_MAC_RELEASE, machine(target))
    elif target.os == "windows":
        yield "win_amd64"
    else:
        yield from _linux_platforms(machine(target), libc)


def _linux_platforms(name: str, libc: str) -> Iterator[str]:
    """Yield the bare platform, then manylinux from the newest that ``libc`` serves (PEP 600) with its old names."""
    legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    newest = int(libc.split(".")[1])
    yield f"linux_{name}"
    for minor in range(newest, _OLDEST_GLIBC - 1, -1):
        yield f"manylinux_2_{minor}_{name}"
        if minor in legacy and (name == "x86_64" or minor == 17):  # noqa: PLR2004 - 2014 is the one for others
            yield f"{legacy[minor]}_{name}"


def wheel_tags(filename: str) -> frozenset[Tag]:
    """Return the tags in a wheel's file name; none of a name that is not a wheel's."""
    try:
        return parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return frozenset()


def best(wheels: Iterable[PackageWheel], accepted: Iterable[Tag]) -> PackageWheel | None:
    """Return the wheel that fits best, or ``None`` when none does; ``accepted`` has the best tag first."""
    ranks: dict[Tag, int] = {}
    for tag in accepted:
        ranks.setdefault(tag, len(ranks))
    fitting = [
        (min(found), wheel)
        for wheel in wheels
        if (found := [ranks[tag] for tag in wheel_tags(wheel.filename) & ranks.keys()])
    ]
    return min(fitting, key=lambda pair: pair[0])[1] if fitting else None
