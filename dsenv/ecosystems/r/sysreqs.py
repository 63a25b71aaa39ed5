"""Which system packages an R package needs: what its SystemRequirements are read to mean, or what the spec says.

Unlike renv, which stops at the first rule that matches, every rule counts: sf's "GDAL, GEOS, PROJ, sqlite3" are four.
A ``-dev`` package is for building alone; the libraries that are linked with it are for running.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystem import Offer

_DEVELOPMENT: Final = "-dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a pattern in the text means."""

    name: str  # "gdal"
    pattern: re.Pattern[str]
    build: tuple[str, ...] = ()  # each "a" or "a | b"
    run: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The system packages that an R package needs."""

    run: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=())  # what the distribution has none of: "mongodb"


@functools.cache
def rules() -> Sequence[Rule]:
    """Return all rules."""
    table = tomllib.loads(resources.files(__package__).joinpath("sysreqs.toml").read_text("utf-8"))
    return [
        Rule(
            name=name,
            pattern=re.compile(row["pattern"], re.IGNORECASE),
            build=tuple(row.get("build", ())),
            run=tuple(row.get("run", ())),
        )
        for part in ("rule", "own")
        for name, row in table[part].items()
    ]


def matching(text: str) -> list[Rule]:
    """Return every rule that a text of SystemRequirements matches."""
    return [rule for rule in rules() if rule.pattern.search(text)]


def wanted(texts: Mapping[str, str], said: Mapping[str, Sequence[str]], offers: Iterable[Offer]) -> dict[str, Wanted]:
    """Return what R packages need of the system, by their names.

    Args:
        texts: Their SystemRequirements, each on one line.
        said: What the spec says instead.
        offers: What each target's distribution has.

    """
    on_offer = list(offers)
    asked = {name: _asked(text, said.get(name)) for name, text in texts.items()}
    choices = {choice for run, build in asked.values() for choice in (*run, *build)}
    chosen = {choice: _chosen(choice, on_offer) for choice in choices}
    developing = sorted({name for name in chosen.values() if name.endswith(_DEVELOPMENT)})
    linked: dict[str, set[str]] = {name: set() for name in developing}
    for offer in on_offer:
        for name, libraries in offer.libraries(developing).items():
            linked[name].update(libraries)
    found = {}
    for name, (run, build) in asked.items():
        building = {chosen[choice] for choice in build} - {""}
        running = {chosen[choice] for choice in run} - {""}
        running |= {library for package in building & linked.keys() for library in linked[package]}
        found[name] = Wanted(
            run=tuple(sorted(running)),
            build=tuple(sorted(building)),
            missing=tuple(sorted({choice for choice in (*run, *build) if not chosen[choice]})),
        )
    return found


def _asked(text: str, said: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return what an R package runs with, and what building it takes, as choices."""
    if said is None:
        found = matching(text)
        return [choice for rule in found for choice in rule.run], [choice for rule in found for choice in rule.build]
    tools = {name for rule in rules() for name in rule.build}
    both = {name for rule in rules() for name in rule.run} & tools
    build = [name for name in said if name.endswith(_DEVELOPMENT) or name in tools]
    return [name for name in said if name not in build or name in both], build


def _chosen(choice: str, offers: Sequence[Offer]) -> str:
    """Return the first name of a choice that every distribution has, "" where there is none.

    Where an offer is a lock's rows, a name that it lacks is for the archive to decide.
    """
    names = choice.split(" | ")
    for name in names:
        if all(offer.candidate(name) is not None for offer in offers):
            return name
    return names[0] if any(not offer.whole for offer in offers) else ""


def talk(missing: Mapping[str, Sequence[str]]) -> str:
    """Return a sentence about what R packages ask for and the distribution has not, "" for nothing."""
    if not missing:
        return ""
    listed = "; ".join(f"{name} ({', '.join(choices)})" for name, choices in sorted(missing.items()))
    return f"the distribution has no package for what R packages ask for: {listed}"
