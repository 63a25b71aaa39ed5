"""How a machine compares with the system packages of a lock, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundCheck:
    """How the base of a lock compares with the packages of this machine."""

    equal: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()  # "libssl3 3.0.22 (locked 3.0.20)"
    older: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()  # by a package that provides it: "usr-is-merged by usrmerge"
    missing: tuple[str, ...] = ()

    def by_word(self) -> dict[str, tuple[str, ...]]:
        """Return the rows by how they compare."""
        return {
            "equal": self.equal,
            "newer": self.newer,
            "older": self.older,
            "replaced": self.replaced,
            "missing": self.missing,
        }

    def __str__(self) -> str:
        return ", ".join(f"{len(rows)} {word}" for word, rows in self.by_word().items() if rows or word == "equal")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What `restore --system` would do, and has done, to a machine that is not dsenv's."""

    before: GroundCheck  # all rows of the lock
    after: GroundCheck
    changes: tuple[str, ...] = ()  # "jq 1.6-2.1", "libssl3 3.0.20 -> 3.0.22"
    left: tuple[str, ...] = ()  # "jq 1.6-2.1: …": a row that is not installed, and why
    command: str = ""  # what an administrator would type for the same


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCheck:
    """How a whole machine, or a root file system, compares with the lock."""

    packages: GroundCheck  # all rows
    changed: tuple[str, ...] = ()  # "/usr/bin/jq (changed)": since it was installed
    configuration: tuple[str, ...] = ()  # the same of files that an administrator may edit
    alternatives: tuple[str, ...] = ()  # "/usr/lib/…/libblas.so.3 leads to … (locked …)"
    settings: tuple[str, ...] = ()  # locale and time zone, which `dsenv run` sets
