"""What other tools read of the Python pins, and what of theirs is taken over.

A ``pylock.toml`` that uv, pip, PDM or Poetry wrote is adopted by the first ``dsenv lock``: its versions are preferred
as if they had been locked before. Its markers, hashes and addresses are not taken: they answer other questions.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final

from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

from dsenv.ecosystems.python import pins as python_pins
from dsenv.ecosystems.python import platforms
from dsenv.ecosystems.python.building import pins as building
from dsenv.ecosystems.python.names import FILE
from dsenv.errors import LockFormatError, WrongUseError
from dsenv.foreign import Adopted
from dsenv.formats import toml_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.tags import Tag

    from dsenv.ecosystems.python.pins import Chosen, Pins
    from dsenv.pins import Selection, Target

exports: Final = ("requirements", "uv-constraints")


def adopt(files: Mapping[str, str]) -> Adopted | None:
    """Return what another tool's ``pylock.toml`` pins, or ``None`` when there is none.

    Raises:
        LockFormatError: It cannot be read.

    """
    text = files.get(FILE)
    if text is None or python_pins.owns(FILE, text):
        return None
    try:
        lock = Pylock.from_dict(tomllib.loads(text))
    except (ValueError, RecursionError, PylockValidationError, PylockUnsupportedVersionError) as error:
        raise LockFormatError(
            f"{FILE} is another tool's and cannot be read",
            cause=str(error),
            hint="Move it out of the way, then run `dsenv lock`.",
        ) from error
    return Adopted(
        filename=FILE,
        tool=lock.created_by,
        pins=python_pins.Pins(interpreters=(), lock=lock),
        count=sum(package.version is not None for package in lock.packages),
    )


def export(form: str, pins: Pins, selections: Sequence[Selection]) -> str:
    """Return the pins in another tool's form.

    Args:
        form: One of ``exports``.
        pins: What is locked.
        selections: Of each target that is asked for; ``requirements`` are those of the first.

    """
    if form == "requirements":
        return _requirements(pins, selections[0])
    if selections[0].groups:
        raise WrongUseError("uv-constraints holds the pins of all groups", hint="Leave out what chooses groups.")
    return _constraints(pins, [selection.target for selection in selections])


def _requirements(pins: Pins, selection: Selection) -> str:
    """Return a requirements.txt in which every file has its hash; it names no address, so any index may serve."""
    interpreter = pins.interpreter(selection.target)
    accepted = set(platforms.tags(selection.target, interpreter.version, interpreter.libc))
    lines = [
        f"# Exported by dsenv for {selection.target}, Python {interpreter.version}; change dsenv.toml instead.",
        "# pip install --no-deps --require-hashes -r THIS_FILE",
        "--only-binary :all:",
    ]
    chosen = pins.select(selection)
    if trees := [row.name for row in chosen if row.package.vcs or row.package.directory]:
        raise WrongUseError(
            f"a requirements file with hashes cannot hold {', '.join(trees)}: pip has no hash for a tree of files",
            hint="Use pylock.toml itself: uv and pip install from it, too.",
        )
    if built := sorted(row.name for row in chosen if row.source):
        lines.append(f"--no-binary {','.join(built)}")
    lines += [
        " \\\n".join([_asked(row), *(f"    --hash=sha256:{sha256}" for sha256 in _hashes(row, accepted))])
        for row in chosen
    ]
    return "\n".join(lines) + "\n"


def _asked(chosen: Chosen) -> str:
    archive = chosen.package.archive
    if archive is None:
        return f"{chosen.name}=={chosen.version}"
    subdirectory = f"#subdirectory={archive.subdirectory}" if archive.subdirectory else ""
    return f"{chosen.name} @ {archive.url}{subdirectory}" if archive.url else f"./{archive.path}{subdirectory}"


def _hashes(chosen: Chosen, accepted: set[Tag]) -> list[str]:
    """Return the sha256 of each file that may be installed."""
    if chosen.source:
        return [building.artifact(chosen.package, chosen.source.tree).sha256]
    fitting = [wheel for wheel in chosen.package.wheels or () if platforms.wheel_tags(wheel.filename) & accepted]
    direct = building.direct_wheel(chosen.package)
    return sorted({python_pins.artifact(wheel).sha256 for wheel in fitting} | ({direct.sha256} if direct else set()))


def _constraints(pins: Pins, targets: Sequence[Target]) -> str:
    """Return the table of a pyproject.toml that holds uv to the pins; with markers where targets differ."""
    versions: dict[str, dict[str, list[Target]]] = {}
    for target in targets:
        for package in pins.installed_on(target):
            versions.setdefault(package.name, {}).setdefault(pins.version(package), []).append(target)
    rows = []
    for name, found in sorted(versions.items()):
        for version, places in sorted(found.items()):
            clauses = " or ".join(f"({platforms.clause(target)})" for target in places)
            rows.append(f"{name}=={version}" + (f" ; {clauses}" if len(found) > 1 else ""))
    head = "# Exported by dsenv: uv then resolves to the locked versions. Change dsenv.toml instead.\n"
    return head + toml_write.dumps({"tool": {"uv": {"constraint-dependencies": rows}}})
