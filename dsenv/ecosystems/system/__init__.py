"""The operating system's packages, as apt installs them: the foundation that the other ecosystems stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsenv.ecosystems.system.building import seen, workshop
    from dsenv.ecosystems.system.development import bringing
    from dsenv.ecosystems.system.host import restore_host
    from dsenv.ecosystems.system.install import recipe
    from dsenv.ecosystems.system.machine import check_machine
    from dsenv.ecosystems.system.offer import offers, survey
    from dsenv.ecosystems.system.pins import (
        adopt,
        answers,
        artifacts,
        builds,
        canonical,
        check,
        delivered,
        export,
        exports,
        groups,
        identity,
        obstacles,
        owns,
        provided,
        read,
        recorded,
        repacked,
        revealed,
        source_packages,
        translate,
        versions,
        write,
    )
    from dsenv.ecosystems.system.probe import check_ground, expectation, misfit, network
    from dsenv.ecosystems.system.resolve import needs, resolve
    from dsenv.ecosystems.system.sonames import libraries, supplier
    from dsenv.ecosystems.system.spec import Spec, expand, inputs, unsupported
    from dsenv.ecosystems.system.trust import vouched

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
    "building": ("seen", "workshop"),
    "development": ("bringing",),
    "host": ("restore_host",),
    "install": ("recipe",),
    "machine": ("check_machine",),
    "offer": ("offers", "survey"),
    "pins": (
        "adopt",
        "answers",
        "artifacts",
        "builds",
        "canonical",
        "check",
        "delivered",
        "export",
        "exports",
        "groups",
        "identity",
        "obstacles",
        "owns",
        "provided",
        "read",
        "recorded",
        "repacked",
        "translate",
        "revealed",
        "source_packages",
        "versions",
        "write",
    ),
    "probe": ("check_ground", "expectation", "misfit", "network"),
    "resolve": ("needs", "resolve"),
    "sonames": ("libraries", "supplier"),
    "spec": ("Spec", "expand", "inputs", "unsupported"),
    "trust": ("vouched",),
}
"""By room, what it answers of ``dsenv.ecosystem.Ecosystem``."""
