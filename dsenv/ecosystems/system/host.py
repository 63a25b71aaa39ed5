"""Installing on a machine that is not dsenv's, by the machine's own apt: nothing is removed, nothing taken back.

What is missing or older comes from the machine's own signed sources, at the locked version where they have it. What
cannot be had that way is left, and said. As root, nothing is read that others can write: apt's files lie in a directory
of root's own. A .deb of the store counts only where a signed index that was kept lists it, or on ``--trust-lock``;
index and .deb are copied there first, and read and hashed there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system import administrator, base, bootstrap, machine, offer, probe
from dsenv.ecosystems.system.archives import sources, trust
from dsenv.ecosystems.system.packages import debversion
from dsenv.ecosystems.system.pins import deb_name
from dsenv.ecosystems.system.solver import apt, halving
from dsenv.errors import DownloadError, IntegrityError, ResolutionError, WrongUseError
from dsenv.ground import HostPlan
from dsenv.pins import Artifact
from dsenv.store import Store
from dsenv.tools import deb, process
from dsenv.tree import copy_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dsenv.ecosystems.system.archives.repositories import Repository
    from dsenv.ecosystems.system.machine import Machine
    from dsenv.ecosystems.system.pins import Package, Pins, Root
    from dsenv.ecosystems.system.spec import Spec
    from dsenv.pins import Target
    from dsenv.progress import Progress

_LOCKS: Final = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
_WAIT: Final = 600  # seconds that apt waits for others that install
# What turns the configuration of an isolated root into one for the machine itself; its sources and lists stay.
_CONF: Final = """
Dir "/";
Dir::State "var/lib/apt/";
Dir::State::lists "{root}/var/lib/apt/lists/";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{root}/var/cache/apt/";
Dir::Etc "etc/apt/";
Dir::Etc::sourceparts "{root}/etc/apt/sources.list.d";
Dir::Etc::preferences "{root}/etc/apt/preferences";
Dir::Log "var/log/apt";
APT::Sandbox::User "_apt";
DPkg::Lock::Timeout "{wait}";
DPkg::Options {{ "--force-confdef"; "--force-confold"; }};
DPkg::Use-Pty "0";
quiet "1";
"""
_POOL: Final = "\nTypes: deb\nURIs: copy:{pool}\nSuites: ./\nTrusted: yes\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What apt is asked for, and what it would do."""

    requests: tuple[str, ...] = ()  # "jq=1.6-2.1"
    versions: Mapping[str, str]  # all that would be installed
    left: tuple[str, ...] = ()  # "jq 1.6-2.1: …"


def restore_host(
    pins: Pins,
    spec: Spec,
    target: Target,
    store: Store,
    progress: Progress,
    *,
    trust_lock: bool,
    agreed: Callable[[HostPlan], bool],
) -> HostPlan:
    """Install what this machine lacks of the rows, as far as the rules allow; return what was found and done.

    Args:
        pins: The lock's system part.
        spec: Names the keys of third parties.
        target: This machine.
        store: Has the locked .debs, and the signed indexes that list them.
        progress: Told what is going on.
        trust_lock: Whether .debs count that no signed source of this machine has.
        agreed: Asked with the plan, before anything is changed.

    Raises:
        WrongUseError: The lock is not for this machine.

    """
    root = pins.root(target)
    reason = probe.misfit(pins, target)
    if root is None or reason:
        raise WrongUseError(
            f"the locked system packages are not for this machine: {reason or 'the lock has none for it'}",
            hint="The whole environment runs as an image: `dsenv docker`, then `dsenv run --image -- COMMAND`.",
        )
    there = machine.installed(target.architecture)
    before = machine.compare(root.installed, there)
    names = {line.partition(" ")[0] for line in (*before.missing, *before.older)}
    wanted = [row for row in root.installed if row.name in names - there.held]
    held = [row for row in root.installed if row.name in names & there.held]
    left = tuple(f"{row.name} {row.version}: it is held at {there.versions.get(row.name, 'nothing')}" for row in held)
    if not wanted:
        return HostPlan(before=before, after=before, left=left)
    with _directory() as directory:
        strangers = [row for row in spec.repositories if row.name in {package.origin for package in wanted}]
        apt_root = _prepare(directory, root, target, strangers, progress)
        if trust_lock:
            _add_pool(apt_root, pins, _unsigned(apt_root, wanted), store, progress)
        elif os.geteuid() == 0:  # whoever is told a command has the archives alone
            unsigned = _unsigned(apt_root, wanted)
            kept = _vouched(directory / "kept", pins, spec, unsigned, target, store) if unsigned else []
            _add_pool(apt_root, pins, _served(pins, kept, store), store, progress)
        chosen = _choose(apt_root, wanted, there, progress)
        steps = tuple(_step(name, version, there) for name, version in sorted(chosen.versions.items()))
        origins = {row.origin for row in wanted if row.name in chosen.versions}
        unknown = _unknown([row for row in strangers if row.name in origins])
        command = administrator.command(chosen.requests, unknown, target.architecture)
        plan = HostPlan(
            before=before,
            after=before,
            changes=steps,
            left=(*left, *chosen.left),
            command=command if steps else "",
        )
        if not steps or not agreed(plan):
            return plan
        _install(directory, chosen, {row.name for row in wanted if row.why == ("dependency",)}, there, progress)
    after = machine.compare(root.installed, machine.installed(target.architecture))
    return replace(plan, after=after)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory that everybody may read, apt's own user among them, and only this user may write."""
    with tempfile.TemporaryDirectory(prefix="dsenv-system-", dir="/var/tmp") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def _prepare(
    directory: Path, root: Root, target: Target, strangers: Sequence[Repository], progress: Progress
) -> apt.AptRoot:
    """Return an apt root that has this machine's packages, and its signed sources of the locked release.

    Third parties' archives, under the keys that the project names, are among them as far as they answer: what they
    have listed once may be in the store.
    """
    ground = base.ground(f"bootstrap:{root.distribution}:{root.codename}", target, progress)
    found = apt.AptRoot(directory, target.architecture)
    preferences = apt.preferences({row.name: [row.version] for row in root.installed})
    rendered = [sources.render(ground.sources, ground.distribution.keyring, target.architecture)]
    filled = [row.filled() for row in strangers]
    for row in filled:
        key = directory / f"{row.name}.gpg"
        key.write_bytes(row.keyring)
        key.chmod(0o644)
        rendered.append(sources.third_party(row, row.uri, str(key), target.architecture))
    status = Path("/var/lib/dpkg/status").read_text("utf-8")
    found.prepare(sources="\n".join(rendered), status=status, preferences=preferences)
    if os.geteuid() == 0:
        with (directory / "apt.conf").open("a") as file:
            file.write('APT::Sandbox::User "_apt";\n')
    progress.update(f"fetching the indexes of {ground.label}")
    try:
        found.update()
    except DownloadError as error:
        if not strangers:
            raise
        progress.warn(f"{', '.join(row.name for row in strangers)} may be out of reach: {error.sentence}")
        return _prepare(directory, root, target, [], progress)
    if filled:
        found.prefer("\n".join([preferences, offer.put_aside(found, filled)]))
    return found


def _unknown(strangers: Sequence[Repository]) -> list[Repository]:
    """Return the archives that this machine's own apt does not have."""
    known = {(source.uri, source.suite) for source in sources.parse(sources.host_files())} if strangers else set()
    return [row for row in strangers if (row.address.url, row.suite) not in known]


def _unsigned(root: apt.AptRoot, rows: Sequence[Package]) -> list[Package]:
    """Return the rows that no signed source has at the locked version."""
    listed = root.places([row.name for row in rows])
    return [row for row in rows if not listed.get((row.name, row.version))]


def _vouched(
    directory: Path, pins: Pins, spec: Spec, rows: Sequence[Package], target: Target, store: Store
) -> list[Package]:
    """Return the rows that a kept index lists, signed by a keyring of this machine or a key that the project names.

    The files are copied into a store of root's own before anybody reads them.
    """
    private = Store(directory, offline=True)
    for archive in pins.provenance.archives:
        for sha256 in (archive.inrelease, *(index.sha256 for index in archive.indexes)):
            path = store.path(Artifact(filename="index", sha256=sha256))
            if path.exists():
                private.keep(path.read_bytes())
    names = {(row.name, row.version) for row in rows}
    good = {
        one.name
        for one in trust.vouched(pins, spec, private)
        if one.target == str(target) and one.state == "good" and (one.name, one.version) in names
    }
    return [row for row in rows if row.name in good]


def _served(pins: Pins, rows: Sequence[Package], store: Store) -> list[Package]:
    """Return the rows whose files the store has, or can have."""
    away = [row for row in rows if store.missing([pins.artifact(row)])]
    urls = store.servers([pins.artifact(row) for row in away])
    gone = {row.name for row, url in zip(away, urls, strict=True) if not url}
    return [row for row in rows if row.name not in gone]


def _add_pool(root: apt.AptRoot, pins: Pins, rows: Sequence[Package], store: Store, progress: Progress) -> None:
    """Let apt have the locked .debs of ``rows``: copied to where nobody else can write, and hashed there."""
    if not rows:
        return
    store.fetch([pins.artifact(row) for row in rows], progress)
    pool = root.path / "pool"
    pool.mkdir(mode=0o755)
    stanzas = []
    for row in rows:
        copy = pool / deb_name(row)
        if copy_file(store.path(pins.artifact(row)), copy) != row.sha256:
            raise IntegrityError(f"{copy.name} in the store is damaged", hint="Run `dsenv restore` to get it anew.")
        copy.chmod(0o644)
        stanzas.append(bootstrap.stanza(deb.control_text(copy), row, ""))
    (pool / "Packages").write_text("\n".join(stanzas), "utf-8")
    (pool / "Packages").chmod(0o644)
    with (root.path / "etc/apt/sources.list.d/dsenv.sources").open("a") as file:
        file.write(_POOL.format(pool=pool))
    root.update()


def _choose(root: apt.AptRoot, rows: Sequence[Package], there: Machine, progress: Progress) -> _Chosen:
    """Return the largest set of rows that apt can install without taking anything away, found by halving."""
    progress.update("asking apt what can be installed without taking anything away")
    unsigned = {row.name for row in _unsigned(root, rows)}
    request = {row.name: row.name if row.name in unsigned else f"{row.name}={row.version}" for row in rows}
    offered = {name for name, _ in root.places([*request])}
    left = {row.name: "no signed source of this machine has it" for row in rows if row.name not in offered}
    versions: dict[str, str] = {}

    def refused(names: Sequence[str]) -> str:
        nonlocal versions
        try:
            found = root.solve([request[name] for name in names])
        except ResolutionError as error:
            return error.cause
        if reason := _forbidden(found, there) or _another_file(root, found, rows):
            return reason
        versions = found
        return ""

    accepted, why = halving.fitting([row.name for row in rows if row.name in offered], refused)
    left |= why
    reasons = tuple(
        f"{row.name} {row.version}: {'; '.join(left[row.name].splitlines())}" for row in rows if row.name in left
    )
    return _Chosen(requests=tuple(request[name] for name in accepted), versions=versions, left=reasons)


def _forbidden(found: Mapping[str, str], there: Machine) -> str:
    """Return why a solution may not be installed, or nothing: it takes a package back, or moves a held one."""
    for name, version in found.items():
        have = there.versions.get(name)
        if have and name in there.held:
            return f"{name} {have} is held, and {version} would be needed"
        if have and debversion.order(have) > debversion.order(version):
            return f"{name} {have} would be taken back to {version}"
    return ""


def _another_file(root: apt.AptRoot, found: Mapping[str, str], rows: Sequence[Package]) -> str:
    """Return which row the archive has as another file of the same version, or nothing."""
    locked = {(row.name, row.version): row.sha256 for row in rows}
    for stanza in root.show(pair for pair in found.items() if pair in locked):
        pair = stanza["Package"], stanza["Version"]
        if stanza.get("SHA256", "") != locked.get(pair, ""):
            return f"the archive's {' '.join(pair)} is another file than the locked one"
    return ""


def _step(name: str, version: str, there: Machine) -> str:
    have = there.versions.get(name)
    return f"{name} {have} -> {version}" if have else f"{name} {version}"


def _install(directory: Path, chosen: _Chosen, automatic: set[str], there: Machine, progress: Progress) -> None:
    """Let the machine's apt do what was planned; it refuses by itself whatever would remove or take back."""
    conf = directory / "host.conf"
    text = (directory / "apt.conf").read_text("utf-8")
    conf.write_text(text + _CONF.format(root=directory, wait=_WAIT), "utf-8")
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "APT_CONFIG": str(conf),
        "DEBIAN_FRONTEND": "noninteractive",
    }
    if busy := next((path for path in _LOCKS if _is_locked(path)), ""):
        progress.say(f"waiting for another program that installs packages ({busy} is locked), at most {_WAIT} seconds")
    argv = [process.require("apt-get", hint=sources.NO_APT), "install", "--no-remove", *chosen.requests]
    process.run(argv, env=env, on_line=progress.update)
    marked = sorted(name for name in automatic & chosen.versions.keys() if name not in there.versions)
    if marked:  # so that `apt autoremove` takes them along, once nothing needs them
        process.run(["/usr/bin/apt-mark", "auto", *marked], env=env)


def _is_locked(path: str) -> bool:
    """Say whether another process holds one of dpkg's locks (fcntl(2))."""
    try:
        with open(path, "r+") as file:  # noqa: PTH123
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
