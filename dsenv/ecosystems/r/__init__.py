"""R and its packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsenv.ecosystems.r.building import builds
    from dsenv.ecosystems.r.foreign import obstacles, translate
    from dsenv.ecosystems.r.install import recipe
    from dsenv.ecosystems.r.pins import (
        artifacts,
        canonical,
        check,
        groups,
        identity,
        owns,
        read,
        revealed,
        versions,
        write,
    )
    from dsenv.ecosystems.r.probe import expectation, libraries
    from dsenv.ecosystems.r.repacks import repacked
    from dsenv.ecosystems.r.resolve import needs, resolve
    from dsenv.ecosystems.r.sources import expand
    from dsenv.ecosystems.r.spec import Spec, inputs, network, unsupported
    from dsenv.nothing import adopt, delivered, export, exports, recorded

name = "r"
title = "R"
files = ()

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
    "dsenv.nothing": ("adopt", "delivered", "export", "exports", "recorded"),
    "building": ("builds",),
    "foreign": ("obstacles", "translate"),
    "install": ("recipe",),
    "pins": (
        "artifacts",
        "canonical",
        "check",
        "groups",
        "identity",
        "owns",
        "read",
        "revealed",
        "versions",
        "write",
    ),
    "probe": ("expectation", "libraries"),
    "repacks": ("repacked",),
    "resolve": ("needs", "resolve"),
    "sources": ("expand",),
    "spec": ("Spec", "inputs", "network", "unsupported"),
}
"""By room, what it answers of ``dsenv.ecosystem.Ecosystem``."""
