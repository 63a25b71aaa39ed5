"""Third-party apt archives: what a person says of one, and its key, which a file of the project holds."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, PrivateAttr, StringConstraints, model_validator

from dsenv import addresses
from dsenv.errors import WrongUseError
from dsenv.model import Array, Model, Text
from dsenv.pins import CREDENTIALS, without_credentials
from dsenv.tools import openpgp

if TYPE_CHECKING:
    from pathlib import Path

_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9._~+-]*"
_WHO: Final = re.compile(rf"{addresses.VARIABLE.pattern}(?::{addresses.VARIABLE.pattern})?@")
_URI: Final = re.compile(r"(?:https?://|file:/)[A-Za-z0-9._~:@/%+,=\[\]-]+")


def _check_uri(text: str) -> str:
    plain = addresses.VARIABLE.sub("x", text)
    if not _URI.fullmatch(plain) and not addresses.VARIABLE.match(text):
        msg = "expected the address of an apt archive, `https://…`, `http://…` or `file:/…`"
        raise ValueError(msg)
    who = CREDENTIALS.search(text)
    if who and not _WHO.fullmatch(who[0]):
        msg = (
            "it holds credentials: write `${NAME}` in their place, or put them into /etc/apt/auth.conf.d, which apt "
            "reads, and into ~/.netrc"
        )
        raise ValueError(msg)
    addresses.check_secrets(text)
    return text.rstrip("/")


def _check_suite(text: str) -> str:
    if not re.fullmatch(rf"\./|{_WORD}(?:/{_WORD})*/?", text) or ".." in text.split("/"):
        msg = "expected a suite such as `bookworm`, or a directory of the archive such as `bookworm/`"
        raise ValueError(msg)
    return text


def _check_key(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/") or not text:
        msg = "expected a file inside the project, such as `keys/vendor.asc`"
        raise ValueError(msg)
    return text


class Repository(Model):
    """An apt archive beside the distribution's own."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")] = Field(
        description="What the lock calls it: lower-case letters and digits, joined by single `-`."
    )
    uri: Annotated[Text, AfterValidator(_check_uri)] = Field(
        description="Its address: `https://…`; `${VARIABLES}` are filled in."
    )
    suite: Annotated[Text, AfterValidator(_check_suite)] = Field(
        description="A suite such as `bookworm`; with a slash at its end, a directory of the archive."
    )
    components: Array[Annotated[str, StringConstraints(pattern=rf"^{_WORD}(/{_WORD})*$")]] = Field(
        default=(), description="As `main`: needed unless `suite` ends with a slash."
    )
    key: Annotated[Text, AfterValidator(_check_key)] = Field(
        description="The file of the project that has the archive's OpenPGP key."
    )
    packages: Array[Annotated[str, StringConstraints(pattern=r"^[a-z0-9*][a-z0-9+.*-]*$")]] = Field(
        default=(),
        description="Packages that come from here although the distribution has them, too: `r-base-*`.",
    )
    _keyring: bytes = PrivateAttr(default=b"")
    _armored: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _either(self) -> Repository:
        if self.is_flat == bool(self.components):
            msg = (
                "a suite that ends with a slash has no components"
                if self.is_flat
                else "components are missing, such as `main`, or the slash at the end of the suite"
            )
            raise ValueError(msg)
        return self

    @property
    def is_flat(self) -> bool:
        """Whether its indexes lie in a directory, not below dists/."""
        return self.suite.endswith("/")

    @property
    def keyring(self) -> bytes:
        """Its key, without armor; empty before ``with_key``."""
        return self._keyring

    @property
    def is_armored(self) -> bool:
        """Whether its key file is text."""
        return self._armored

    @property
    def fingerprints(self) -> list[str]:
        """Those of the keys that may sign it."""
        return openpgp.fingerprints(self._keyring)

    def takes(self, name: str) -> bool:
        """Say whether a package comes from here although the distribution has one of this name."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.packages)

    def with_key(self, directory: Path) -> Repository:
        """Return it with what its key file holds; raise ``WrongUseError`` when that is no key."""
        try:
            written = (directory / self.key).read_bytes()
            content = openpgp.keyring(written)
        except OSError as error:
            raise WrongUseError(
                f"the key of the archive {self.name} cannot be read: {self.key}",
                cause=str(error.strerror),
                hint="Save the public key that the archive's owners publish under that name.",
            ) from error
        except ValueError as error:
            raise WrongUseError(
                f"{self.key} is not the key of an archive",
                cause=str(error),
                hint=f"Save the public key that the owners of {self.name} publish there, in armor or without.",
            ) from error
        found = self.model_copy()
        found._keyring, found._armored = content, content != written  # noqa: SLF001 - of its own class
        return found

    @property
    def address(self) -> addresses.Address:
        """Where it is, its variables filled in; raise ``WrongUseError`` where one is not set, or makes no address."""
        found = addresses.filled(self.uri, f"the archive {self.name}")
        url = found.url.rstrip("/")
        if not _URI.fullmatch(url) or "@" in url:
            raise WrongUseError(f"the address of the archive {self.name} is none: {url}", hint="Look at its variables.")
        return replace(found, url=url)

    def filled(self) -> Repository:
        """Return it with its whole address, who one is there included: for apt, and nobody else."""
        found = self.address
        url = addresses.joined(found.url, (found.user, found.password)) if found.user else found.url
        return self.model_copy(update={"uri": url})

    def inputs(self) -> str:
        """Return what of it decides a resolution, on one line."""
        where = " ".join([without_credentials(self.uri), self.suite, *self.components])
        names = f", for {' '.join(sorted(self.packages))}" if self.packages else ""
        key = f"sha256:{hashlib.sha256(self._keyring).hexdigest()} {' '.join(self.fingerprints)}"
        return f"{self.name}: {where}{names}, key {key}"
