"""What was built, as files in a plain directory that any web server can serve: from one store to another.

    KEY/facts.json    what it is, and the sha256 of the file beside it
    KEY/dplyr.tar

The key covers all that a result depends on, so a reader looks for the keys of its own lock. Only what was built of
locked artifacts alone is handed over. Whoever can write into the directory decides what its readers get.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from dsenv import tree as trees
from dsenv.errors import IntegrityError
from dsenv.pins import Artifact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.outputs.workshop import Order, Workshop

_FACTS: Final = "facts.json"
_FORMAT: Final = 1


def export(workshop: Workshop, directory: Path) -> Sequence[Order]:
    """Write what a workshop has into a directory, and return what was not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for order in workshop.orders.values():
        if order.result is None or not order.canonical or (directory / order.key / _FACTS).exists():
            continue
        aside = directory / f".{order.key}-{secrets.token_hex(4)}"
        aside.mkdir()
        try:
            name = order.result.path.name
            if trees.copy_file(order.result.path, aside / name) != order.result.sha256:
                raise IntegrityError(f"{order.build.title} in the store is damaged ({order.result.path})")
            facts = {"format": _FORMAT, "title": order.build.title, "file": name, "sha256": order.result.sha256}
            (aside / _FACTS).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
            trees.remove(directory / order.key)  # what is left of one that lost its facts
            aside.rename(directory / order.key)
        finally:
            trees.remove(aside)
        written.append(order)
    return written


def take(workshop: Workshop, directory: Path) -> Sequence[Order]:
    """Take into the store what a workshop lacks and a directory has, and return that.

    Raises:
        IntegrityError: A file is not what the directory itself says of it.

    """
    workshop.forbidden = ""  # what was built in a root of its own serves everybody, where none can be entered as well
    taken = []
    for order in workshop.lacking:
        home = directory / order.key
        if not (home / _FACTS).is_file():
            continue
        artifact = _read(home / _FACTS, order)
        with workshop.store.scratch("taken") as scratch:
            copy = scratch / artifact.filename
            if not (home / copy.name).is_file() or trees.copy_file(home / copy.name, copy) != artifact.sha256:
                raise IntegrityError(
                    f"{home / copy.name} is not the file that {_FACTS} beside it names",
                    hint="Get the directory anew from where it came from.",
                )
            workshop.keep(order, copy, 0.0)
        taken.append(order)
    return taken


def _read(path: Path, order: Order) -> Artifact:
    """Return the file that belongs to a key; raise ``IntegrityError`` for what says something else."""
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if facts["format"] != _FORMAT or facts["title"] != order.build.title:
            raise IntegrityError(f"{path} is not about {order.build.title}, or of another dsenv's form")
        return Artifact(filename=facts["file"], sha256=facts["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged", cause=str(error)) from error
