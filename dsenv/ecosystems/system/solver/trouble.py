"""What apt says when it cannot fetch and verify indexes, in our words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dsenv.errors import DownloadError, IntegrityError
from dsenv.pins import CREDENTIALS

if TYPE_CHECKING:
    from dsenv.errors import DsenvError

_WHERE: Final = r"(?P<where>\S+:/\S+ \S+)"
_NETWORK_HINT: Final = "Check the network, the proxy and the clock, then run it again."


@dataclass(frozen=True, slots=True)
class _Kind:
    """A way to fail: what apt's words hold, the sentence, and the next step."""

    pattern: re.Pattern[str]
    sentence: str  # with the pattern's groups
    hint: str
    kind: type[DsenvError] = IntegrityError


_KINDS: Final = (
    _Kind(
        re.compile(rf"{_WHERE} InRelease: .*?\b(?:REVKEYSIG) (?P<key>[0-9A-F]+)"),
        "{where} is signed by the key {key}, which was revoked",
        "Don't use this archive before its owners have said what happened.",
    ),
    _Kind(
        re.compile(rf"{_WHERE} InRelease: .*?\bBADSIG (?P<key>[0-9A-F]+)"),
        "the signature of {where} is not that of its contents: somebody has changed it on the way",
        "Try another mirror or network before you trust this one.",
    ),
    _Kind(
        re.compile(rf"{_WHERE} InRelease: .*?\bEXPKEYSIG (?P<key>[0-9A-F]+)"),
        "{where} is signed by the key {key}, which has expired",
        "Get the archive's new key: the package of its keyring, or a new key file in the project.",
    ),
    _Kind(
        re.compile(rf"{_WHERE} InRelease: .*?\bNO_PUBKEY (?P<key>[0-9A-F]+)"),
        "{where} is signed by the key {key}, which is not the key it has to be signed by",
        "Compare that key with what the archive's owners publish; their key file may be out of date.",
    ),
    _Kind(
        re.compile(r"Release file for (?P<where>\S+) is expired(?: \(invalid since (?P<since>[^)]+)\))?"),
        "{where} has expired: this mirror is behind, or somebody replays an old state",
        "Use another mirror; an old state on purpose is what `as-of` is for.",
    ),
    _Kind(
        re.compile(r"Release file for (?P<where>\S+) is not valid yet"),
        "{where} is of the future",
        "Set this machine's clock.",
    ),
    _Kind(
        re.compile(r"Clearsigned file isn't valid|repository '(?P<where>[^']+)' is (?:not|no longer) signed"),
        "an archive is not signed, or a portal of the network answers in its place",
        "Open the address in a browser; name another mirror if it has no InRelease file.",
    ),
    _Kind(
        re.compile(
            r"Failed to fetch (?P<where>\S+)\s+(?:Hash Sum mismatch|File has unexpected size|Writing more data than)"
        ),
        "{where} is not the index that its signed Release file lists",
        "The mirror may be in the middle of an update: try again in some minutes, then another mirror.",
    ),
)


def told(stderr: str) -> DsenvError:
    """Return the error for what ``apt-get update`` wrote: broken trust first, else the way to the archive."""
    cause = words(stderr)
    for kind in _KINDS:
        if match := kind.pattern.search(CREDENTIALS.sub("", stderr)):
            known = {name: value or "an archive" for name, value in match.groupdict().items()}
            return kind.kind(kind.sentence.format(**known), cause=cause, hint=kind.hint)
    return DownloadError(
        "apt could not fetch and verify the indexes of the base's archives", cause=cause, hint=_NETWORK_HINT
    )


def words(text: str) -> str:
    """Return apt's errors without what repeats in each of its messages."""
    skipped = ("W: Some index files failed", "E: Some index files failed", "Reading ", "Building ", "Done")
    lines = [
        line.rstrip().removeprefix("E: ") for line in text.splitlines() if line.strip() and not line.startswith(skipped)
    ]
    return CREDENTIALS.sub("", "\n".join(lines))
