"""Built packages as files: what somebody else's R has made of a source, read and judged before it is believed.

A package whose DESCRIPTION has no field ``Built`` is a source, whatever address it came from. One that was built fits
where R's minor version and the kind of machine are those it was built for.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.r import description, tarball
from dsenv.ecosystems.r.versions import minor
from dsenv.errors import IntegrityError
from dsenv.pins import digest
from dsenv.tools import elf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dsenv.ecosystem import Offer
    from dsenv.ecosystems.r.description import Built
    from dsenv.ecosystems.r.versions import RVersion
    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact, Target
    from dsenv.store import Store

_READ: Final = "built3"  # names this way of reading in the store's keys
_PLATFORMS: Final = {  # how each target's R calls its machine, and the machine alone
    "linux-amd64": (r"x86_64-[a-z0-9_]+-linux-gnu", "x86_64"),
    "linux-arm64": (r"aarch64-[a-z0-9_]+-linux-gnu", "aarch64"),
    "macos-amd64": (r"x86_64-apple-darwin[0-9.]*", "x86_64"),
    "macos-arm64": (r"(?:aarch64|arm64)-apple-darwin[0-9.]*", "arm64"),
}
_AGENTS: Final = {  # platform, architecture and system, as R has them
    "linux-amd64": "x86_64-pc-linux-gnu x86_64 linux-gnu",
    "linux-arm64": "aarch64-unknown-linux-gnu aarch64 linux-gnu",
    "macos-amd64": "x86_64-apple-darwin20 x86_64 darwin20",
    "macos-arm64": "aarch64-apple-darwin20 aarch64 darwin20",
}
_SHARED: Final = re.compile(r".+\.so(\.[0-9A-Za-z_.]+)?")
_WITH_R: Final = re.compile(  # what comes with R and the compilers' run-time libraries that it needs itself
    r"libR(blas|lapack)?\.so|(libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+)\.so\.[0-9]+|ld-linux.*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What the archive of a package holds, built or not."""

    description: Stanza
    built: bool  # whether R has installed it somewhere: it has what R writes then
    needed: tuple[str, ...]  # sonames of libraries that its own take from elsewhere
    brought: tuple[str, ...]  # names of its own
    glibc: tuple[int, ...]  # the C library that these take at least


def agent(target: str, r_version: str) -> str:
    """Return the User-Agent of R on a target, by which some repositories choose what they answer."""
    return f"R/{r_version} R ({r_version} {_AGENTS[target]})"


def architecture(target: Target) -> str:
    """Return what addresses of built packages call a target's machine."""
    return _PLATFORMS[str(target)][1]


def examine(artifact: Artifact, store: Store) -> Package:
    """Read a stored archive, once for all locks; raise ``IntegrityError`` as ``tarball.examine`` does."""

    def build(path: Path) -> None:
        with tarball.reading(artifact.filename):
            found = _examine(store.read_checked(artifact), artifact.filename)
        path.write_text(json.dumps(asdict(found)), "utf-8")

    key = digest([store.path(artifact).name, _READ])
    fields = json.loads(store.built(key, "package.json", build).read_text("utf-8"))
    return Package(**{**fields, **{key: tuple(fields[key]) for key in ("needed", "brought", "glibc")}})


def misfit(built: Built, r_version: RVersion, target: Target) -> str:
    """Return why a built package cannot serve a target's R, "" when it can."""
    if minor(built.r.text) != minor(r_version.text):
        return f"built by R {built.r}"
    if built.system != "unix":
        return f"built for {built.system}"
    if built.platform and not re.fullmatch(_PLATFORMS[str(target)][0], built.platform):
        return f"built for {built.platform}"
    return ""


def too_new(glibc: Sequence[int], offer: Offer | None) -> str:
    """Return what is wrong where a distribution's C library is older than the one that is taken, "" where it is not."""
    found = re.match(r"([0-9]+)\.([0-9]+)", (offer.candidate("libc6") or "") if offer else "")
    if not found or tuple(glibc) <= (int(found[1]), int(found[2])):
        return ""
    return f"takes glibc {'.'.join(map(str, glibc))}, and the distribution has {found[0]}"


def _examine(path: Path, filename: str) -> Package:
    stanza: Stanza = {}
    libraries: dict[str, elf.Library] = {}
    has_meta, top = False, ""
    glibc: tuple[int, ...] = ()
    for name, member, archive in tarball.members(path, filename):
        package, _, below = name.partition("/")
        top = top or package
        if package != top:
            raise IntegrityError(f"{filename} is no R package: beside {top} it holds {name}")
        file = archive.extractfile(member) if member.isfile() else None
        if file and below == "DESCRIPTION":
            stanza = tarball.parse_description(file.read())
        elif file and _SHARED.fullmatch(below):
            stream = io.BytesIO(file.read())
            if row := elf.read(stream):
                libraries[below] = row
                glibc = max(glibc, elf.glibc(stream))
        has_meta = has_meta or below == "Meta/package.rds"
    if not stanza:
        raise IntegrityError(f"{filename} is no R package: it holds no DESCRIPTION")
    brought = {posixpath.basename(name) for name in libraries} | {row.soname for row in libraries.values()} - {""}
    wanted = {soname for row in libraries.values() for soname in row.needed}
    return Package(
        description=stanza,
        built=has_meta and description.built(stanza) is not None,
        needed=tuple(sorted(soname for soname in wanted - brought if not _WITH_R.fullmatch(soname))),
        brought=tuple(sorted(brought)),
        glibc=glibc,
    )
