"""The Python of a place: where it lies, how it differs from what is locked, and how a build of it is put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystems.python import platforms, uv
from dsenv.errors import DsenvError
from dsenv.pins import Target
from dsenv.steps import Run

if TYPE_CHECKING:
    from dsenv.ecosystems.python.pins import Interpreter
    from dsenv.ecosystems.python.standalone import Build
    from dsenv.steps import Place


def home(place: Place) -> str:
    """Return where a build of Python is unpacked."""
    return f"{place.prefix}/python"


def interpreter(row: Interpreter, place: Place) -> tuple[str, str]:
    """Return the path of the Python that an environment runs on, and how it differs from what is locked.

    Raises:
        DsenvError: None is locked for this place, and this machine has none of that minor.

    """
    minor = row.version.rpartition(".")[0]
    if row.build:
        return f"{home(place)}/{platforms.program(Target.parse(row.target), minor)}", ""
    if row.package and place.kind != "host":
        return f"{place.root}/usr/bin/python{minor}", ""
    for request in (row.version, minor):
        path = uv.find_python(request)
        if path:
            version = uv.python_version(path)
            if not row.package:
                return path, f"Python here is {version} ({path}): the lock has no build of it for {row.target}"
            return path, "" if version == row.version else f"Python here is {version} ({path}), locked is {row.version}"
    raise DsenvError(
        f"this machine has no Python {minor}",
        hint=f"Install Python {minor}, or use the image: `dsenv docker`, then `dsenv run --image -- COMMAND`.",
    )


def unpacking(build: Build, place: Place) -> tuple[Run, Run]:
    """Return the steps that put a build in place from among the inputs, where the steps run as programs."""
    directory = home(place)
    form = ("--extract", "--no-same-owner", "--strip-components=1")
    return (
        Run(argv=("mkdir", "-p", directory)),
        Run(argv=("tar", *form, "--directory", directory, "--file", f"{place.inputs}/{build.filename}")),
    )
