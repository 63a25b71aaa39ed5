"""The operating system's packages, as apt installs them: the foundation that the other ecosystems stand on."""

from dsenv.ecosystems.system.install import recipe
from dsenv.ecosystems.system.pins import artifacts, canonical, identity, owns, provided, read, write
from dsenv.ecosystems.system.probe import check_ground, expectation, misfit, proxies
from dsenv.ecosystems.system.resolve import needs, resolve, survey
from dsenv.ecosystems.system.spec import Spec, inputs, unsupported

name = "system"
title = "System"

__all__ = [
    "Spec", "artifacts", "canonical", "check_ground", "expectation", "identity", "inputs", "misfit", "name", "needs",
    "owns", "provided", "proxies", "read", "recipe", "resolve", "survey", "title", "unsupported", "write",
]
