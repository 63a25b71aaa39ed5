"""Python's interpreter and packages, resolved and installed by uv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystems.python.pins import FILE

if TYPE_CHECKING:
    from dsenv.ecosystems.python.credentials import network
    from dsenv.ecosystems.python.install import recipe
    from dsenv.ecosystems.python.interop import adopt, export, exports
    from dsenv.ecosystems.python.linking import libraries, revealed
    from dsenv.ecosystems.python.pins import (
        artifacts,
        builds,
        canonical,
        check,
        groups,
        identity,
        owns,
        read,
        recorded,
        versions,
        write,
    )
    from dsenv.ecosystems.python.probe import expectation
    from dsenv.ecosystems.python.resolve import needs, resolve
    from dsenv.ecosystems.python.sources import expand
    from dsenv.ecosystems.python.spec import Spec, inputs, unsupported

name = "python"
title = "Python"
files = (FILE,)

__all__ = [
    "Spec",
    "adopt",
    "artifacts",
    "builds",
    "canonical",
    "check",
    "expand",
    "expectation",
    "export",
    "exports",
    "files",
    "groups",
    "identity",
    "inputs",
    "libraries",
    "name",
    "needs",
    "network",
    "owns",
    "read",
    "recipe",
    "recorded",
    "resolve",
    "revealed",
    "title",
    "unsupported",
    "versions",
    "write",
]

DOORS = {
    "credentials": ("network",),
    "install": ("recipe",),
    "interop": ("adopt", "export", "exports"),
    "linking": ("libraries", "revealed"),
    "pins": (
        "artifacts",
        "builds",
        "canonical",
        "check",
        "groups",
        "identity",
        "owns",
        "read",
        "recorded",
        "versions",
        "write",
    ),
    "probe": ("expectation",),
    "resolve": ("needs", "resolve"),
    "sources": ("expand",),
    "spec": ("Spec", "inputs", "unsupported"),
}
"""By room, what it answers of ``dsenv.ecosystem.Ecosystem``."""
