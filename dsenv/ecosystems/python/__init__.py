"""Python's interpreter and packages, resolved and installed by uv."""

from dsenv.ecosystems.python.install import recipe
from dsenv.ecosystems.python.pins import FILE, artifacts, canonical, check, identity, owns, read, write
from dsenv.ecosystems.python.probe import expectation
from dsenv.ecosystems.python.resolve import needs, resolve
from dsenv.ecosystems.python.spec import Spec, inputs, unsupported

name = "python"
title = "Python"
files = (FILE,)

__all__ = [
    "Spec",
    "artifacts",
    "canonical",
    "check",
    "expectation",
    "files",
    "identity",
    "inputs",
    "name",
    "needs",
    "owns",
    "read",
    "recipe",
    "resolve",
    "title",
    "unsupported",
    "write",
]
