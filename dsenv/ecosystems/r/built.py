"""What is locked of what others have built: R itself, where it is no system package, and packages for one target."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, StringConstraints

from dsenv.ecosystems.r.names import RName, RVersionText, SystemName
from dsenv.ecosystems.r.versions import minor
from dsenv.model import Array, Model, Sha256Text, Size
from dsenv.pins import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME: Final = "lib/R"
"""R's home below an archive's directory."""

MIRROR: Final = "DSENV_R_MIRROR"

COMPILERS: Final = (  # what r-builds says that packages take, beyond what its archives bring
    *("build-essential", "gfortran", "libbz2-dev", "libicu-dev", "liblzma-dev", "libpcre2-dev", "zlib1g-dev"),
)


class OwnArtifact(Model):
    """A package that comes with the archive that R itself is."""

    kind: Literal["r"] = "r"


class BinaryArtifact(Model):
    """A package as a repository has built it for one target."""

    kind: Literal["binary"] = "binary"
    filename: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(?:tar\.gz|tgz)$")]
    sha256: Sha256Text
    size: Size  # bytes
    r: RVersionText  # the R that built it: "4.2.1"
    linking_to: dict[RName, RVersionText] = Field(default={})  # the packages whose headers it was compiled with
    needs: Array[SystemName] = ()  # system packages that have the libraries which its own load
    urls: Annotated[Array[Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$")]], Field(min_length=1)]

    def misfit(self, r_version: str, versions: Mapping[str, str]) -> str:
        """Return why it does not go with an R and packages of these versions, "" when it does."""
        reasons = [f"was built by R {self.r}, and R is {r_version}"] if minor(self.r) != minor(r_version) else []
        reasons += [
            f"was compiled with {name} {version}; locked is {versions.get(name, 'none')}"
            for name, version in self.linking_to.items()
            if versions.get(name) != version
        ]
        return reasons[-1] if reasons else ""

    def artifact(self, package: str, agent: str) -> Artifact:
        """Return the file to download, asked for as an R."""
        hint = (
            f"If it was built anew, `dsenv lock --upgrade-package r:{package}` takes what is served now; "
            "[r] from-source has packages that are not to be taken built."
        )
        return Artifact(
            filename=self.filename, sha256=self.sha256, size=self.size, urls=self.urls, hint=hint, agent=agent
        )


class Archive(Model):
    """A build of R for one target that runs wherever it is unpacked."""

    filename: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*\.(?:tar\.gz|tgz)$")]
    sha256: Sha256Text
    size: Size  # bytes
    needs: Array[SystemName] = ()  # system packages with libraries that it loads and does not bring
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@?#]+$")]

    def artifact(self) -> Artifact:
        """Return the file; a mirror of this machine's is its first address."""
        urls = (*mirrored(self.filename), self.url)
        hint = f"Name a mirror that has it in {MIRROR}, or change [r] archive."
        return Artifact(filename=self.filename, sha256=self.sha256, size=self.size, urls=urls, hint=hint)


def mirrored(filename: str) -> tuple[str, ...]:
    """Return where this machine's own mirror of R's archives has one: no part of a lock, asked first."""
    mirror = os.environ.get(MIRROR, "")
    return (f"{mirror.rstrip('/')}/{filename}",) if mirror else ()
