"""What apt says when it cannot fetch and verify indexes, or finds no solution, in our words."""

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
_EXCLUSIVE: Final = "no choice of versions satisfies all of these at once"
_UNMET: Final = "The following packages have unmet dependencies:"
_INDENTED: Final = re.compile(r"(?: .*\n?)+")
_BROKEN: Final = re.compile(r"(?:(?P<name>\S+) : )?(?P<kind>PreDepends|Depends|Conflicts|Breaks): (?P<what>.+)")
_WHY: Final = {
    "it is not installable": "which no archive here has",
    "it is not going to be installed": "which cannot be had beside the rest",
}
_WOULD: Final = {
    "The following packages will be REMOVED:": "would have to be removed",
    "The following packages will be DOWNGRADED:": "would be taken back to an older version",
    "The following held packages will be changed:": "would have to change, and somebody holds it",
}
_BLOCK: Final = re.compile(rf"^(?P<head>{'|'.join(_WOULD)})\n(?P<names>(?: .+\n)+)", re.MULTILINE)
_SAID: Final = re.compile(r"^(?:Packages need to be removed|Packages were downgraded|Held packages were changed)")


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
        re.compile(
            r"(?:Failed to fetch |repository ')(?P<where>\S+).*"
            r"(?:Clearsigned file isn't valid|is (?:not|no longer) signed)"
        ),
        "{where} is not signed, or a portal of the network answers in its place",
        "Open the address in a browser; name another mirror if it has no InRelease file.",
    ),
    _Kind(
        re.compile(
            r"Failed to fetch (?P<where>\S+)\s+(?:Hash Sum mismatch|File has unexpected size|Writing more data than)"
        ),
        "{where} is not the index that its signed Release file lists",
        "The mirror may be in the middle of an update: try again in some minutes, then another mirror.",
    ),
    _Kind(
        re.compile(r"repository '(?P<where>[^']+) Release' does not have a Release file"),
        "{where} has no Release file: there is no such suite, or none of that date",
        "Compare the address and the suite with what the archive's owners say.",
        DownloadError,
    ),
)


def told(stderr: str) -> DsenvError:
    """Return the error for what ``apt-get update`` wrote: broken trust first, else the way to the archive."""
    cause = words(stderr)
    said = CREDENTIALS.sub("", stderr)
    for kind in _KINDS:
        if match := kind.pattern.search(said):
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


def reasons(text: str) -> str:
    """Return why apt found no solution, in our words: what it would do to others, unmet dependencies, its errors."""
    chain = []
    for match in _BLOCK.finditer(text):
        names = ", ".join(name.rstrip("*") for name in match["names"].split())
        chain.append(f"{names} {_WOULD[match['head']]}")
    unmet = _INDENTED.match(text.partition(f"{_UNMET}\n")[2])
    asker = ""
    for line in re.sub(r" or\n +", " or ", unmet[0]).splitlines() if unmet else ():
        broken = _BROKEN.fullmatch(line.strip())
        asker = (broken and broken["name"]) or asker
        chain.append(_unmet(asker, broken["kind"], broken["what"]) if broken else line.strip())
    errors = [line.removeprefix("E: ") for line in text.splitlines() if line.startswith("E: ")]
    if chain:
        errors = [_EXCLUSIVE if "held broken packages" in line else line for line in errors if not _SAID.search(line)]
    return CREDENTIALS.sub("", "\n".join([*chain, *errors]))


def _unmet(name: str, kind: str, what: str) -> str:
    """Return one unmet relation of a package: ``Depends``, ``libssl3 (= 3.0.17) but 3.0.22 is to be installed``."""
    choices = [choice.partition(" but ") for choice in what.split(" or ")]
    wanted = " or ".join(choice for choice, _, _ in choices)
    why = choices[0][2]
    version = re.fullmatch(r"(?P<version>\S+) is (?:to be )?installed", why)
    if kind in {"Conflicts", "Breaks"}:
        told = f", and {version['version']} would be there" if version and "(" in wanted else ""
        return f"{name} does not go with {wanted}{told}"
    if len(choices) > 1:
        return f"{name} needs {wanted}, none of which can be had beside the rest"
    if version:
        return f"{name} needs {wanted}, and {version['version']} would be there"
    return f"{name} needs {wanted}, {_WHY.get(why, 'which nothing provides that can be installed')}"
