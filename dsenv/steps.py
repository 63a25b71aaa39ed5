"""The install steps: what an ecosystem wants done, as values that every output can read.

``restore`` performs the very steps that ``dsenv docker`` prints, so the two cannot disagree. A recipe is made for a
place; its steps know nothing of who performs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from dsenv.pins import Artifact

PlaceKind = Literal["project", "host", "image", "workshop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an environment is put.

    ``project``: a directory on a host of the locked distribution release; system packages lie in a tree of their own.
    ``host``: a directory on any other machine; there is no tree, the machine's own programs serve.
    ``image``: a root file system that dsenv owns; system packages lie where they always do.
    ``workshop``: where sources are built; the system packages, those for building among them, lie below ``root``.
    """

    kind: PlaceKind
    prefix: str  # "/home/ann/penguins/.dsenv/envs/3f2a…-1", "/opt/dsenv"
    root: str  # where the system packages' / is: "<prefix>/root" in a project, "" elsewhere
    inputs: str  # where a recipe's inputs lie while its steps run
    project: str = ""  # the directory of the project that it belongs to
    alone: bool = False  # whether its maker has nothing that dsenv makes before: an image from its Dockerfile alone
    cache: str = ""  # where the environment's programs may leave what they can make again


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file that a recipe's steps read, by its name below ``Place.inputs``."""

    name: str  # "wheels/numpy-2.4.6-….whl"
    source: Artifact | str | Path  # a locked artifact, a text, or a file made from artifacts
    sha256: str = ""  # of a file made from artifacts: it is checked again when it is handed over
    identity: str = ""  # what a key knows it by instead of its hash: the content of what comes in several packings
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An input that is not there yet: a build leaves it where the recipe's steps will run."""

    name: str  # below Place.inputs: "library/dplyr.tar"
    build: str  # its name, among those of the recipe's own ecosystem


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFrom:
    """Begin with a whole root file system: an image's name, a tar archive among the inputs, or what a script makes."""

    image: str = ""
    archive: str = ""
    script: str = ""  # among the inputs: run in `image`, it fills the directory that it is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpack:
    """Lay an archive's files below ``Place.root``, among those of all others, or into a directory of their own."""

    artifact: Artifact  # a .deb, or a tar archive of one directory
    directory: str = ""  # an absolute path that nothing else uses; "" for the root
    owner: str = ""  # what the package must say that it is: "jq 1.6-2.1"; "" for anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write a text file at an absolute path of the place."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Derive:
    """Write the text of an unpacked file, with literal replacements, to ``path`` (which may be the file itself)."""

    source: str  # below Place.root: "usr/lib/R/bin/R"
    path: str  # below Place.root
    replacements: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Make a link below ``Place.root`` that leads to another path below it."""

    path: str  # "usr/lib/x86_64-linux-gnu/libblas.so.3"
    target: str  # "usr/lib/x86_64-linux-gnu/blas/libblas.so.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dereference:
    """Replace each link in a directory below ``below`` that leads out of that directory by what it leads to."""

    below: str  # below Place.root: "usr/lib/R/site-library"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a program of the place or of the inputs."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEnv:
    """Set a variable of the environment's processes; ``None`` removes it."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrependPath:
    """Put directories before those that a path variable has so far."""

    name: str  # "PATH", "LD_LIBRARY_PATH"
    directories: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPath:
    """Put into a path variable each directory below ``Place.root`` that holds a file whose path matches."""

    name: str  # "LD_LIBRARY_PATH"
    pattern: str  # a regular expression for the path below the root


@dataclass(frozen=True, slots=True, kw_only=True)
class TruePaths:
    """Let programs find the tree below ``Place.root`` at / itself, where the machine allows it."""

    programs: tuple[str, ...]  # ("node", "npm")
    reason: str  # for a person: "its policies are looked for in /etc/chromium"


Step = StartFrom | Unpack | Write | Derive | Link | Dereference | Run | SetEnv | PrependPath | SearchPath | TruePaths


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that puts one ecosystem's packages into a place."""

    name: str  # the ecosystem's: "python"
    title: str  # for a person: "Python 3.11.2, 18 packages"
    inputs: tuple[Input, ...] = ()
    pending: tuple[Pending, ...] = ()
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()  # what the place cannot have, for the person who restores
    differs: tuple[str, ...] = ()  # what the place has in place of what is locked, a sentence each
    epoch: int = 0  # when the newest of it was made, in seconds since 1970: the time stamp of what is generated
    learned: Any = None  # the pins with what only making the inputs could tell, such as a layer's digest
