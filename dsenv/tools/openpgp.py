"""OpenPGP as far as archives need it: whose key a file holds, and who signed a text, by gpgv."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARMOR: Final = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t\r]*\n(?:[^\n]+:[^\n]*\n)*\s*(?P<body>[A-Za-z0-9+/=\s]+?)"
    rb"(?:\n=[A-Za-z0-9+/]{4})?\s*-----END PGP PUBLIC KEY BLOCK-----"
)
_OTHER_ARMOR: Final = re.compile(rb"^-----BEGIN PGP ([A-Z ]+?)(?: BLOCK)?-----", re.MULTILINE)
_PUBLIC_KEY: Final = 6  # RFC 9580, 5: packet types
_HINT: Final = "Install it: apt-get install gpgv"

State = Literal["good", "expired", "outlived", "revoked", "bad", "unknown", "unsigned"]


def keyring(content: bytes) -> bytes:
    """Return public keys without their armor; raise ``ValueError`` for anything else than OpenPGP keys."""
    blocks = [match["body"] for match in _ARMOR.finditer(content)]
    if blocks:
        try:
            content = b"".join(base64.b64decode(b"".join(block.split()), validate=True) for block in blocks)
        except binascii.Error as error:
            msg = f"its armor is damaged ({error})"
            raise ValueError(msg) from error
    elif other := _OTHER_ARMOR.search(content):
        msg = f"it holds a PGP {other[1].decode().lower()}, and not a public key"
        raise ValueError(msg)
    if not fingerprints(content):
        msg = "it holds no OpenPGP public key"
        raise ValueError(msg)
    return content


def fingerprints(content: bytes) -> list[str]:
    """Return the fingerprint of each primary key in a keyring without armor; raise ``ValueError`` for other files."""
    found = []
    for kind, body in _packets(content):
        if kind == _PUBLIC_KEY:
            if body[:1] == b"\x04":
                head = b"\x99" + len(body).to_bytes(2, "big")
                found.append(hashlib.sha1(head + body, usedforsecurity=False).hexdigest().upper())
            elif body[:1] == b"\x06":
                found.append(hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper())
            else:
                msg = "it holds a key of a version that dsenv does not know"
                raise ValueError(msg)
    return found


def _packets(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and body of each packet (RFC 9580, 4.2)."""
    at = 0
    while at < len(content):
        tag = content[at]
        if not tag & 0x80:
            msg = "it is no OpenPGP file"
            raise ValueError(msg)
        if tag & 0x40:
            kind, first = tag & 0x3F, content[at + 1 : at + 2]
            if not first or 223 < first[0] < 255:  # noqa: PLR2004 - partial lengths, which keys have none of
                msg = "it is no OpenPGP file"
                raise ValueError(msg)
            if first[0] < 192:  # noqa: PLR2004
                size, start = first[0], at + 2
            elif first[0] < 224:  # noqa: PLR2004
                size, start = ((first[0] - 192) << 8) + int.from_bytes(content[at + 2 : at + 3], "big") + 192, at + 3
            else:
                size, start = int.from_bytes(content[at + 2 : at + 6], "big"), at + 6
        else:
            kind, width = (tag & 0x3C) >> 2, 1 << (tag & 3)
            if width > 4:  # noqa: PLR2004 - of no length, which keys are not
                msg = "it is no OpenPGP file"
                raise ValueError(msg)
            size, start = int.from_bytes(content[at + 1 : at + 1 + width], "big"), at + 1 + width
        if start + size > len(content):
            msg = "it is cut short"
            raise ValueError(msg)
        yield kind, content[start : start + size]
        at = start + size


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the signatures of a clear-signed text say."""

    state: State
    text: str = ""  # what was signed; empty unless somebody in the keyring has signed it
    fingerprint: str = ""  # of the key that vouches
    signed: datetime | None = None
    expired: datetime | None = None  # the key, or the signature
    reason: str = ""  # in words, unless good


def verify(path: Path, keyring: Path) -> Verified:
    """Check a clear-signed file against a keyring without armor; raise ``ToolError`` where there is no gpgv."""
    program = process.require("gpgv", hint=_HINT)
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text"
        argv = [program, "--homedir", directory, "--keyring", str(keyring), "--status-fd", "1", "--output", str(text)]
        said = process.run([*argv, str(path)], codes=None).stdout
        content = text.read_text("utf-8", "replace") if text.exists() else ""
    return read_status(said, content)


def read_status(said: str, text: str) -> Verified:
    """Return what gpgv's status lines say; of several signatures, the best one counts."""
    found: list[Verified] = []
    word, expiry, reason = "", "", ""
    for line in said.splitlines():
        words = line.removeprefix("[GNUPG:] ").split()
        if not words:
            continue
        if words[0] in {"GOODSIG", "EXPKEYSIG", "EXPSIG", "REVKEYSIG"}:
            word = words[0]
        elif words[0] in {"KEYEXPIRED", "SIGEXPIRED"}:
            expiry = words[1]
        elif words[0] == "VALIDSIG":
            found.append(_valid(word, words, expiry, text))
            word, expiry = "", ""
        elif words[0] == "BADSIG":
            found.append(Verified(state="bad", reason="its signature is not of this text: it was changed afterwards"))
        elif words[0] == "NO_PUBKEY":
            reason = f"it is signed by the key {words[1]}, which the keyring does not have"
            found.append(Verified(state="unknown", reason=reason))
    order: tuple[State, ...] = ("good", "expired", "bad", "revoked", "outlived", "unknown")
    unsigned = Verified(state="unsigned", reason="it bears no signature")
    # A bad signature beside a good one is another key's; a text of which none is good is not vouched for.
    return min(found, key=lambda one: order.index(one.state), default=unsigned)


def _valid(word: str, words: list[str], expiry: str, text: str) -> Verified:
    """Return what one cryptographically right signature is worth (doc/DETAILS of GnuPG: VALIDSIG)."""
    fingerprint = words[10] if len(words) > 10 else words[1]  # noqa: PLR2004 - the primary key's
    signed = datetime.fromtimestamp(int(words[3]), UTC)
    if word == "GOODSIG":
        return Verified(state="good", text=text, fingerprint=fingerprint, signed=signed)
    if word == "REVKEYSIG":
        return Verified(state="revoked", fingerprint=fingerprint, signed=signed, reason="its key was revoked")
    expired = datetime.fromtimestamp(int(expiry), UTC) if expiry.isdecimal() else None
    if word == "EXPKEYSIG" and expired and signed > expired:
        reason = f"it was signed on {signed:%Y-%m-%d}, when its key had expired on {expired:%Y-%m-%d}"
        return Verified(state="outlived", fingerprint=fingerprint, signed=signed, expired=expired, reason=reason)
    what = "key" if word == "EXPKEYSIG" else "signature"
    reason = f"its {what} expired {f'on {expired:%Y-%m-%d}' if expired else 'since'}, after it was signed"
    return Verified(state="expired", text=text, fingerprint=fingerprint, signed=signed, expired=expired, reason=reason)
