"""Python's interpreter and packages, resolved and installed by uv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystems.python.names import BUILD_FILE, FILE

if TYPE_CHECKING:
    from dsenv.ecosystems.python.building.editable import delivered
    from dsenv.ecosystems.python.building.wheels import builds, recorded
    from dsenv.ecosystems.python.credentials import network
    from dsenv.ecosystems.python.digests import canonical, identity
    from dsenv.ecosystems.python.install import recipe
    from dsenv.ecosystems.python.interop import adopt, export, exports
    from dsenv.ecosystems.python.linking import libraries, revealed
    from dsenv.ecosystems.python.pins import artifacts, check, groups, owns, read, versions, write
    from dsenv.ecosystems.python.probe import expectation
    from dsenv.ecosystems.python.resolve import needs, resolve
    from dsenv.ecosystems.python.sources import expand
    from dsenv.ecosystems.python.spec import Spec, inputs, unsupported
    from dsenv.nothing import obstacles, repacked, translate

name = "python"
title = "Python"
files = (FILE, BUILD_FILE)

__all__ = [
    "Spec",
    "adopt",
    "artifacts",
    "builds",
    "canonical",
    "check",
    "delivered",
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
    "obstacles",
    "owns",
    "read",
    "recipe",
    "recorded",
    "repacked",
    "resolve",
    "revealed",
    "title",
    "translate",
    "unsupported",
    "versions",
    "write",
]

DOORS = {
    "dsenv.nothing": ("obstacles", "repacked", "translate"),
    "building.editable": ("delivered",),
    "building.wheels": ("builds", "recorded"),
    "credentials": ("network",),
    "install": ("recipe",),
    "interop": ("adopt", "export", "exports"),
    "linking": ("libraries", "revealed"),
    "digests": ("canonical", "identity"),
    "pins": ("artifacts", "check", "groups", "owns", "read", "versions", "write"),
    "probe": ("expectation",),
    "resolve": ("needs", "resolve"),
    "sources": ("expand",),
    "spec": ("Spec", "inputs", "unsupported"),
}
"""By room, what it answers of ``dsenv.ecosystem.Ecosystem``."""
