"""The chain of signatures, walked again from what the store keeps, or an address still serves.

It leads from a signed Release file to the index that it lists, from there to a row, and from the row to its file.
Nothing that the lock says is believed on the way: it only names the files to look at. Keys are those of the machine's
keyring of the distribution, or of the project's own files for third parties.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dsenv import tree
from dsenv.ecosystems.system.archives import kept, sources
from dsenv.ecosystems.system.archives.anchors import packages_file
from dsenv.ecosystems.system.distributions import DISTRIBUTIONS
from dsenv.errors import DownloadError, DsenvError, IntegrityError
from dsenv.pins import Artifact, Target, Vouched
from dsenv.tools import openpgp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsenv.ecosystems.system.archives.repositories import Repository
    from dsenv.ecosystems.system.pins import Archive, IndexFile, Package, Pins, Root
    from dsenv.ecosystems.system.spec import Spec
    from dsenv.store import Store

Listed = dict[str, tuple[str, str, str]]  # sha256 -> name, version, architecture


def vouched(pins: Pins, spec: Spec, store: Store) -> Iterator[Vouched]:
    """Yield for each row of each target who vouches for it, or why nobody does."""
    for name, root in sorted(pins.roots.items()):
        target = Target.parse(name)
        anchors: dict[str, list[_Anchor]] = {}
        for row in root.packages:
            if row.origin not in anchors:
                found = kept.indexes(pins, target, [row.origin])
                anchors[row.origin] = [_anchor(archive, index, root, spec, store) for archive, index in found]
            yield _row(row, target, anchors[row.origin], pins.artifact(row), store)


class _Anchor:
    """An index with who vouches for it, or why nobody does."""

    def __init__(self, archive: Archive, state: openpgp.State, *, note: str = "", key: str = "") -> None:
        self.label = f"{archive.suite} of {archive.date}"
        self.state = state
        self.note = note
        self.key = key
        self.listed: Mapping[str, tuple[str, str, str]] = {}


def _anchor(archive: Archive, index: IndexFile, root: Root, spec: Spec, store: Store) -> _Anchor:
    files = _files(archive, index, spec)
    release, packages = (store.path(artifact) for artifact in files)
    for title, artifact, path in zip(("InRelease", "Packages"), files, (release, packages), strict=True):
        if not path.exists() and not store.offline:
            with contextlib.suppress(DownloadError, IntegrityError):
                store.fetch([artifact])
        if not path.exists():
            place = f"artifacts/{artifact.sha256[:2]}/{artifact.sha256}"
            who = f"the store of whoever made the lock has it as {place}"
            return _Anchor(archive, "unknown", note=f"its {title} file is not in the store: {who}")
        if tree.file_sha256(path) != artifact.sha256:
            return _Anchor(archive, "bad", note=f"its {title} file in the store is damaged ({path})")
    said = openpgp.verify(release, _keyring(archive, root, spec, store))
    if not said.text:
        return _Anchor(archive, said.state, note=said.reason)
    signed = re.search(
        rf"^ {index.sha256} +[0-9]+ {re.escape(index.path)}$", said.text.partition("\nSHA256:")[2], re.MULTILINE
    )
    if not signed:
        return _Anchor(archive, "bad", note=f"its Release file does not list {index.path} with this sha256")
    found = _Anchor(archive, said.state, note=said.reason, key=said.fingerprint)
    found.listed = _read(kept.packages(packages.read_bytes(), index.path))
    return found


def _files(archive: Archive, index: IndexFile, spec: Spec) -> tuple[Artifact, Artifact]:
    """Return the Release file and the index, with where they were and, for those that are dated, still are."""
    third = _third_party(archive, spec)
    suite = third.suite if third else archive.suite
    homes = [sources.directory(address, suite) for address in (*archive.fallbacks, archive.uri)]
    urls = tuple(f"{home}/InRelease" for home in homes)
    release = Artifact(filename="InRelease", sha256=archive.inrelease, urls=urls)
    return release, packages_file(homes, index.path, index.sha256)


def _third_party(archive: Archive, spec: Spec) -> Repository | None:
    return next((row for row in spec.repositories if row.name == archive.suite), None)


def _keyring(archive: Archive, root: Root, spec: Spec, store: Store) -> Path:
    """Return the keyring that has to have signed an archive."""
    if third := _third_party(archive, spec):
        return store.path(Artifact(filename="keyring.gpg", sha256=store.keep(third.keyring)))
    path = Path(DISTRIBUTIONS[root.distribution].keyring)
    if not path.exists():
        raise DsenvError(
            f"this machine has no keyring of {root.distribution} ({path})",
            hint=f"Install the package of the keyring: {path.stem.removesuffix('-keyring')}-keyring.",
        )
    return path


def _read(text: str) -> Listed:
    found: Listed = {}
    for block in text.split("\n\n"):
        facts = dict(re.findall(r"^(Package|Version|Architecture|SHA256): *(\S+)$", block, re.MULTILINE))
        if len(facts) == len(("Package", "Version", "Architecture", "SHA256")):
            found[facts["SHA256"]] = (facts["Package"], facts["Version"], facts["Architecture"])
    return found


def _row(row: Package, target: Target, anchors: list[_Anchor], artifact: Artifact, store: Store) -> Vouched:
    """Return who vouches for a row: of several states of its archive, one that lists it with a good signature."""
    facts = (row.name, row.version, row.architecture)
    listing = [anchor for anchor in anchors if anchor.listed.get(row.sha256) == facts]
    best = min(listing, key=lambda anchor: anchor.state != "good", default=None)
    path = store.path(artifact)
    file = "absent" if not path.exists() else "sound" if tree.file_sha256(path) == row.sha256 else "damaged"
    common = {"target": str(target), "name": row.name, "version": row.version, "file": file}
    if best is None:
        broken = [f"{anchor.label}: {anchor.note}" for anchor in anchors if not anchor.listed]
        reason = "; ".join(broken) or "no signed index lists it with this sha256"
        return Vouched(**common, state="unvouched", reason=reason)
    return Vouched(**common, state=best.state, by=best.label, key=best.key, reason=best.note)
