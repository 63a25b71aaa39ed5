"""What of the Python pins the lock digest and the environment id cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystems.python import pylock
from dsenv.ecosystems.python.building import pins as building

if TYPE_CHECKING:
    from dsenv.ecosystems.python.building.pins import Source
    from dsenv.ecosystems.python.pins import Chosen, Pins
    from dsenv.pins import Selection, Target


def canonical(pins: Pins) -> object:
    """Return what the lock digest covers: versions, markers and hashes; no address and no engine."""
    # The instant is covered, too: it decides what the next lock may take.
    held = {"cool-down": pins.cool_down.model_dump(mode="json")} if pins.cool_down else {}
    return {
        **held,
        "interpreters": [row.model_dump(exclude={"build": {"url"}}, exclude_none=True) for row in pins.interpreters],
        "requires-python": str(pins.lock.requires_python or ""),
        "groups": list(pins.lock.dependency_groups or ()),
        "conflicts": [list(names) for names in pins.conflicts],
        "packages": pylock.hashes(pins.lock),
        **({"build": pylock.hashes(pins.build), "sources": _rows(pins)} if pins.build else {}),
    }


def _rows(pins: Pins) -> list[object]:
    return [row.model_dump() for row in pins.sources]


def identity(pins: Pins, selection: Selection) -> object:
    """Return what the environment id covers."""
    interpreter = pins.interpreter(selection.target)
    chosen = pins.select(selection)
    built = [_built(pins, row, row.source, selection.target) for row in chosen if row.source]
    return {
        "interpreter": [interpreter.version, interpreter.build.sha256 if interpreter.build else interpreter.package],
        "wheels": [[row.wheel.filename, row.wheel.sha256] for row in chosen if row.wheel],
        **({"built": built} if built else {}),
    }


def _built(pins: Pins, chosen: Chosen, source: Source, target: Target) -> object:
    """Return what decides a wheel that is built: source, what building takes, and what came of it if that is known."""
    wheel = source.wheel(target)
    takes = [wheel.sha256 for wheel in pins.build_wheels(source, target)]
    where = source.source if chosen.is_editable else building.artifact(chosen.package, source.tree).sha256
    return [
        chosen.name,
        chosen.version,
        where,
        source.subdirectory,
        source.backend,
        takes,
        wheel.sha256 if wheel else "",
    ]
