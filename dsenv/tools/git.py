"""git, run as a program: a commit's files, fetched with the user's own credentials, as git itself has them.

Files are read as objects: no filter, hook, line-ending setting or checkout changes a byte of them. Repositories that
git keeps for us are bare and never anybody's work tree.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, Literal

from dsenv import tree
from dsenv.errors import DownloadError, DsenvError, ResolutionError, ToolError
from dsenv.pins import CREDENTIALS, without_credentials
from dsenv.tools import archive, process
from dsenv.tools.archive import Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dsenv.network import Network

PREFIX: Final = "git+"
_NO_CREDENTIALS: Final = (
    "Give git its credentials for this host: a credential helper, an SSH key or ~/.netrc; or write "
    "`https://${USER}:${TOKEN}@…` as the address in dsenv.toml."
)
_REFUSALS: Final = (
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "Permission denied",
    "terminal prompts disabled",
    "The requested URL returned error: 403",
    "Repository not found",
    "Access denied",
)
_QUIET: Final = (
    *("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
    *("-c", "fetch.recurseSubmodules=false", "-c", "submodule.recurse=false", "-c", "advice.detachedHead=false"),
)
# What git asks for a password; it reads both from the environment, where no other user can.
_HELPER: Final = '!printf "username=%s\\npassword=%s\\n" "$DSENV_GIT_USER" "$DSENV_GIT_PASSWORD"; :'
_ADDRESS: Final = re.compile(r"git\+(?P<place>.+)@(?P<commit>[0-9a-f]{40}|[0-9a-f]{64})")
_KINDS: Final[dict[bytes, Literal["file", "program", "link"]]] = {
    b"100644": "file",
    b"100664": "file",
    b"100755": "program",
    b"120000": "link",
}


def address(place: str, commit: str) -> str:
    """Return the address of a commit's files, as an artifact has it: ``git+https://host/repository@0f1e…``."""
    return f"{PREFIX}{place}@{commit}"


def pieces(url: str, home: Path, network: Network) -> Iterator[bytes]:
    """Yield the tar of a commit's files in pieces.

    Args:
        url: What ``address`` returns.
        home: Where the repository may lie meanwhile.
        network: Who one is at its host.

    Raises:
        DownloadError: The repository does not answer, or has no such commit.

    """
    match = _ADDRESS.fullmatch(url)
    if match is None:
        raise DownloadError(f"{without_credentials(url)} is no commit of a repository")
    tree.remove(home)
    try:
        repository = Repository(home, match["place"], network)
        repository.fetch_commit(match["commit"])
        yield from archive.pack(repository.members(match["commit"]))
    finally:
        tree.remove(home)


class Repository:
    """A bare copy of a repository.

    Args:
        home: Where it lies; made when it is first fetched.
        place: The repository's address, without credentials.
        network: Who one is there.

    """

    def __init__(self, home: Path, place: str, network: Network) -> None:
        self._home = home
        self._place = place
        self._env = _environment(place, network)

    def fetch(self) -> None:
        """Bring all branches and tags, with their history: versions are counted from tags."""
        self._fetch(("+HEAD:refs/dsenv/HEAD", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"), "--prune")

    def asked(self, revision: str) -> str | None:
        """Return the commit that the server has for a tag, a branch or a ``refs/…``; "" is its default branch.

        Raises:
            DownloadError: It does not answer.

        """
        names = [f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}", f"refs/heads/{revision}", revision]
        argv = [*_git(), "ls-remote", "--quiet", "--", self._place, *(names if revision else ["HEAD"])]
        completed = process.run(argv, env=self._env, codes=None)
        if completed.code:
            raise self._failure(completed.stderr)
        rows = [line.split("\t", 1) for line in completed.stdout.splitlines() if "\t" in line]
        found = {name: commit for commit, name in rows}
        return next((found[name] for name in (names if revision else ["HEAD"]) if name in found), None)

    def fetch_commit(self, commit: str) -> None:
        """Bring one commit, alone where the server hands out commits."""
        try:
            self._fetch((commit,), "--depth", "1")
        except DownloadError:
            self.fetch()
        if self.commit(commit) is None:
            raise DownloadError(f"{without_credentials(self._place)} has no commit {commit} any more")

    def commit(self, revision: str) -> str | None:
        """Return the commit that a tag, a branch or a beginning of its hash names, or ``None``; "" is the default."""
        if not self._home.exists():
            return None
        names = (f"refs/tags/{revision}", f"refs/heads/{revision}", revision) if revision else ("refs/dsenv/HEAD",)
        for name in names:
            argv = self._argv("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            completed = process.run(argv, env=self._env, codes=None)
            if completed.code == 0:
                return completed.stdout.strip()
        return None

    def members(self, commit: str) -> Iterator[Member]:
        """Yield the files of a commit.

        Raises:
            DsenvError: It has submodules, whose files are elsewhere.

        """
        listed = []
        with process.pipe(self._argv("ls-tree", "-r", "-z", "--full-tree", commit), env=self._env) as stream:
            rows = stream.read().split(b"\0")
        for row in filter(None, rows):
            facts, _, path = row.partition(b"\t")
            mode, kind, name = facts.split()
            if kind != b"blob":
                raise DsenvError(
                    f"{without_credentials(self._place)} has a submodule at {path.decode(errors='replace')}, and "
                    "submodules are not fetched",
                    hint="Take a release of the package from an index, or an sdist of it.",
                )
            listed.append((path.decode("utf-8", "surrogateescape"), _KINDS[mode], name.decode()))
        yield from self._contents(listed)

    def checkout(self, commit: str, directory: Path) -> None:
        """Write a work tree with its history, for what tells its version from tags."""
        clone = ("clone", "--quiet", "--shared", "--no-checkout", "--template=", str(self._home), str(directory))
        env = {**self._env, "GIT_ALLOW_PROTOCOL": "file"}  # of what is here already, nothing is fetched any more
        process.run([*_git(), *clone], env=env)
        inside = [*_git(), "-C", str(directory), "-c", "core.autocrlf=false"]
        process.run([*inside, "checkout", "--quiet", "--detach", commit], env=env)

    def _contents(self, listed: list[tuple[str, Literal["file", "program", "link"], str]]) -> Iterator[Member]:
        wanted = self._home / "wanted"
        wanted.write_text("".join(f"{name}\n" for _, _, name in listed), "ascii")
        with (
            wanted.open("rb") as names,
            process.pipe(self._argv("cat-file", "--batch", "--buffer"), env=self._env, stdin=names) as stream,
        ):
            for path, kind, name in listed:
                answer = stream.readline().split()
                if len(answer) != 3 or answer[0] != name.encode():  # noqa: PLR2004 - hash, kind, size
                    raise ToolError("git said something else than what is in a commit", cause=repr(answer))
                content = stream.read(int(answer[2]))
                stream.read(1)  # the end of the line
                yield Member(path=path, kind=kind, content=content)

    def _fetch(self, refspecs: Sequence[str], *options: str) -> None:
        if not self._home.exists():
            process.run([*_git(), "init", "--quiet", "--bare", "--template=", str(self._home)], env=self._env)
        argv = self._argv("fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head", *options)
        completed = process.run([*argv, "--", self._place, *refspecs], env=self._env, codes=None)
        if completed.code:
            raise self._failure(completed.stderr)

    def _failure(self, stderr: str) -> DownloadError:
        text = CREDENTIALS.sub("", stderr.strip())
        refused = any(word in text for word in _REFUSALS)
        return DownloadError(
            f"git could not fetch {without_credentials(self._place)}",
            cause=text,
            hint=_NO_CREDENTIALS if refused else "Check the address, the network and the proxy.",
        )

    def _argv(self, *words: str) -> list[str]:
        return [*_git(), "--git-dir", str(self._home), *words]


def no_revision(place: str, revision: str) -> ResolutionError:
    """Return the error for a tag, branch or commit that a repository does not have."""
    return ResolutionError(
        f"{without_credentials(place)} has no tag, branch or commit {revision.rpartition('refs/')[2] or 'HEAD'}",
        hint="Correct it in dsenv.toml, or see whether it was deleted.",
    )


def _git() -> list[str]:
    return [process.require("git", hint="Install git."), *_QUIET]


def _environment(place: str, network: Network) -> Mapping[str, str]:
    """Return the environment in which git finds its user's settings, asks nobody, and knows who one is at a place."""
    kept = {name: value for name, value in os.environ.items() if name not in _ABOUT_A_REPOSITORY}
    scheme = place.partition("://")[0]
    env = kept | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:git" + (":file" if scheme == "file" else ""),
    }
    for variable, proxy in network.proxies.items():
        if not {f"{variable}_proxy", f"{variable.upper()}_PROXY"} & env.keys():
            env[f"{variable}_proxy"] = proxy
    if network.authority:
        env.setdefault("GIT_SSL_CAINFO", network.authority)
    if scheme in {"http", "https"} and (who := network.credentials(place)):
        count = int(env.get("GIT_CONFIG_COUNT") or 0)
        env |= {
            "DSENV_GIT_USER": who[0],
            "DSENV_GIT_PASSWORD": who[1],
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": f"credential.{place}.helper",
            f"GIT_CONFIG_VALUE_{count}": _HELPER,
        }
    return env


_ABOUT_A_REPOSITORY: Final = {
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("GIT_NAMESPACE", "GIT_COMMON_DIR", "GIT_CEILING_DIRECTORIES", "GIT_PREFIX", "GIT_TEMPLATE_DIR"),
}
"""Variables of a hook or an alias that dsenv may run in."""
