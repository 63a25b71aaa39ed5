"""R and its packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsenv.ecosystems.r.install import recipe
    from dsenv.ecosystems.r.pins import (
        artifacts,
        canonical,
        check,
        identity,
        owns,
        read,
        versions,
        write,
    )
    from dsenv.ecosystems.r.probe import expectation
    from dsenv.ecosystems.r.resolve import needs, resolve
    from dsenv.ecosystems.r.spec import Spec, expand, inputs, network, unsupported
    from dsenv.nothing import adopt, builds, delivered, export, exports, groups, libraries, recorded, revealed

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
    "dsenv.nothing": (
        "adopt",
        "builds",
        "delivered",
        "export",
        "exports",
        "groups",
        "libraries",
        "recorded",
        "revealed",
    ),
    "install": ("recipe",),
    "pins": (
        "artifacts",
        "canonical",
        "check",
        "identity",
        "owns",
        "read",
        "versions",
        "write",
    ),
    "probe": ("expectation",),
    "resolve": ("needs", "resolve"),
    "spec": ("Spec", "expand", "inputs", "network", "unsupported"),
}
"""By room, what it answers of ``dsenv.ecosystem.Ecosystem``."""
