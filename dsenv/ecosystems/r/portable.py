"""Builds of R that run wherever they are unpacked: what [r] archive names, downloaded, hashed and read.

Their form is that of Posit's portable builds: a tar archive of one directory with ``bin/R`` and ``lib/R``, whose front
ends find out themselves where they lie. No index has hashes of them, so an archive is downloaded when it is locked.
"""

from __future__ import annotations

import functools
import posixpath
import struct
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from dsenv import addresses
from dsenv.download import Unhashed
from dsenv.ecosystems.r import binary, description
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r.built import HOME, Archive, OwnArtifact, mirrored
from dsenv.ecosystems.r.distribution import Built, Distribution
from dsenv.ecosystems.r.tarball import parse_description
from dsenv.ecosystems.r.versions import is_version_of
from dsenv.errors import IntegrityError, ResolutionError
from dsenv.pins import Artifact, without_credentials
from dsenv.tools import elf, tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dsenv.ecosystem import Offer, Request
    from dsenv.ecosystems.r.spec import Spec
    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Target
    from dsenv.store import Store
    from dsenv.tree import Tree

_MACHINES: Final = {"amd64": 62, "arm64": 183}  # e_machine of an ELF header
_PROGRAM: Final = f"{HOME}/bin/exec/R"
_HARMLESS: Final = ("libc.", "libm.", "libdl.", "libpthread.", "librt.", "libutil.", "ld-linux")


def read(request: Request) -> tuple[Distribution, Mapping[str, Archive]]:
    """Return R and what it brings as its archives have them, and the archives with their hashes.

    Raises:
        ResolutionError: One is of another version or machine, or they differ.
        IntegrityError: One is no R.

    """
    spec: Spec = request.spec
    archives: dict[str, Archive] = {}
    stanzas: dict[str, dict[str, Stanza]] = {}
    for target in request.platform.targets:
        if not (template := spec.archive_for(str(target))):
            continue
        archive = _held(template, target, request) or _learned(template, request)
        tree, files = unpacked(archive, request.store)
        _check(archive, target, tree, files)
        found = {stanza["Package"]: stanza for stanza in _descriptions(tree, files)}
        version = found.get("base", {}).get("Version", "none")
        if not is_version_of(version, spec.version):
            raise ResolutionError(
                f"{archive.filename} is R {version}, and [r] version is {spec.version}",
                hint="Correct [r] version, or the address in [r] archive.",
            )
        offer = request.offers.get(target)
        needs, glibc = _libraries(archive, tree, files, offer, request)
        if reason := binary.too_new(glibc, offer):
            raise ResolutionError(
                f"{archive.filename} cannot run on {offer.label if offer else target}: it {reason}",
                hint="Choose another base, or a build of R for an older distribution.",
            )
        archives[str(target)] = archive.model_copy(update={"needs": needs})
        stanzas[str(target)] = found
    versions = {name: {key: row["Version"] for key, row in found.items()} for name, found in stanzas.items()}
    first = next(iter(versions))
    if any(found != versions[first] for found in versions.values()):
        raise ResolutionError(f"the archives of R for {', '.join(versions)} hold other versions of packages")
    packages = {
        name: Built(description=stanza, debs=dict.fromkeys(stanzas, OwnArtifact()), askers=(), with_r=True)
        for name, stanza in stanzas[first].items()
        if stanza.get("Priority") == "recommended"
    }
    return Distribution(version=versions[first]["base"], packages=packages, profile=""), archives


def unpacked(archive: Archive, store: Store) -> tuple[Tree, Path]:
    """Return an archive's tree, and the directory that holds its files; it is in the store."""
    return store.unpacked(archive.artifact(), functools.partial(tar.unpack, owner=archive.filename), tar.UNPACKED)


def _held(template: str, target: Target, request: Request) -> Archive | None:
    """Return the archive that is locked, if it is of the same address."""
    url = without_credentials(_filled(template))
    for pins in request.previous:
        archive: Archive | None = pins.archives.get(str(target))
        if archive and archive.url == url and not request.upgrade.releases(r_pins.R):
            request.store.fetch([archive.artifact()], request.progress)
            return archive
    return None


def _learned(template: str, request: Request) -> Archive:
    url = _filled(template)
    filename = unquote(posixpath.basename(urlsplit(url).path))
    request.progress.say(f"nobody tells the sha256 of {filename}: it is downloaded to be hashed")
    file = Unhashed(filename=filename, urls=(*mirrored(filename), url), fresh=True)
    found: Artifact = request.store.learn([file], request.progress)[0]
    return Archive(filename=filename, sha256=found.sha256, size=found.size or 1, url=without_credentials(url), needs=())


def _filled(template: str) -> str:
    return addresses.filled(template, "[r] archive").url


def _check(archive: Archive, target: Target, tree: Tree, files: Path) -> None:
    for path in ("bin/R", f"{HOME}/bin/R", _PROGRAM, f"{HOME}/library/base/DESCRIPTION"):
        if path not in tree or tree[path].kind == "directory":
            raise IntegrityError(
                f"{archive.filename} is no R that runs anywhere: it holds no {path}",
                hint="Expected is one directory with bin/R and lib/R in it.",
            )
    with (files / _PROGRAM).open("rb") as file:
        head = file.read(20)
    machine = struct.unpack_from("<H", head, 18)[0] if head.startswith(elf.MAGIC) and len(head) == 20 else 0  # noqa: PLR2004
    if machine != _MACHINES[target.architecture]:
        raise ResolutionError(
            f"{archive.filename} is not for {target}: its program is for another kind of machine",
            hint="Correct the address in [r] archive.",
        )


def _descriptions(tree: Tree, files: Path) -> Iterator[Stanza]:
    for path, entry in tree.items():
        directory, _, name = path.rpartition("/")
        if entry.kind == "file" and name == "DESCRIPTION" and posixpath.dirname(directory) == f"{HOME}/library":
            stanza = parse_description((files / path).read_bytes())
            if stanza.get("Package") == posixpath.basename(directory):
                description.version(stanza)
                yield stanza


def _libraries(
    archive: Archive, tree: Tree, files: Path, offer: Offer | None, request: Request
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the system packages with the libraries that R loads and does not bring, and the C library it takes."""
    brought = {posixpath.basename(path) for path in tree}
    wanted: set[str] = set()
    glibc: tuple[int, ...] = ()
    for path, entry in tree.items():
        if entry.kind != "file" or not (".so" in posixpath.basename(path) or path == _PROGRAM):
            continue
        with (files / path).open("rb") as file:
            if row := elf.read(file):
                wanted.update(row.needed)
                brought.add(row.soname)
                glibc = max(glibc, elf.glibc(file))
    if archive.needs or offer is None:  # as it was locked
        return archive.needs, glibc
    found = {soname: offer.providing(soname) for soname in wanted - brought if not soname.startswith(_HARMLESS)}
    if lost := sorted(soname for soname, name in found.items() if name is None):
        request.progress.warn(f"{offer.label} has no package with {', '.join(lost)}, wanted by {archive.filename}")
    return tuple(sorted({name for name in found.values() if name})), glibc
