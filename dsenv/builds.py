"""What has to be made from artifacts before it can be installed: a wheel from an sdist, an R package from its source.

An ecosystem says what to build, as values; the workshop (``dsenv.outputs.workshop``) makes it, out of reach of the
network, with the locked system packages and nothing else where the machine allows it. What was made is kept in the
store by a key of all that it depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.steps import Place

if TYPE_CHECKING:
    from pathlib import Path

    from dsenv.steps import Input, Run

PLACE: Final = Place(kind="workshop", prefix="/build", root="", inputs="/build/in")
"""Where builds are, in a root of their own: what depends on a path depends on this one."""

EPOCH: Final = "315532800"
"""The time stamp of what is made, in seconds since 1970: the first date that a zip archive can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One thing to make, for a place of kind ``workshop``."""

    name: str  # unique among its ecosystem's: "psutil"
    title: str  # for a person: "psutil 7.0.0"
    inputs: tuple[Input, ...]  # by name below Place.inputs
    steps: tuple[Run, ...]  # run in <Place.prefix>/work; the result is the one file that they leave in <prefix>/out
    after: tuple[str, ...] = ()  # builds of the same ecosystem; their results lie in <Place.inputs>/built/<name>/
    # Names of the system packages that it may see, with what they depend on; beside them only the base, and what a
    # person asked for building. A package that comes for another build's sake then changes nothing here.
    sees: tuple[str, ...] = ()
    verb: str = "built"  # for a person, what was done once it is made: "checked", where somebody else has built it
    record: bool = False  # whether `lock` makes it too, for this machine's target, and writes down what came out
    sha256: str = ""  # what the lock says has come out
    in_image: bool = False  # whether an image can make it by itself: the recipe then takes a Pending in place of it
    pure: bool = False  # whether the result cannot depend on compilers: another one is an error, not a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of a build."""

    path: Path  # in the store
    sha256: str
    canonical: bool  # made of nothing but locked artifacts; else tools of this machine took part


Results = Mapping[str, Mapping[str, Built]]
"""What came of all builds: by ecosystem, by name."""
