"""What a machine, or another root file system, has installed: read from its dpkg database, and held against the rows.

dsenv may be running in an environment, whose own programs and database (``search.toml``) are not asked.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system.packages import debversion, relations
from dsenv.ground import GroundCheck, MachineCheck
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsenv.ecosystems.system.pins import Package, Pins
    from dsenv.pins import Target

_DPKG: Final = "/usr/bin/dpkg"
_FORM: Final = (
    "${Package}\t${Version}\t${Architecture}\t${Provides}\t${db:Status-Status}\t${db:Status-Want}\n"  # dpkg-query(1)
)
_FILE: Final = re.compile(r"(?P<what>missing|\S{9}) +(?P<kind>[a-z] )?(?P<path>/.*?)(?: \((?P<why>[^()]*)\))?")
_FILTER: Final = re.compile(r"path-(?P<word>exclude|include)[= ](?P<pattern>\S+)")  # dpkg(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The packages that are installed."""

    versions: Mapping[str, str]
    providers: Mapping[str, str]  # a virtual package -> one that provides it
    held: frozenset[str]  # an administrator said that their versions stay


def installed(architecture: str, root: str = "") -> Machine:
    """Return what is installed for an architecture below ``root``; nothing for this machine itself."""
    listed = process.run([f"{_DPKG}-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", _FORM]).stdout
    versions: dict[str, str] = {}
    providers: dict[str, str] = {}
    held = set()
    for line in listed.splitlines():
        name, version, built_for, provides, status, want = line.split("\t")
        if built_for not in {architecture, "all"}:
            continue
        if want == "hold":
            held.add(name)
        if status == "installed":
            versions[name] = version
            providers.update(dict.fromkeys(relations.names(provides), name))
    return Machine(versions=versions, providers=providers, held=frozenset(held))


def compare(rows: Iterable[Package], machine: Machine) -> GroundCheck:
    """Say how each row compares with what is installed."""
    found: dict[str, list[str]] = {word: [] for word in GroundCheck().by_word()}
    for row in rows:
        have = machine.versions.get(row.name)
        if have == row.version:
            found["equal"].append(row.name)
        elif have is not None:
            word = "newer" if debversion.order(have) > debversion.order(row.version) else "older"
            found[word].append(f"{row.name} {have} (locked {row.version})")
        elif row.name in machine.providers:
            found["replaced"].append(f"{row.name} by {machine.providers[row.name]}")
        else:
            found["missing"].append(f"{row.name} {row.version}")
    return GroundCheck(**{word: tuple(names) for word, names in found.items()})


def check_machine(pins: Pins, target: Target, root: str = "") -> MachineCheck:
    """Hold a machine, or the root file system below ``root``, against all rows of a target."""
    locked = pins.root(target)
    if locked is None:
        return MachineCheck(packages=GroundCheck())
    there = installed(target.architecture, root)
    names = [row.name for row in locked.installed if row.name in there.versions]
    said = process.run([_DPKG, f"--root={root or '/'}", "--verify", *names], codes=None).stdout if names else ""
    changed, configuration = read_verify(said, filters(_dpkg_settings(root)))
    return MachineCheck(
        packages=compare(locked.installed, there),
        changed=changed,
        configuration=configuration,
        alternatives=_alternatives(locked.alternatives, root),
        settings=_settings(pins, root),
    )


def read_verify(text: str, rules: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what ``dpkg --verify`` says: files that changed or are missing, and those of them that are configuration.

    A missing file that dpkg was told not to unpack is left out; slim images lack thousands.
    """
    changed: list[str] = []
    configuration: list[str] = []
    for line in text.splitlines():
        match = _FILE.fullmatch(line.rstrip())
        if match is None or (match["what"] == "missing" and is_excluded(match["path"], rules)):
            continue
        word = "missing" if match["what"] == "missing" else "changed"
        (configuration if (match["kind"] or "").strip() == "c" else changed).append(f"{match['path']} ({word})")
    return tuple(changed), tuple(configuration)


def filters(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return the path filters in the texts of dpkg's settings: ``("exclude", "/usr/share/man/*")``, in their order."""
    lines = (line.strip() for text in texts for line in text.splitlines())
    return [(match["word"], match["pattern"].strip("\"'")) for line in lines if (match := _FILTER.fullmatch(line))]


def is_excluded(path: str, rules: Sequence[tuple[str, str]]) -> bool:
    """Say whether dpkg leaves a path out; the last rule that matches counts."""
    words = [word for word, pattern in rules if fnmatch.fnmatchcase(path, pattern)]
    return bool(words) and words[-1] == "exclude"


def _dpkg_settings(root: str) -> Iterable[str]:
    """Yield the texts of dpkg's settings, in the order in which dpkg reads them."""
    directory = Path(f"{root}/etc/dpkg")
    for path in [*sorted(directory.glob("dpkg.cfg.d/*")), directory / "dpkg.cfg"]:
        if path.is_file():
            yield path.read_text("utf-8", "replace")


def _alternatives(locked: Mapping[str, str], root: str) -> tuple[str, ...]:
    """Return the shared names that lead elsewhere than the lock says."""
    found = []
    for link, path in sorted(locked.items()):
        leads, wanted = _real(link, root), _real(path, root)
        if leads != wanted:
            found.append(f"{link} leads to {leads or 'nothing'} (locked {path})")
    return tuple(found)


def _real(path: str, root: str) -> str:
    """Return where a path below ``root`` leads, as that root sees it, or nothing."""
    current = path
    for _ in range(40):  # as many links as the kernel follows
        parts = current.split("/")
        for end in range(2, len(parts) + 1):
            here = "/".join(parts[:end])
            link = Path(root + here)
            if link.is_symlink():
                target = posixpath.join(posixpath.dirname(here), str(link.readlink()))
                current = posixpath.normpath("/".join([target, *parts[end:]]))
                break
        else:
            return current if Path(root + current).exists() else ""
    return ""


def _settings(pins: Pins, root: str) -> tuple[str, ...]:
    """Return where locale and time zone are others than the locked ones."""
    found = []
    locale = _assigned(Path(f"{root}/etc/default/locale"), "LANG") or _assigned(Path(f"{root}/etc/locale.conf"), "LANG")
    if locale != pins.locale:
        found.append(f"the locale is {locale or 'not set'} (locked {pins.locale})")
    local = Path(f"{root}/etc/localtime")
    zone = (
        str(local.readlink()).rpartition("zoneinfo/")[2] if local.is_symlink() else _first(Path(f"{root}/etc/timezone"))
    )
    if (zone or "UTC") not in {pins.timezone, f"Etc/{pins.timezone}"}:
        found.append(f"the time zone is {zone} (locked {pins.timezone})")
    return tuple(found)


def _assigned(path: Path, name: str) -> str:
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else ()
    values = [line.partition("=")[2].strip("\"' ") for line in lines if line.startswith(f"{name}=")]
    return values[-1] if values else ""


def _first(path: Path) -> str:
    return path.read_text("utf-8", "replace").strip() if path.is_file() else ""
