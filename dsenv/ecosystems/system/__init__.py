"""The operating system's packages, as apt installs them: the foundation that the other ecosystems stand on."""

from dsenv.ecosystems.system.install import recipe
from dsenv.ecosystems.system.offer import survey
from dsenv.ecosystems.system.pins import artifacts, canonical, check, identity, owns, provided, read, write
from dsenv.ecosystems.system.probe import check_ground, expectation, misfit, proxies
from dsenv.ecosystems.system.resolve import needs, resolve
from dsenv.ecosystems.system.spec import Spec, inputs, unsupported

name = "system"
title = "System"
files = ()

__all__ = [
    "Spec",
    "artifacts",
    "canonical",
    "check",
    "check_ground",
    "expectation",
    "files",
    "identity",
    "inputs",
    "misfit",
    "name",
    "needs",
    "owns",
    "provided",
    "proxies",
    "read",
    "recipe",
    "resolve",
    "survey",
    "title",
    "unsupported",
    "write",
]
