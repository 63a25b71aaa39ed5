"""Which steps make R and its packages work in place.

The files come with the system packages. What remains is where R looks: only in the environment's own libraries. On
Debian that takes more than one variable, because its Renviron.site puts the machine's site library first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.r import session
from dsenv.steps import Dereference, Derive, Place, Recipe, SetEnv, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.builds import Built
    from dsenv.ecosystems.r.pins import Pins
    from dsenv.pins import Selection
    from dsenv.progress import Progress
    from dsenv.store import Store

_HOME: Final = "usr/lib/R"
_LIBRARIES: Final = ("usr/lib/R/site-library", "usr/lib/R/library")
_FRONT_ENDS: Final = ("usr/lib/R/bin/R", "usr/bin/R")  # two files, both with the paths below written in
_BUILT_IN: Final = (
    ("R_HOME_DIR", "usr/lib/R"),
    ("R_SHARE_DIR", "usr/share/R/share"),
    ("R_INCLUDE_DIR", "usr/share/R/include"),
    ("R_DOC_DIR", "usr/share/R/doc"),
)


def recipe(
    pins: Pins, selection: Selection, place: Place, store: Store, progress: Progress, built: Mapping[str, Built]
) -> Recipe:
    """Return the steps for a place."""
    del selection, store, progress, built
    title = f"R {pins.version}, {len(pins.packages)} packages"
    if place.kind == "host":
        note = f"R {pins.version} and its {len(pins.packages)} packages: they are those of the locked distribution"
        return Recipe(name="r", title="no R", notes=(note,))
    steps = _isolation(place)
    notes: tuple[str, ...] = ()
    if place.kind == "project":
        steps += _relocation(place)
        if " " in place.root:
            notes = ("R CMD INSTALL and the like: make cannot work in a path with a space",)
    variables = [step.name for step in steps if isinstance(step, SetEnv)]
    profiles = session.profiles(place, pins.version, _libraries(place), variables)
    return Recipe(name="r", title=title, steps=(*profiles, *steps), notes=notes)


def _isolation(place: Place) -> list[Step]:
    """Return the steps after which R sees no library but the environment's."""
    return [
        SetEnv(name="R_PROFILE", value=f"{place.prefix}/{session.SITE}"),
        SetEnv(name="R_PROFILE_USER", value=f"{place.prefix}/{session.USER}"),
        SetEnv(name="R_ENVIRON", value="/dev/null"),
        SetEnv(name="R_ENVIRON_USER", value="/dev/null"),  # the profile reads .Renviron
        SetEnv(name="R_LIBS", value=":".join(_libraries(place))),
        SetEnv(name="R_LIBS_SITE", value="NULL"),
        SetEnv(name="R_LIBS_USER", value="NULL"),
        # The maintainer script of libpaper1 would choose it, from the locale of whoever installs.
        SetEnv(name="R_PAPERSIZE", value="a4"),
    ]


def _relocation(place: Place) -> list[Step]:
    """Return the steps that let R run from a tree: its front ends and settings have /usr written in."""
    front_end = tuple(
        (f"\n{name}=/{path}\n", f"\n{name}={_shell_string(f'{place.root}/{path}')}\n") for name, path in _BUILT_IN
    )
    home = f"{place.root}/{_HOME}"
    return [
        *(Derive(source=path, path=path, replacements=front_end) for path in _FRONT_ENDS),
        # As r-base-core's maintainer script does; R_PAPERSIZE above says what that script would ask.
        Derive(source="usr/lib/R/etc/Renviron.ucf", path="etc/R/Renviron"),
        # shiny serves what lies in a package's directory or in the machine's /usr/share/javascript, links followed.
        *(Dereference(below=path) for path in _LIBRARIES),
        SetEnv(name="R_HOME", value=home),
        SetEnv(name="RHOME", value=home),  # Rscript's word for it
        *(SetEnv(name=name, value=f"{place.root}/{path}") for name, path in _BUILT_IN[1:]),
        # R's etc/ldpaths puts this machine's own library directory first, unless it is told otherwise.
        SetEnv(name="R_LD_LIBRARY_PATH", value=f"{home}/lib"),
    ]


def _libraries(place: Place) -> list[str]:
    return [f"{place.root}/{path}" for path in _LIBRARIES]


def _shell_string(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
