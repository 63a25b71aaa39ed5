"""Tarballs that were replaced under the same version: CRAN does it in place, and repository managers on the way.

An address that serves other bytes than the lock names is never taken silently. What differs is named; where it is only
what repacking changes, the new bytes can be accepted beside the old ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsenv.download import Unhashed
from dsenv.ecosystems.r import description, tarball
from dsenv.errors import IntegrityError
from dsenv.foreign import Repack
from dsenv.pins import Artifact

if TYPE_CHECKING:
    from dsenv.ecosystems.r.pins import Package, Pins, Source
    from dsenv.store import Store

_SHOWN: Final = 12  # files that are named


def repacked(pins: Pins, which: Artifact | str, store: Store) -> Repack | None:
    """Return what the addresses of a package serve now instead of what is locked, ``None`` when it is the same.

    Args:
        pins: What is locked.
        which: The package's name, or its artifact.
        store: Where the served file comes to lie.

    Raises:
        IntegrityError: They serve something that is no source of this package, or of another version.
        DownloadError: They serve nothing.

    """
    for row in pins.packages:
        is_meant = row.name == which if isinstance(which, str) else _has(row, which)
        if is_meant and row.source and row.source.kind == "repository":
            return _compared(pins, row, row.source, store)
    return None


def _has(row: Package, artifact: Artifact) -> bool:
    return row.source is not None and artifact.sha256 in row.source.sha256


def _compared(pins: Pins, row: Package, source: Source, store: Store) -> Repack | None:
    served = store.learn([Unhashed(filename=source.filename, urls=source.urls, fresh=True)])[0]
    if served.sha256 in source.sha256:
        return None
    examined = tarball.examine(served, store)
    says = f"{examined.description.get('Package')} {examined.description.get('Version')}"
    if says != f"{row.name} {row.version}":
        raise IntegrityError(f"{source.filename} is locked, and its address serves {says}")
    is_same = examined.content == source.content
    update: dict[str, object]
    if is_same:
        update = {"sha256": (*source.sha256, served.sha256)}
    else:
        update = {"sha256": (served.sha256,), "size": served.size, "content": examined.content}
    renv_hash = row.renv_hash if is_same else description.renv_hash(examined.description)
    accepted = row.model_copy(update={"source": source.model_copy(update=update), "renv_hash": renv_hash})
    rows = tuple(accepted if other is row else other for other in pins.packages)
    return Repack(
        package=row.name,
        harmless=is_same,
        error=_error(row, source, served, store, is_same=is_same),
        pins=pins.model_copy(update={"packages": rows}),
    )


def _error(row: Package, source: Source, served: Artifact, store: Store, *, is_same: bool) -> IntegrityError:
    held = [Artifact(filename=source.filename, sha256=sha256) for sha256 in source.sha256]
    here = [artifact for artifact in held if not store.missing([artifact])]
    how = f"run `dsenv lock --accept-repack {row.name}`"
    if here:
        changed, remade = tarball.differences(store.read_checked(here[0]), store.read_checked(served), source.filename)
        cause = "\n".join(["differs in:", *_listed(changed or remade)])
    elif is_same:
        cause = "differs in nothing but what repacking changes: MD5, build/, and lines of DESCRIPTION"
    else:
        cause = "the file as it was locked is not in this store: which of its files differ cannot be told"
    if is_same:
        return IntegrityError(
            f"{source.filename} was packed anew: its address serves other bytes with the same content",
            cause=cause,
            hint=f"To accept them, {how}.",
        )
    return IntegrityError(
        f"{source.filename} was changed: its address serves another content under the same version",
        cause=cause,
        hint=f"Find out who changed it, and why; to take what is served now, {how}.",
    )


def _listed(names: list[str]) -> list[str]:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [*names[:_SHOWN], *more]
