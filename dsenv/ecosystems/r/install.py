"""Which steps make R and its packages work in place.

R's files, and those of packages that the distribution has built, come with the system packages; what was built from
source is unpacked into a library of its own. What remains is where R looks: only in the environment's own libraries.
On Debian that takes more than one variable, because its Renviron.site puts the machine's site library first.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.r import building, session
from dsenv.ecosystems.r.built import HOME
from dsenv.steps import Dereference, Derive, Input, Pending, Place, PrependPath, Recipe, Run, SetEnv, Step, Unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dsenv.builds import Built
    from dsenv.ecosystems.r.built import Archive
    from dsenv.ecosystems.r.pins import Package, Pins
    from dsenv.pins import Selection
    from dsenv.progress import Progress
    from dsenv.store import Store

_HOME: Final = "usr/lib/R"
_OWN: Final = "usr/lib/R/library"  # R's, with what it recommends
_LIBRARIES: Final = ("usr/lib/R/site-library", _OWN)
_UNPACK: Final = "unpack.sh"
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
    del store, progress
    count = len(pins.selected(selection))
    title = f"R {pins.version}, {count} packages"
    if place.kind == "host":
        note = f"R {pins.version} and its {count} packages: they are those of the locked distribution"
        return Recipe(name="r", title="no R", notes=(note,))
    sources = building.made(pins, selection)
    archive = pins.archives.get(str(selection.target))
    libraries = _libraries(place, sources=bool(sources), own=archive is not None)
    steps = _isolation(place, libraries)
    notes: tuple[str, ...] = ()
    if archive:
        steps += _unpacked(archive, place)
    elif place.kind == "project":
        steps += _relocation(place)
    if place.kind == "project" and " " in place.prefix:
        notes = ("R CMD INSTALL and the like: make cannot work in a path with a space",)
    variables = [step.name for step in steps if isinstance(step, SetEnv)]
    site = f"{home(place)}/{HOME}/etc/Rprofile.site" if archive else f"{place.root}/etc/R/Rprofile.site"
    profiles = session.profiles(place, pins.version, libraries, variables, site)
    inputs: tuple[Input, ...] = ()
    if archive and place.kind == "image":
        inputs += (Input(name=archive.filename, source=archive.artifact()),)
    if sources:
        inputs += tuple(_inputs(sources, built))
        steps.append(Run(argv=("sh", f"{place.inputs}/{_UNPACK}", library(place))))
    pending = tuple(Pending(name=_packed(row), build=row.name) for row in sources if row.name not in built)
    return Recipe(name="r", title=title, inputs=inputs, pending=pending, steps=(*profiles, *steps), notes=notes)


def library(place: Place) -> str:
    """Return where the packages lie that were built from source."""
    return f"{place.prefix}/library"


def home(place: Place) -> str:
    """Return where an archive of R is unpacked."""
    return f"{place.prefix}/R"


def _unpacked(archive: Archive, place: Place) -> list[Step]:
    """Return the steps that put an archive of R in place; its front ends find out where they lie."""
    where = home(place)
    steps: list[Step] = [Unpack(artifact=archive.artifact(), directory=where)]
    if place.kind == "image":
        form = ("--extract", "--no-same-owner", "--strip-components=1")
        steps = [
            Run(argv=("mkdir", "-p", where)),
            Run(argv=("tar", *form, "--directory", where, "--file", f"{place.inputs}/{archive.filename}")),
        ]
    return [
        *steps,
        PrependPath(name="PATH", directories=(f"{where}/bin",)),
        SetEnv(name="R_HOME", value=f"{where}/{HOME}"),
        SetEnv(name="RHOME", value=f"{where}/{HOME}"),  # Rscript's word for it
        SetEnv(name="R_LD_LIBRARY_PATH", value=f"{where}/{HOME}/lib"),  # as below
    ]


def _inputs(sources: Iterable[Package], built: Mapping[str, Built]) -> Iterator[Input]:
    yield Input(name=_UNPACK, source=resources.files(__package__).joinpath(_UNPACK).read_text("utf-8"))
    for row in sources:
        if made := built.get(row.name):
            yield Input(name=_packed(row), source=made.path, sha256=made.sha256)


def _packed(row: Package) -> str:
    return f"library/{row.name}.tar"


def _isolation(place: Place, libraries: Sequence[str]) -> list[Step]:
    """Return the steps after which R sees no library but the environment's."""
    return [
        SetEnv(name="R_PROFILE", value=f"{place.prefix}/{session.SITE}"),
        SetEnv(name="R_PROFILE_USER", value=f"{place.prefix}/{session.USER}"),
        SetEnv(name="R_ENVIRON", value="/dev/null"),
        SetEnv(name="R_ENVIRON_USER", value="/dev/null"),  # the profile reads .Renviron
        SetEnv(name="R_LIBS", value=":".join(libraries)),
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


def _libraries(place: Place, *, sources: bool, own: bool) -> list[str]:
    """Return all libraries, the first to look in first.

    Packages of the distribution and those built from source are never mixed: beside these only R's own library counts.
    """
    if own:
        return [library(place)] * sources + [f"{home(place)}/{HOME}/library"]
    if sources:
        return [library(place), f"{place.root}/{_OWN}"]
    return [f"{place.root}/{path}" for path in _LIBRARIES]


def _shell_string(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
