"""Make a shared library: no code, but all that the dynamic linker reads."""

from __future__ import annotations

import struct

_HEADER, _SEGMENT, _AT = 64, 56, 0x1000
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29


def shared_library(*, soname: str = "", needed: tuple[str, ...] = (), rpath: str = "", runpath: str = "") -> bytes:
    """Return a little-endian 64-bit shared library (System V gABI), without section headers as a stripped one is."""
    strings = b"\0"
    rows: list[tuple[int, int]] = []
    texts = [(_NEEDED, name) for name in needed]
    texts += [(tag, text) for tag, text in ((_SONAME, soname), (_RPATH, rpath), (_RUNPATH, runpath)) if text]
    for tag, text in texts:
        rows.append((tag, len(strings)))
        strings += text.encode() + b"\0"
    offset = _HEADER + 2 * _SEGMENT
    rows += [(_STRTAB, _AT + offset), (_STRSZ, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *row) for row in rows)
    size = offset + len(strings) + len(dynamic)
    at = offset + len(strings)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, _HEADER, 0, 0, _HEADER, _SEGMENT, 2, 64, 0, 0)
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, _AT, _AT, size, size, 0x1000)  # PT_LOAD
    segments += struct.pack("<IIQQQQQQ", 2, 6, at, _AT + at, _AT + at, len(dynamic), len(dynamic), 8)  # PT_DYNAMIC
    return header + segments + strings + dynamic
