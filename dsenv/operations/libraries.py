"""What shared libraries tell of an environment before it runs: which are missing, and which come twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystems import FOUNDATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsenv.builds import Results
    from dsenv.ecosystem import Libraries, Supplier
    from dsenv.operations.selection import Selected
    from dsenv.progress import Progress
    from dsenv.store import Store


def warn(selected: Selected, store: Store, progress: Progress, built: Results) -> None:
    """Name the libraries that packages take from a system that does not bring them, and those that come twice.

    The artifacts are in the store, and what had to be built is.
    """
    for ecosystem, pins in selected.parts():
        progress.update("reading the shared libraries")
        found = ecosystem.libraries(pins, selected.selection, store, built.get(ecosystem.name, {}))
        for sentence in (*_missing(found, selected, store), *_twice(found, selected, store)):
            progress.warn(sentence)


def _missing(found: Libraries, selected: Selected, store: Store) -> Iterator[str]:
    for name, sonames in found.wanted.items():
        suppliers = {soname: _supplier(soname, selected, store) for soname in sonames}
        lost = {soname: supplier for soname, supplier in suppliers.items() if not supplier.locked}
        if lost:
            packages = ", ".join(f'"{package}"' for package in sorted({supplier.package for supplier in lost.values()}))
            yield (
                f"no locked package has {', '.join(lost)}, wanted by {name}: "
                f"add {packages} to [system] packages, or it may fail when it is imported"
            )


def _twice(found: Libraries, selected: Selected, store: Store) -> Iterator[str]:
    """Yield a sentence for each library of which a process may load two: a package's own, and the system's.

    It may where something takes the system's, or where that was asked for. Otherwise both are there and never meet.
    """
    takers: dict[str, list[str]] = {}
    for name, sonames in found.wanted.items():
        for soname in sonames:
            takers.setdefault(soname, []).append(name)
    for soname, owners in found.bundled.items():
        supplier = _supplier(soname, selected, store)
        if supplier.locked and not supplier.base and (soname in takers or supplier.asked_for):
            taken = f", which {', '.join(takers[soname])} takes" if soname in takers else ""
            yield (
                f"{soname} comes twice: within {', '.join(owners)}, and from {supplier.package}{taken}: "
                "a process may load both"
            )


def _supplier(soname: str, selected: Selected, store: Store) -> Supplier:
    return FOUNDATION.supplier(selected.ground, selected.selection.target, soname, store)
