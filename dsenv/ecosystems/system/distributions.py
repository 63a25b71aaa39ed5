"""What dsenv knows of distributions: one row each. Another apt distribution is another row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A family of releases that share keys, the layout of their archive and what counts as essential."""

    name: str  # ID in os-release(5): "debian"
    origin: str  # Origin in its Release files: "Debian"
    keyring: str  # signs its archives; where its own packages put it
    suites: tuple[str, ...]  # of one release, with {} for the codename
    security: str  # the one of them in which mended packages come
    aliases: tuple[str, ...]  # what stands for a codename, another one each time a release comes out
    essential: tuple[str, ...]  # what apt is asked for, to make a root from nothing; a name that is not there, is not

    def rank(self, suite: str, codename: str) -> int | None:
        """Return which of a release's suites one may be by its name, the main one being 0."""
        for rank, form in enumerate(self.suites):
            if suite in {form.format(word) for word in (codename, *self.aliases)}:
                return rank
        return None


DISTRIBUTIONS: Final = {
    row.name: row
    for row in (
        Distribution(
            name="debian",
            origin="Debian",
            keyring="/usr/share/keyrings/debian-archive-keyring.gpg",
            suites=("{}", "{}-updates", "{}-security"),
            security="{}-security",
            aliases=("stable", "oldstable", "oldoldstable", "testing", "unstable"),
            # debootstrap's "minbase" variant, on a merged /usr; apt, so that the image stays maintainable by those
            # who receive it
            essential=("?essential", "?priority(required)", "apt", "usr-is-merged"),
        ),
        Distribution(
            name="ubuntu",
            origin="Ubuntu",
            keyring="/usr/share/keyrings/ubuntu-archive-keyring.gpg",
            suites=("{}", "{}-updates", "{}-security"),
            security="{}-security",
            aliases=("devel",),
            essential=("?essential", "?priority(required)", "apt", "usr-is-merged"),
        ),
    )
}

# Packages that share one name through update-alternatives(1), and between which results differ: the same script
# differs at the 13th digit between the reference BLAS and OpenBLAS. By the virtual package that they provide.
SHARED_NAMES: Final = ("libblas.so.3", "liblapack.so.3")

MULTIARCH: Final = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
"""The directories of an architecture's libraries."""
