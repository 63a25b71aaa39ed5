"""Before maintainer scripts run as root of this machine: a signature has to stand behind every row of the lock.

Its hashes alone would let whoever wrote the lock do anything here. A user namespace, an engine and a plain image's own
build keep scripts away from the machine, so nothing is asked there.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system import bootstrap, offer
from dsenv.ecosystems.system.archives import trust
from dsenv.ecosystems.system.spec import parse_base
from dsenv.errors import DsenvError, IntegrityError
from dsenv.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.ecosystem import Platform
    from dsenv.ecosystems.system.pins import Package, Pins
    from dsenv.ecosystems.system.spec import Spec
    from dsenv.pins import Selection, Target
    from dsenv.progress import Progress
    from dsenv.steps import Place
    from dsenv.store import Store

_NAMED: Final = 8  # packages that an error names


def check_root(
    pins: Pins, spec: Spec, platform: Platform, selection: Selection, place: Place, store: Store, progress: Progress
) -> None:
    """Look whether a signed file, kept or of today, lists every row whose scripts are about to run as root here.

    Raises:
        IntegrityError: Some are listed by none.

    """
    root = pins.root(selection.target)
    if place.kind != "image" or place.alone or root is None or parse_base(pins.base).image:
        return
    if not bootstrap.runs_as_root() or bootstrap.is_made(root, bootstrap.epoch(pins, root, store), store):
        return
    progress.update("looking which signed files list the packages")
    alone = pins.model_copy(update={"roots": {str(selection.target): root}})
    good = {one.name for one in trust.vouched(alone, spec, store) if one.state == "good"}
    rows = [row for row in root.installed if row.name not in good]
    if rows and not store.offline:
        listed = _listed_today(rows, pins, spec, platform, selection.target, store)
        rows = [row for row in rows if (row.name, row.version, row.sha256) not in listed]
    if rows:
        names = ", ".join(f"{row.name} {row.version}" for row in rows[:_NAMED]) + (" …" if rows[_NAMED:] else "")
        raise IntegrityError(
            f"no signed file that can be had lists {len(rows)} of the packages whose scripts would run as root of this "
            f"machine: {names}",
            hint="Run it as a user without root, or `dsenv docker --trust-lock` if you trust whoever wrote the lock; "
            "`dsenv verify --trust` says more of each.",
        )


def _listed_today(
    rows: Sequence[Package], pins: Pins, spec: Spec, platform: Platform, target: Target, store: Store
) -> set[tuple[str, str, str]]:
    """Return what the archives list of the rows by now: name, version, sha256; nothing where they cannot be asked."""
    with contextlib.suppress(DsenvError):
        offers = offer.survey(spec, replace(platform, targets=(target,)), [pins], {}, store, Silent())
        with offers[target].ready() as root:
            stanzas = root.show((row.name, row.version) for row in rows)
        return {(one["Package"], one["Version"], one.get("SHA256", "")) for one in stanzas}
    return set()
