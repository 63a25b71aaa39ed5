"""R and its packages."""

from dsenv.ecosystems.r.install import recipe
from dsenv.ecosystems.r.pins import (
    adopt,
    artifacts,
    canonical,
    check,
    export,
    exports,
    identity,
    owns,
    read,
    revealed,
    versions,
    write,
)
from dsenv.ecosystems.r.probe import expectation, libraries
from dsenv.ecosystems.r.resolve import needs, resolve
from dsenv.ecosystems.r.spec import Spec, expand, inputs, network, unsupported

name = "r"
title = "R"
files = ()

__all__ = [
    "Spec",
    "adopt",
    "artifacts",
    "canonical",
    "check",
    "expand",
    "expectation",
    "export",
    "exports",
    "files",
    "identity",
    "inputs",
    "libraries",
    "name",
    "needs",
    "network",
    "owns",
    "read",
    "recipe",
    "resolve",
    "revealed",
    "title",
    "unsupported",
    "versions",
    "write",
]
