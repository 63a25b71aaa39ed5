"""R as the distribution has it: the system's rows that are R itself and R packages, read from their .debs.

The version of a package is read from the DESCRIPTION inside its .deb, since Debian's own differs (0.8.84 for 0.8-84).
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.r import description
from dsenv.ecosystems.r import pins as r_pins
from dsenv.errors import IntegrityError, ResolutionError
from dsenv.formats import deb822
from dsenv.pins import Provided, Target, digest
from dsenv.tools import deb
from dsenv.tree import WORKERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.r.built import OwnArtifact
    from dsenv.formats.deb822 import Stanza
    from dsenv.pins import Artifact
    from dsenv.store import Store

PACKAGE: Final = "r-base-core"
ITSELF: Final = (PACKAGE, "r-recommended")  # r-base-core only recommends what every R has
_PREFIXES: Final = ("r-cran-", "r-bioc-", "r-other-")
_BASE_DESCRIPTION: Final = re.compile("usr/lib/R/library/base/DESCRIPTION")
_LIBRARY: Final = "usr/lib/R/library/"  # R's own
_PROFILE: Final = re.compile(r"etc/R/Rprofile\.site")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An R package that the distribution has built, on one target or several."""

    description: Stanza
    debs: Mapping[str, r_pins.DebArtifact | OwnArtifact]  # by target; of an R that is an archive, its own
    askers: tuple[str, ...]  # R packages whose .debs depend on its
    with_r: bool  # whether it lies in R's own library, as r-recommended does

    @property
    def names(self) -> set[str]:
        """The names of its system packages."""
        return {deb.package for deb in self.debs.values() if isinstance(deb, r_pins.DebArtifact)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """R and its packages among the system's rows."""

    version: str  # R's own: "4.2.2"
    packages: Mapping[str, Built]  # by name
    profile: str  # the text of its Rprofile.site


def read(request: Request) -> Distribution:
    """Wait for the system's rows and read what of R they hold.

    Raises:
        ResolutionError: The targets have different versions.

    """
    provided = request.provided()
    artifacts = [row.artifact for rows in provided.values() for row in rows.values() if _is_r(row.name)]
    request.store.fetch(artifacts, request.progress)
    merged: dict[str, Built] = {}
    versions: dict[str, str] = {}
    profile = ""
    for target, rows in provided.items():
        versions[str(target)] = _r_version(rows, request.store)
        _, profile = _file_of(rows[PACKAGE].artifact, _PROFILE, request.store)
        for name, package in _packages(rows, target, request.store).items():
            other = merged.get(name)
            ours = package.description["Version"]
            if other and other.description["Version"] != ours:
                raise ResolutionError(
                    f"R package {name} is {other.description['Version']} for one target and {ours} for {target}",
                    hint="Lock the targets in projects of their own.",
                )
            merged[name] = _joined(other, package) if other else package
    if len(set(versions.values())) != 1:
        listed = "\n".join(f"{target}: {version}" for target, version in versions.items())
        raise ResolutionError("R differs between the targets", cause=listed)
    return Distribution(version=next(iter(versions.values())), packages=merged, profile=profile)


def deb_of(name: str) -> str:
    """Return the name that a package's .deb has, if there is one."""
    return f"r-cran-{name.lower()}"


def pin(package: Built, why: tuple[str, ...]) -> r_pins.Package:
    """Return a package of the distribution as a pin."""
    return r_pins.Package(
        name=package.description["Package"],
        version=description.version(package.description).text,
        why=why,
        requires=tuple(description.requires(package.description)),
        renv_hash=description.renv_hash(package.description),
        artifacts=dict(package.debs),
    )


def _joined(one: Built, other: Built) -> Built:
    return Built(
        description=one.description,
        debs={**one.debs, **other.debs},
        askers=tuple(sorted({*one.askers, *other.askers})),
        with_r=one.with_r and other.with_r,
    )


def _is_r(name: str) -> bool:
    return name.startswith(_PREFIXES) or name == PACKAGE


def _r_version(rows: Mapping[str, Provided], store: Store) -> str:
    """Return R's own version, which its .deb's (``4.2.2.20221110-2``) only resembles."""
    _, text = _file_of(rows[PACKAGE].artifact, _BASE_DESCRIPTION, store)
    if not text:
        raise IntegrityError(f"{rows[PACKAGE].artifact.filename} holds no {_BASE_DESCRIPTION.pattern}")
    return deb822.one_stanza(text)["Version"]


def _packages(rows: Mapping[str, Provided], target: Target, store: Store) -> Mapping[str, Built]:
    debs = [row for row in rows.values() if row.name.startswith(_PREFIXES)]
    with ThreadPoolExecutor(WORKERS) as pool:
        texts = list(pool.map(lambda row: _file_of(row.artifact, description.PATH, store), debs))
    stanzas = {
        row.name: deb822.one_stanza(text)
        for row, (_, text) in zip(debs, texts, strict=True)
        if text  # else tools around R that hold no R package
    }
    with_r = {row.name for row, (path, _) in zip(debs, texts, strict=True) if path.startswith(_LIBRARY)}
    found = {}
    for name, stanza in stanzas.items():
        askers = sorted(other["Package"] for deb_name, other in stanzas.items() if name in rows[deb_name].dependencies)
        found[stanza["Package"]] = Built(
            description=stanza,
            debs={str(target): r_pins.DebArtifact(package=name, sha256=rows[name].artifact.sha256)},
            askers=tuple(askers),
            with_r=name in with_r,
        )
    return found


def _file_of(artifact: Artifact, pattern: re.Pattern[str], store: Store) -> tuple[str, str]:
    """Return path and text of a package's first file that matches, "" when it has none; read once for all locks."""

    def build(path: Path) -> None:
        files = deb.read_files(store.path(artifact), lambda name: bool(pattern.fullmatch(name)), most=1)
        name, content = next(iter(files.items()), ("", b""))
        path.write_bytes(name.encode() + b"\n" + content)

    key = digest([artifact.sha256, pattern.pattern, 2])
    name, _, text = store.built(key, "file", build).read_text("utf-8", errors="replace").partition("\n")
    return name, text
