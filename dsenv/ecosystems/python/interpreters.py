"""Which Python: the distribution's own where it satisfies the spec, a system package like any other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from dsenv.ecosystems.python import pins as python_pins
from dsenv.errors import ResolutionError
from dsenv.pins import Need, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsenv.ecosystem import Offer, Request
    from dsenv.ecosystems.python.pins import Interpreter, Pins
    from dsenv.ecosystems.python.spec import Spec
    from dsenv.pins import Provided


def needs(spec: Spec, offers: Mapping[Target, Offer]) -> tuple[Need, ...]:
    """Return the interpreter's package, for the targets that have a distribution.

    Raises:
        ResolutionError: A distribution has another Python than the spec wants.

    """
    for offer in offers.values():
        _own_python(spec, offer)
    return (Need(_package(spec), why="python"),) if offers else ()


def offered(spec: Spec, request: Request) -> tuple[Interpreter, ...]:
    """Return each target's Python as it is on offer: the distribution's own, or any patch of the minor elsewhere."""
    rows = []
    for target in request.platform.targets:
        offer = request.offers.get(target)
        if offer is None:
            lowest = spec.version if re.fullmatch(r"\d+\.\d+\.\d+", spec.version) else f"{spec.version}.0"
            rows.append(python_pins.Interpreter(target=str(target), version=lowest))
            continue
        libc = python_pins.upstream(offer.candidate(python_pins.LIBC) or "")
        rows.append(
            python_pins.Interpreter(
                target=str(target), version=_own_python(spec, offer), package=_package(spec), libc=libc
            )
        )
    return tuple(rows)


def lowest(rows: Sequence[Interpreter], previous: Sequence[Pins]) -> str:
    """Return the lowest version that an interpreter may turn out to have: locked packages stay if they can."""
    versions = [row.version for row in rows]
    minor = versions[0].rpartition(".")[0]
    locked = [row.version for pins in previous for row in pins.interpreters]
    return min((*versions, *(version for version in locked if version.rpartition(".")[0] == minor)), key=Version)


def settled(rows: Sequence[Interpreter], provided: Mapping[Target, Mapping[str, Provided]]) -> tuple[Interpreter, ...]:
    """Return each target's Python as the system packages have it."""
    found = []
    for row in rows:
        if row.package:
            packages = provided[Target.parse(row.target)]
            version, libc = (python_pins.upstream(packages[name].version) for name in (row.package, python_pins.LIBC))
            row = row.model_copy(update={"version": version, "libc": libc})  # noqa: PLW2901
        found.append(row)
    return tuple(found)


def _package(spec: Spec) -> str:
    return "python" + ".".join(spec.version.split(".")[:2])


def _own_python(spec: Spec, offer: Offer) -> str:
    """Return the version of a distribution's own Python, ``3.11.2``, if it is what the spec wants."""
    name = _package(spec)
    candidate = offer.candidate(name)
    version = python_pins.upstream(candidate) if candidate else ""
    if spec.version in {version, version.rpartition(".")[0]}:
        return version
    has = f"its {name} is {version}" if candidate else f"it has {_others(offer)}"
    raise ResolutionError(
        f"{offer.label} has no Python {spec.version}: {has}",
        hint="Change [python] version, or the base; other builds of Python are not supported yet.",
    )


def _others(offer: Offer) -> str:
    names = [f"python3.{minor}" for minor in range(9, 20) if offer.candidate(f"python3.{minor}")]
    return ", ".join(names) or "no python3 package"
