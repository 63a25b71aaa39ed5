"""Packages that come from no repository: a commit of a git repository, a directory of the project, a tarball.

What such a package's own DESCRIPTION names under ``Remotes`` is followed, unless dsenv.toml names a source itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dsenv.download import Unhashed
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.r import tarball
from dsenv.ecosystems.r.cran.candidates import Candidate
from dsenv.ecosystems.r.requests import RPackageRequest, parse_request
from dsenv.ecosystems.r.spec import requested
from dsenv.ecosystems.r.versions import RVersion
from dsenv.errors import IntegrityError, ResolutionError
from dsenv.pins import digest
from dsenv.tools import git

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsenv.ecosystem import Request
    from dsenv.ecosystems.r.requests import Remote

_TARBALLS: Final = (".tar.gz", ".tgz")
_HASH: Final = 40  # digits of a commit


@dataclass(slots=True)
class Remotes:
    """The packages that were found."""

    candidates: dict[str, Candidate] = field(default_factory=dict)  # by name
    sources: dict[str, r_pins.Source] = field(default_factory=dict)
    names: dict[RPackageRequest, str] = field(default_factory=dict)  # what an entry without a name turned out to be

    def name(self, wanted: RPackageRequest) -> str:
        """Return the name of what a person asked for."""
        return self.names.get(wanted, wanted.name)


def read(request: Request) -> Remotes:
    """Fetch the sources that dsenv.toml names and return what they are.

    Raises:
        ResolutionError: One is no R package, or another one; or a package has two sources.

    """
    found = Remotes()
    pending = [(wanted, "dsenv.toml") for _, wanted in requested(request.spec) if wanted.remote]
    while pending:
        wanted, asker = pending.pop(0)
        if wanted in found.names:
            continue
        assert wanted.remote  # noqa: S101 - only such are pending
        request.progress.update(f"reading {wanted.remote}")
        source, candidate = _read(wanted.remote, request)
        name = candidate.name
        if wanted.name not in {"", name}:
            raise ResolutionError(f"{wanted.remote} is R package {name}, not {wanted.name}")
        other = found.sources.get(name)
        if other and asker == "dsenv.toml" and other.remote != source.remote:
            raise ResolutionError(f"R package {name} is to come from two places, {wanted.remote} among them")
        found.names[wanted] = name
        if other:
            continue
        found.sources[name] = source
        found.candidates[name] = candidate
        pending += [(inner, name) for inner in _inner(candidate, request)]
    return found


def _inner(candidate: Candidate, request: Request) -> Iterator[RPackageRequest]:
    """Yield what a package names under Remotes."""
    for item in filter(None, (item.strip() for item in candidate.fields.get("Remotes", "").split(","))):
        try:
            wanted = parse_request(item)
        except ValueError:
            wanted = None
        if wanted and wanted.remote and wanted.remote.kind != "path":
            yield wanted
        else:
            request.progress.warn(f"{candidate.name} names {item} under Remotes, which is not followed")


def _read(remote: Remote, request: Request) -> tuple[r_pins.Source, Candidate]:
    held = None if remote.kind == "path" else _held(remote, request)
    if held:
        pin = held.remote
        artifact = held.artifact()
        request.store.fetch([artifact], request.progress)
    else:
        pin, urls = _pinned(remote, request)
        ending = next((ending for ending in _TARBALLS if urls[0].endswith(ending)), ".tar")
        may_change = remote.kind != "git"
        artifact = request.store.learn([Unhashed(filename=f"source{ending}", urls=urls, fresh=may_change)])[0]
    ending = next((ending for ending in _TARBALLS if artifact.filename.endswith(ending)), ".tar")
    try:
        examined = tarball.examine(artifact, request.store, pin.subdirectory if ending == ".tar" else None)
    except IntegrityError as error:
        hint = "Where it lies in the repository is said by `subdirectory`." if remote.kind == "git" else ""
        raise IntegrityError(f"{remote} is no R package", cause=error.sentence, hint=hint) from error
    stanza = examined.description
    name = _checked(stanza.get("Package", ""), stanza.get("Version", ""), remote)
    source = r_pins.Source(
        kind=remote.kind,
        filename=f"{name}_{stanza['Version']}{ending}",
        sha256=artifact.hashes,
        size=artifact.size or request.store.path(artifact).stat().st_size,
        content=examined.content,
        remote=pin,
        urls=artifact.urls,
    )
    candidate = Candidate(
        name=name,
        version=RVersion(stanza["Version"]),
        origin="remote",
        fields=stanza,
        filename=source.filename,
        artifact=source.artifact(),
        root=source.root,
    )
    return source, candidate


def _checked(name: str, version: str, remote: Remote) -> str:
    try:
        if parse_request(name).name == name:
            RVersion(version)
            return name
    except ValueError:
        pass
    raise ResolutionError(f"{remote} is no R package: its DESCRIPTION says {name or 'no name'} {version}")


def _held(remote: Remote, request: Request) -> r_pins.Source | None:
    """Return the locked source that this one still is."""
    rows: Iterable[r_pins.Package] = (row for pins in request.previous for row in pins.packages)
    for row in rows:
        source = row.source
        if source and source.kind == remote.kind and not request.upgrade.releases(row.name):
            pin = source.remote
            if (pin.url, pin.ref, pin.subdirectory) == (remote.url, remote.rev, remote.subdirectory):
                return source
    return None


def _pinned(remote: Remote, request: Request) -> tuple[r_pins.Remote, tuple[str, ...]]:
    """Return what a source is today, and its addresses."""
    if remote.kind == "path":
        return r_pins.Remote(path=remote.path), (remote.path,)
    if remote.kind == "url":
        return r_pins.Remote(url=remote.url), (remote.url,)
    commit = _commit(remote, request)
    pin = r_pins.Remote(
        url=remote.url, ref=remote.rev, commit=commit, subdirectory=remote.subdirectory, forge=remote.forge
    )
    return pin, (git.address(remote.url, commit),)


def _commit(remote: Remote, request: Request) -> str:
    home = request.store.cache("git") / digest(remote.url)[:16]
    repository = git.Repository(home, remote.url, request.store.network)
    rev = remote.rev
    if len(rev) == _HASH and set(rev) <= set("0123456789abcdef"):
        return rev
    found = repository.asked(rev)
    if found is None and rev:
        repository.fetch()  # the beginning of a commit's hash, perhaps
        found = repository.commit(rev)
    if found is None:
        raise git.no_revision(remote.url, rev)
    return found
