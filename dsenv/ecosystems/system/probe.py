"""What is there now: the base below a project, programs on a foreign machine, the files of an image."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv import addresses
from dsenv.ecosystem import Expectation
from dsenv.ecosystems.system import base, machine, unpacked
from dsenv.errors import WrongUseError
from dsenv.ground import GroundCheck
from dsenv.network import Network
from dsenv.tools import deb, process
from dsenv.tree import WORKERS, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsenv.builds import Built
    from dsenv.ecosystems.system.pins import Package, Pins, Root
    from dsenv.ecosystems.system.spec import Spec
    from dsenv.pins import Selection, Target
    from dsenv.steps import Place
    from dsenv.store import Store

_PROGRAMS: Final = ("usr/bin/", "usr/sbin/", "usr/games/")


def misfit(pins: Pins, target: Target) -> str:
    """Return why a project on this machine cannot run the locked packages, or nothing when it can."""
    root = pins.root(target)
    if root is None:
        return ""
    here, locked = base.host_release(), (root.distribution, root.codename)
    if here != locked:
        return f"this machine is {' '.join(here).strip() or 'not Linux'}, the lock is for {' '.join(locked)}"
    if base.host_architecture() != target.architecture:
        return f"this machine is {base.host_architecture()}, the lock is for {target.architecture}"
    return ""


def check_ground(pins: Pins, target: Target) -> GroundCheck:
    """Compare each base row with what this machine has installed."""
    root = pins.root(target)
    if root is None:
        return GroundCheck()
    rows = [package for package in root.packages if package.base]
    return machine.compare(rows, machine.installed(target.architecture))


def capabilities(pins: Pins, root: Root, store: Store) -> tuple[str, ...]:
    """Return a note for each requested package whose programs this machine lacks, and one for all the others."""
    wanted = [package for package in root.installed if "requested" in package.why]
    if not wanted:
        return ()
    if not process.find("dpkg-deb"):
        names = ", ".join(package.name for package in wanted)
        return (f"{names}: this machine cannot unpack them to see what it lacks",)
    notes = []
    for package in wanted:
        missing = [name for name in _programs(pins, package, store) if shutil.which(name) is None]
        if missing:
            notes.append(f"{package.name} {package.version}: this machine lacks {', '.join(missing)}")
        else:
            notes.append(f"{package.name} {package.version}: this machine's own is used")
    return tuple(notes)


def expectation(
    pins: Pins, selection: Selection, place: Place, store: Store, built: Mapping[str, Built]
) -> Expectation:
    """Return the files that installing all rows brings into an image; elsewhere the steps say it all."""
    del built
    root = pins.root(selection.target)
    if root is not None and place.kind == "project":
        names = (row.name for row in root.installed if not row.base)
        made = unpacked.made(names, selection.target)
        return Expectation(generated={f"root/{path}": why for path, why in made.items()})
    if root is None or place.kind != "image":
        return Expectation()
    tree: Tree = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        for entries in pool.map(lambda row: deb.entries(store.read_checked(pins.artifact(row))), root.installed):
            tree.update(entries)
    reasons = {row["path"]: row["reason"] for row in _exceptions("file")}
    return Expectation(tree=tree, exceptions={path: reason for path, reason in reasons.items() if path in tree})


def unsteady(root: Root) -> tuple[str, ...]:
    """Return the files that maintainer scripts of the rows write anew each time, each with the reason."""
    names = {row.name for row in root.installed}
    return tuple(f"/{row['path']}: {row['reason']}" for row in _exceptions("unsteady") if row["package"] in names)


def _exceptions(kind: str) -> list[dict[str, str]]:
    table = tomllib.loads(resources.files(__package__).joinpath("exceptions.toml").read_text("utf-8"))
    found: list[dict[str, str]] = table[kind]
    return found


def _programs(pins: Pins, package: Package, store: Store) -> list[str]:
    store.fetch([pins.artifact(package)])
    tree, _ = store.unpacked(pins.artifact(package), deb.unpack, deb.UNPACKED)
    return [path.rpartition("/")[2] for path in tree if path.startswith(_PROGRAMS) and tree[path].kind != "directory"]


def network(spec: Spec | None) -> Network:
    """Return the proxies that this machine's apt is told to use, and who one is at third parties' archives."""
    credentials = addresses.Keys(_addresses(spec) if spec else (), keyring=False)
    if not process.find("apt-config"):
        return Network(credentials=credentials)
    settings = process.run(
        ["apt-config", "shell", "http", "Acquire::http::Proxy", "https", "Acquire::https::Proxy"], codes=None
    ).stdout
    found = dict(word.partition("=")[::2] for word in shlex.split(settings))
    proxies = {scheme: proxy for scheme, proxy in found.items() if proxy and proxy != "DIRECT"}
    return Network(proxies=proxies, credentials=credentials)


def _addresses(spec: Spec) -> Iterator[addresses.Address]:
    """Yield the addresses of third parties' archives, as far as their variables are set."""
    for row in spec.repositories:
        with contextlib.suppress(WrongUseError):
            yield row.address
