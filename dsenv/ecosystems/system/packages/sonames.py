"""Which system package a shared library comes from.

Debian names a library's package after its soname (Debian Policy 8.1: ``libgomp.so.1`` is in libgomp1), so the name
answers without the archive's list of all files. The few packages that are called otherwise stand in a table.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

from dsenv.ecosystem import Supplier
from dsenv.tools import deb

if TYPE_CHECKING:
    from dsenv.ecosystems.system.pins import Package, Pins, Root
    from dsenv.pins import Target
    from dsenv.store import Store

_SONAME: Final = re.compile(r"(?P<name>.+?)\.so(?:\.(?P<version>.+))?")
_LIBC: Final = "libc|libm|libpthread|libdl|librt|libutil|libresolv|libanl|libmvec|libnsl|ld-linux.*"
_OTHERWISE: Final = tuple(
    (re.compile(pattern), package)
    for pattern, package in (
        (_LIBC, "libc6"),
        (r"libz", "zlib1g"),
        (r"libcrypto", "libssl{version}"),
        (r"lib(gio|gmodule|gobject|gthread)-2\.0", "libglib2.0-{version}"),
        (r"libicu(data|i18n|io|uc)", "libicu{version}"),
        (r"libGLU", "libglu1-mesa"),
        (r"libOpenCL", "ocl-icd-libopencl1"),
        (r"libjpeg", "libjpeg{version}-turbo"),
        (r"libharfbuzz", "libharfbuzz{version}b"),
        (r"libbrotli(common|dec|enc)", "libbrotli{version}"),
        (r"libgst(allocators|app|audio|gl|pbutils|video)-1\.0", "libgstreamer-plugins-base1.0-{version}"),
    )
)
_T64: Final = "t64"  # the suffix since the transition to 64-bit time


def package_names(soname: str) -> tuple[str, ...]:
    """Return the names that the package of a shared library may have, the likeliest first."""
    match = _SONAME.fullmatch(soname)
    if match is None:
        return ()
    version = match["version"] or ""
    for pattern, package in _OTHERWISE:
        if pattern.fullmatch(match["name"]):
            return _with_t64([package.format(version=version)])
    stem = match["name"].lower().replace("_", "-")
    joined = re.sub(r"-(?=[0-9])", "", stem)  # libglib-2.0.so.0 is in libglib2.0-0
    versions = dict.fromkeys((version, version.partition(".")[0])) if version else {}
    found = [
        f"{name}{'-' if name[-1:].isdigit() else ''}{number}"
        for number in versions
        for name in dict.fromkeys((stem, joined))
    ]
    return _with_t64([*found, stem, joined])


def _with_t64(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for name in names for form in (name, f"{name}{_T64}")))


def supplier(pins: Pins, target: Target, soname: str, store: Store) -> Supplier:
    """Return the locked package that a shared library comes from, or what it is called where none is locked.

    Where the names do not tell, the packages that are unpacked in the store are looked through.
    """
    names = package_names(soname)
    root = pins.root(target)
    rows = {package.name: package for package in root.installed} if root else {}
    row = next((rows[name] for name in names if name in rows), None)
    if row is None and root:
        row = _holding(pins, root, soname, store)
    if row is None:
        return Supplier(package=names[0] if names else soname)
    return Supplier(package=row.name, locked=True, asked_for="dependency" not in row.why, base=row.base)


def _holding(pins: Pins, root: Root, soname: str, store: Store) -> Package | None:
    for row in root.installed:
        artifact = pins.artifact(row)
        if row.name.startswith("lib") and not store.missing([artifact]):
            tree, _ = store.unpacked(artifact, deb.unpack, deb.UNPACKED)
            if any(posixpath.basename(path) == soname for path in tree):
                return row
    return None
