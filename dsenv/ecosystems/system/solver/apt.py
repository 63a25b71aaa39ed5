"""apt in an isolated root: the real resolver, without root rights and without touching the machine.

A root has its own sources, lists, caches and package status; of the machine's configuration only proxies,
certificates and credentials are taken over. What apt is asked and what it answered are separate functions. Answers
that take it long are kept beside the root: it has no other ones as long as the root is as it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystems.system.archives.sources import directory
from dsenv.ecosystems.system.solver import printed, trouble
from dsenv.ecosystems.system.solver.memory import Memory
from dsenv.ecosystems.system.solver.runner import Here
from dsenv.errors import DownloadError, ResolutionError, ToolError
from dsenv.formats import deb822
from dsenv.pins import digest, without_credentials
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dsenv.ecosystems.system.solver.runner import Runner

_TAKEN_OVER: Final = re.compile(
    r"Acquire::(?:http|https)(?:::\S+)?::"
    r"(?:Proxy|Proxy-Auto-Detect|ProxyAutoDetect|CaInfo|CaPath|SslCert|SslKey|Verify-Peer|Verify-Host)\b.*"
)
_CONF: Final = """\
Dir "{root}/";
Dir::State "var/lib/apt/";
Dir::State::lists "lists/";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Cache "var/cache/apt/";
Dir::Cache::archives "archives/";
Dir::Etc "etc/apt/";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "sources.list.d";
Dir::Etc::preferences "preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Etc::netrc "{netrc}";
Dir::Etc::netrcparts "{netrcparts}";
Dir::Log "var/log/apt";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Get::Upgrade-By-Source-Package "false";
APT::Sandbox::User "";
APT::Solver "internal";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Packages::KeepCompressed "false";
Acquire::Retries "3";
quiet "2";
{host}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index file that a root has read, verified by apt."""

    uri: str  # the archive's: "http://deb.example/debian"
    suite: str  # "bookworm-security"
    origin: str  # from its Release file: "Debian"
    codename: str
    metakey: str  # "main/binary-amd64/Packages"
    path: str  # where the root keeps it

    @property
    def directory(self) -> str:
        """The address of the directory that its Release file lies in: of a suite, or one of the archive's own."""
        return directory(self.uri, self.suite)


class AptRoot:
    """An isolated root for one architecture.

    Args:
        path: Its directory; made when it does not exist.
        architecture: Debian's word for it: ``amd64``.
        runner: Runs apt; this machine itself if nothing else is said.

    """

    def __init__(self, path: Path, architecture: str, runner: Runner | None = None) -> None:
        self.path = path
        self._architecture = architecture
        self._runner = runner or Here()
        self._indexes: list[Index] | None = None
        self._memory = Memory(path / "answers")

    @contextlib.contextmanager
    def locked(self) -> Iterator[AptRoot]:
        """Keep other processes of dsenv out of the root meanwhile, and apt ready to run."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "dsenv.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with self._runner.ready(self.path):
                yield self

    @cached_property
    def _host(self) -> tuple[str, str, str]:
        """What the machine of its apt has set, asked once although every use of the root prepares it."""
        return _host_settings(self._runner)

    def prepare(self, *, sources: str, status: str, preferences: str = "") -> None:
        """Write the root's configuration: its sources, package status and version preferences."""
        for name in (
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
            "var/log/apt",
        ):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        netrc, netrcparts, host = self._host
        conf = _CONF.format(
            root=self.path, architecture=self._architecture, netrc=netrc, netrcparts=netrcparts, host=host
        )
        _write_changed(self.path / "apt.conf", conf)
        _write_changed(self.path / "etc/apt/sources.list.d/dsenv.sources", sources)
        (self.path / "etc/apt/sources.list.d/pins.sources").unlink(missing_ok=True)
        _write_changed(self.path / "var/lib/dpkg/status", status)
        self.prefer(preferences)

    def prefer(self, preferences: str) -> None:
        """Replace the version preferences (apt_preferences(5))."""
        _write_changed(self.path / "etc/apt/preferences", preferences)

    def update(self) -> None:
        """Fetch the indexes that changed; apt verifies the signatures.

        Whether a Release file still says what it said is not asked here: a suite becomes "oldstable" one day, and
        whoever calls looks at the codename.

        Raises:
            DownloadError: An index could not be fetched or verified.

        """
        completed = self._run("apt-get", "update", "--error-on=any", "--allow-releaseinfo-change", codes=None)
        self._indexes = None
        if completed.code:
            raise trouble.told(completed.stderr)
        self._memory.hold(digest(self._releases()))

    def feed(self, stanzas: Sequence[str]) -> None:
        """Let apt know packages that no index lists; what was fed before is forgotten.

        They stand in a source of their own, which apt is told to trust: who feeds has to know where they come from.
        """
        directory = self.path / "pins"
        directory.mkdir(exist_ok=True)
        source = self.path / "etc/apt/sources.list.d/pins.sources"
        _write_changed(directory / "Packages", "".join(f"{stanza}\n\n" for stanza in stanzas))
        _write_changed(source, f"Types: deb\nURIs: {self._fed}\nSuites: ./\nTrusted: yes\n")
        only = (f"Dir::Etc::sourcelist={source}", "Dir::Etc::sourceparts=/dev/null", "APT::Get::List-Cleanup=0")
        self._run("apt-get", "update", *(word for option in only for word in ("--option", option)))

    @property
    def _fed(self) -> str:
        return f"copy:{self.path}/pins"

    @property
    def indexes_read(self) -> list[Index]:
        """The Packages indexes that the root has read, those of its own sources; asked for once an update."""
        if self._indexes is None:
            self._indexes = self._ask_indexes()
        return self._indexes

    def _ask_indexes(self) -> list[Index]:
        form = "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(CODENAME)\t$(METAKEY)\t$(FILENAME)\t$(CREATED_BY)"
        lines = self._run("apt-get", "indextargets", "--format", form).stdout.splitlines()
        found = []
        for line in lines:
            uri, suite, origin, codename, metakey, path, kind = line.split("\t")
            if kind == "Packages" and not uri.startswith(self._fed):
                found.append(
                    Index(
                        uri=uri.rstrip("/"), suite=suite, origin=origin, codename=codename, metakey=metakey, path=path
                    )
                )
        return found

    def inrelease(self, index: Index) -> bytes:
        """Return the signed Release file that an index is listed in.

        Raises:
            DownloadError: The archive has its signature in a file apart, which apt takes and a lock cannot keep.

        """
        if index.suite.endswith("/"):
            path = self.path / f"{index.path[: index.path.rindex('_Packages')]}_InRelease"
        else:
            head = index.path[: index.path.rindex("_dists_")]
            path = self.path / f"{head}_dists_{index.suite.replace('/', '_')}_InRelease"
        if not path.exists():
            raise DownloadError(
                f"{without_credentials(index.uri)} {index.suite} has no InRelease file, only Release and Release.gpg",
                hint="Name another mirror in the apt sources: the distribution's own archives have it.",
            )
        return path.read_bytes()

    def offered(self) -> dict[str, str]:
        """Return every package on offer, with the version that it would be installed in."""
        return self._memory.get(
            self._question("offered"), lambda: dict(printed.versions(self._run("apt-cache", "dumpavail").stdout))
        )

    def providers(self, name: str) -> list[str]:
        """Return the packages that provide a virtual one."""
        return printed.providers(self._run("apt-cache", "showpkg", name, codes=None).stdout)

    def places(self, names: Sequence[str]) -> dict[tuple[str, str], set[printed.Place]]:
        """Return the indexes that list each version of ``names``, by name and version; what was fed has none."""
        return printed.places(self._run("apt-cache", "policy", *names).stdout, self._fed) if names else {}

    def listed(self, index: Index) -> list[tuple[str, str]]:
        """Return the names and versions that an index lists."""
        text = self._run("/usr/lib/apt/apt-helper", "cat-file", index.path).stdout
        return printed.versions(text)

    def solve(self, requests: Sequence[str]) -> dict[str, str]:
        """Return what apt would install for ``requests``: the version of each package.

        Raises:
            ResolutionError: There is no solution; the cause is apt's own.

        """
        return self._memory.get(self._question("solve", *requests), lambda: self._solve(requests))

    def _solve(self, requests: Sequence[str]) -> dict[str, str]:
        argv = ("--print-uris", "--no-remove", "install", *requests)
        completed = self._run("apt-get", *argv, codes=None)
        if completed.code:
            told = self._run("apt-get", "--option", "quiet=1", *argv, codes=None)  # a quiet apt gives no reasons
            raise ResolutionError(
                "apt finds no solution for the system packages", cause=trouble.reasons(told.stdout + told.stderr)
            )
        return printed.uris(completed.stdout)

    def show(self, versions: Iterable[tuple[str, str]]) -> list[deb822.Stanza]:
        """Return the index stanzas of the given names and versions; some may have none."""
        words = [f"{name}={version}" for name, version in versions]
        if not words:
            return []

        def ask() -> str:
            return self._run("apt-cache", "show", "--no-all-versions", *words, codes=None).stdout

        return list(deb822.stanzas(self._memory.get(self._question("show", *words), ask)))

    def _question(self, *words: str) -> list[Any]:
        """Return a question with all that apt's answer depends on: the root as it is, and apt itself."""
        sources = (f"etc/apt/sources.list.d/{name}" for name in ("dsenv.sources", "pins.sources"))
        files = ("apt.conf", "etc/apt/preferences", "var/lib/dpkg/status", "pins/Packages", *sources)
        state = {name: path.read_text("utf-8") for name in files if (path := self.path / name).exists()}
        return [words, state, self._releases(), self.version]

    def _releases(self) -> dict[str, str]:
        """Return the Release files that apt has, by name: each says the sha256 of the indexes that go with it."""
        found = sorted((self.path / "var/lib/apt/lists").glob("*Release"))
        return {path.name: path.read_text("utf-8", "replace") for path in found}

    @cached_property
    def version(self) -> str:
        """Apt's own version."""
        return self._run("apt-get", "--version").stdout.split()[1]

    def _run(self, *argv: str, codes: Sequence[int] | None = (0,)) -> process.Completed:
        env = {"APT_CONFIG": str(self.path / "apt.conf"), "LC_ALL": "C.UTF-8", "LANGUAGE": "en"}
        return self._runner.run(argv, env=env, codes=codes)


def preferences(versions: Mapping[str, Sequence[str]]) -> str:
    """Return apt preferences that keep ``versions`` (by name) where the indexes still have them.

    Priority 999 makes a version the candidate, but never downgrades anything.
    """
    return "\n".join(
        f"Package: {name}\nPin: version {version}\nPin-Priority: 999\n"
        for name in sorted(versions)
        for version in versions[name]
    )


def _host_settings(runner: Runner) -> tuple[str, str, str]:
    """Return where apt's machine keeps credentials, and its proxy and certificate settings as configuration."""
    try:
        dump = runner.run(["apt-config", "dump"]).stdout
        shell = runner.run(["apt-config", "shell", "a", "Dir::Etc::netrc/f", "b", "Dir::Etc::netrcparts/d"]).stdout
    except ToolError:
        if not process.find("apt-config"):
            raise
        return "/dev/null", "/dev/null", ""
    places = dict(re.findall(r"(\w)='([^']*)'", shell))
    lines = [line for line in dump.splitlines() if _TAKEN_OVER.fullmatch(line)]
    return places.get("a", "/dev/null"), places.get("b", "/dev/null"), "\n".join([*lines, runner.settings])


def _write_changed(path: Path, text: str) -> None:
    """Write a file only when its text changes: apt rebuilds its caches by modification time.

    Nobody else may read it, as addresses of sources and of proxies may hold passwords.
    """
    if not path.exists() or path.read_text("utf-8") != text:
        path.touch(0o600)
        path.chmod(0o600)  # it may be there already
        path.write_text(text, "utf-8")
