"""The operating system's packages, as apt installs them: the foundation that the other ecosystems stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsenv.ecosystems.system.archives.trust import vouched
    from dsenv.ecosystems.system.asroot import check_root
    from dsenv.ecosystems.system.building import seen, workshop
    from dsenv.ecosystems.system.host import restore_host
    from dsenv.ecosystems.system.install import recipe
    from dsenv.ecosystems.system.machine import check_machine
    from dsenv.ecosystems.system.offer import offers, survey
    from dsenv.ecosystems.system.packages.development import bringing
    from dsenv.ecosystems.system.packages.sonames import supplier
    from dsenv.ecosystems.system.pins import (
        answers,
        artifacts,
        canonical,
        check,
        identity,
        owns,
        provided,
        read,
        source_packages,
        versions,
        write,
    )
    from dsenv.ecosystems.system.probe import check_ground, expectation, misfit, network
    from dsenv.ecosystems.system.resolve import needs, resolve
    from dsenv.ecosystems.system.spec import Spec, expand, inputs, unsupported
    from dsenv.nothing import (
        adopt,
        builds,
        delivered,
        export,
        exports,
        groups,
        libraries,
        obstacles,
        recorded,
        repacked,
        revealed,
        translate,
    )

name = "system"
title = "System"
files = ()

__all__ = [
    "Spec",
    "adopt",
    "answers",
    "artifacts",
    "bringing",
    "builds",
    "canonical",
    "check",
    "check_ground",
    "check_machine",
    "check_root",
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
    "misfit",
    "name",
    "needs",
    "network",
    "obstacles",
    "offers",
    "owns",
    "provided",
    "read",
    "recipe",
    "recorded",
    "repacked",
    "resolve",
    "restore_host",
    "revealed",
    "seen",
    "source_packages",
    "supplier",
    "survey",
    "title",
    "translate",
    "unsupported",
    "versions",
    "vouched",
    "workshop",
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
        "obstacles",
        "recorded",
        "repacked",
        "revealed",
        "translate",
    ),
    "archives.trust": ("vouched",),
    "asroot": ("check_root",),
    "building": ("seen", "workshop"),
    "host": ("restore_host",),
    "install": ("recipe",),
    "machine": ("check_machine",),
    "offer": ("offers", "survey"),
    "packages.development": ("bringing",),
    "packages.sonames": ("supplier",),
    "pins": (
        "answers",
        "artifacts",
        "canonical",
        "check",
        "identity",
        "owns",
        "provided",
        "read",
        "source_packages",
        "versions",
        "write",
    ),
    "probe": ("check_ground", "expectation", "misfit", "network"),
    "resolve": ("needs", "resolve"),
    "spec": ("Spec", "expand", "inputs", "unsupported"),
}
"""By room, what it answers of ``dsenv.foundation.Foundation``."""
