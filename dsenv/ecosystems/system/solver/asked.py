"""What apt is asked for: a person's bounds, virtual packages and recommendations as names and exact versions.

apt takes a name or one exact version. So bounds are settled here, on the versions that its indexes list; the choice
is made as apt would make it: the locked version if it is within them, else the candidate, else the newest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsenv.ecosystems.system.packages import debversion, relations
from dsenv.errors import ResolutionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystems.system.offer import Survey
    from dsenv.pins import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The needs with their real names, and what to tell apt."""

    words: tuple[str, ...]  # "jq", "graphviz=2.42.2-7"; sorted
    why: Mapping[str, frozenset[str]]  # who asked for a package, by its real name
    families: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Versions to prefer by source package, ``src:curl``: what is not the newest takes its siblings along."""


def settle(
    needs: Iterable[Need],
    offer: Survey,
    locked: Mapping[str, Sequence[str]],
    *,
    recommends: Sequence[str] = (),
    present: Iterable[str] = (),
) -> Asked:
    """Return what to ask apt for.

    Args:
        needs: Whatever anybody asked for.
        offer: What there is, with its root ready.
        locked: Versions that are to stay if they can, by name.
        recommends: Names of which also what they recommend is wanted.
        present: Names that the base has whatever is asked for: they may provide a virtual package.

    Raises:
        ResolutionError: A name is unknown, several packages provide it, or no version is within the bounds.

    """
    wanted = list(needs)
    real = _real_names(wanted, offer, {*present, *locked})
    bounds: dict[str, list[Need]] = {}
    why: dict[str, set[str]] = {}
    for need in wanted:
        name = real.get(need.name, need.name)
        why.setdefault(name, set()).add(f"{need.why} as {need.name}" if name != need.name else need.why)
        if need.version:
            bounds.setdefault(name, []).append(need)
    chosen = _choose(bounds, offer, locked)
    for name in recommends:
        for other in _recommended(name, chosen.get(name), offer, why):
            why.setdefault(other, set()).add(f"recommended by {name}")
    words = {f"{name}={chosen[name]}" if name in chosen else name for name in why}
    older = [(name, version) for name, version in chosen.items() if version != offer.offered.get(name)]
    return Asked(
        words=tuple(sorted(words)),
        why={name: frozenset(reasons) for name, reasons in why.items()},
        families=relations.families(offer.root.show(older)),
    )


def _real_names(needs: Sequence[Need], offer: Survey, present: set[str]) -> dict[str, str]:
    """Return the package that serves each virtual name; name all that are wrong before apt stops at the first."""
    unknown = sorted({need.name: need for need in needs if need.name not in offer.offered}.values())
    around = present | {need.name for need in needs}
    found: dict[str, str] = {}
    lines = []
    for need in unknown:
        providers = [name for name in offer.root.providers(need.name) if name in offer.offered]
        serving = [name for name in providers if name in around]
        if len(serving or providers) == 1:
            found[need.name] = (serving or providers)[0]
            continue
        line = f"{need.name} (asked for by {_asker(need)})"
        if providers:
            line += f": provided by {', '.join(providers)}"
        elif near := offer.near(need.name):
            line += f": near: {', '.join(near)}"
        lines.append(line)
    if lines:
        virtual = any(": provided by " in line for line in lines)
        raise ResolutionError(
            f"{offer.label} has no package of this name",
            cause="\n".join(lines),
            hint="Ask for one of the packages that provide it." if virtual else "",
        )
    return found


def _choose(bounds: Mapping[str, Sequence[Need]], offer: Survey, locked: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the version of each package that somebody bounds."""
    if not bounds:
        return {}
    listed: dict[str, list[str]] = {}
    for name, version in offer.root.places(sorted(bounds)):
        listed.setdefault(name, []).append(version)
    chosen = {}
    lines = []
    epochs: list[str] = []
    for name, needs in sorted(bounds.items()):
        have = sorted(listed.get(name, ()), key=debversion.order, reverse=True)
        within = [version for version in have if all(debversion.matches(version, need.version) for need in needs)]
        preferred = [*locked.get(name, ()), offer.offered.get(name, "")]
        if within:
            chosen[name] = next((version for version in preferred if version in within), within[0])
            continue
        asks = ", ".join(sorted({f"{_text(need)} (asked for by {_asker(need)})" for need in needs}))
        lines.append(f"{asks}: there is {name} {', '.join(have)}")
        epochs += [version for version in have if ":" in version and not all(":" in need.version for need in needs)]
    if lines:
        hint = f"What stands before the colon in {epochs[0]} belongs to the version: write it, too." if epochs else ""
        raise ResolutionError(f"{offer.label} has no version within these bounds", cause="\n".join(lines), hint=hint)
    return chosen


def _text(need: Need) -> str:
    return f"{need.name}{need.version}" if need.version[0] in "<>" else f"{need.name}={need.version}"


def _asker(need: Need) -> str:
    return f"[system] {'build' if need.build else 'packages'}" if need.why == "requested" else need.why


def _recommended(name: str, version: str | None, offer: Survey, around: Iterable[str]) -> Iterable[str]:
    """Return what a package recommends itself, of each alternative the first that there is, as apt takes them."""
    stanzas = offer.root.show([(name, version or offer.offered.get(name, ""))])
    field = stanzas[0].get("Recommends", "") if stanzas else ""
    names = set(around)
    found = []
    for clause in re.split(r"\s*,\s*", field):
        choices = [choice for choice in relations.names(clause) if choice in offer.offered]
        if choices and not names & {*choices}:
            found.append(choices[0])
    return found
