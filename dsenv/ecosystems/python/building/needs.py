"""Which system packages building takes: compilers and the headers of Python, for sources that hold what is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.pins import Need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsenv.ecosystems.python.building.pins import Source
    from dsenv.ecosystems.python.pins import Pins
    from dsenv.pins import Target

_C: Final = ("gcc", "libc6-dev", "make", "pkg-config")
_COMPILERS: Final = {
    "c": _C,
    "c++": (*_C, "g++"),
    "fortran": (*_C, "gfortran"),
    "rust": (*_C, "cargo"),
}


def needs(pins: Pins, target: Target) -> Iterator[Need]:
    """Yield what building takes of the system on a target, by whom; nothing comes into an environment for that."""
    for package in pins.installed_on(target):
        row = pins.source(package)
        if row and not pins.has_wheel(package, target):
            yield from (Need(name, why=f"py:{row.name}", build=True) for name in compilers(pins, row, target))


def compilers(pins: Pins, row: Source, target: Target) -> list[str]:
    """Return the system packages with which a source is compiled."""
    interpreter = pins.interpreter(target)
    headers = {f"{interpreter.package}-dev"} if interpreter.package else set()  # a build of Python brings its own
    names = {name for language in row.languages for name in _COMPILERS.get(language, ())}
    return sorted(names | headers) if names else []
