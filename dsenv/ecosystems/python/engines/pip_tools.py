"""pip-tools as an engine: pip's own resolver, in a helper environment of the very Python that is locked.

pip reaches indexes as it is set up to: pip.conf, its variables, keyring and ``find-links`` count. It answers for one
target and one interpreter, those that it runs on. Hashes come from the index's pages: pip-compile would download every
file of every version to hash it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from packaging.pylock import PackageSdist, PackageWheel
from packaging.utils import canonicalize_name, parse_wheel_filename

from dsenv.ecosystems.python import dates, simple, uv
from dsenv.ecosystems.python.engines.interface import Answer, Found, no_sha256, no_upload_time
from dsenv.errors import ResolutionError, ToolError
from dsenv.pins import without_credentials
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dsenv.ecosystems.python.engines.interface import Question
    from dsenv.network import Network
    from dsenv.store import Store

PIP: Final = "26.3"  # pip-tools uses pip's private modules: the two belong together
one_place = True
_COMPILE: Final = (
    *("-m", "piptools", "compile", "--no-config", "--no-header", "--strip-extras", "--allow-unsafe"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--no-emit-options"),
    *("--annotation-style", "line", "--resolver", "backtracking"),
)
_DEFAULT_INDEX: Final = "from pip._internal.cli.cmdoptions import index_url; print(index_url().default)"
_NO_TIME: Final = re.compile(r"Index (?P<index>\S+?)/(?P<name>[^/\s]+)/? does not provide upload-time metadata")
_LINE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:==(?P<version>\S+)| @ file://(?P<stub>\S+))(?:\s*;[^#]*)?\s*(?:# via (?P<via>.*))?"
)
_IMPOSSIBLE: Final = re.compile(r"requirement=\w+\('([^']*)'\), parent=(?:None|\w+\('([^']*)'\))")
_SHOWN: Final = 10  # wishes that an error names


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A line of what pip-compile wrote."""

    name: str  # normalized
    version: str
    stub: str = ""  # the path of the wheel that stands for it
    via: tuple[str, ...]  # names, and "-r GROUP.in" for what was asked for


def resolve(question: Question, directory: Path, store: Store) -> Answer:
    """Answer a question (``interface.Engine``), running no code of packages but of those that may be built."""
    ((target, patch),) = question.space.everywhere
    version = question.space.version(patch)
    python = _helper(version, question.python, store)
    files = {"": question.requirements, **question.groups}
    for group, requirements in files.items():
        (directory / _file(group)).write_text("".join(f"{item}\n" for item in requirements), "utf-8")
    (directory / "constraints.txt").write_text("".join(f"{item}\n" for item in question.constraints), "utf-8")
    pinned = "".join(f"{pin.name}=={pin.version}\n" for pin in question.preferred)
    (directory / "pinned.txt").write_text(pinned, "utf-8")
    until = f" --uploaded-prior-to {dates.rfc3339(question.before)}" if question.before else ""
    sources = f" --no-binary {','.join(sorted(question.build))}" if question.build else ""
    argv = [python, *_COMPILE, "--pip-args", f"--only-binary :all:{sources}{until}"]
    argv += ["--cache-dir", str(store.cache("pip-tools")), "--constraint", "constraints.txt"]
    completed = process.run(
        [*argv, "--output-file", "pinned.txt", *map(_file, files)], env=_environment(), cwd=directory, codes=None
    )
    if completed.code:
        raise _trouble(completed, python, store.network)
    lines = read((directory / "pinned.txt").read_text("utf-8"))
    indexes = _indexes(python)
    return Answer(
        packages=_packages(lines, question, indexes, store.network),
        engine=f"pip-tools {importlib.metadata.version('pip-tools')}, pip {PIP}",
        warnings=(f"pip-tools has resolved for {target} and Python {version} alone",),
    )


def read(text: str) -> list[Compiled]:
    """Return what pip-compile wrote, with its annotations in one line each."""
    found = []
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "-")):
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise ToolError("pip-compile wrote a line that is no pin", cause=line)
            via = tuple(item.strip() for item in (match["via"] or "").split(","))
            stub = unquote(match["stub"] or "")
            version = match["version"] or str(parse_wheel_filename(stub.rpartition("/")[2])[1])
            found.append(Compiled(name=canonicalize_name(match["name"]), version=version, stub=stub, via=via))
    return found


def reached(lines: Sequence[Compiled], root: str) -> set[str]:
    """Return the names that a requirements file brings, directly or not."""
    found = {line.name for line in lines if f"-r {root}" in line.via}
    while more := {line.name for line in lines if found.intersection(line.via)} - found:
        found |= more
    return found


def _file(group: str) -> str:
    return f"group-{group}.in" if group else "requirements.in"


def _environment() -> dict[str, str]:
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_PREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    # A build of Python lies in the store, where nothing is to be written.
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _helper(version: str, build: str, store: Store) -> str:
    """Return the Python of an environment that holds pip-tools, on the very interpreter that is locked."""
    tools = importlib.metadata.version("pip-tools")
    home = store.cache("pip-tools") / "-".join((version, tools, PIP, *(["build"] if build else [])))
    python = home / "bin" / "python"
    if not python.exists():
        base = build or uv.find_python(f"=={version}")
        if base is None:
            raise ToolError(
                f"pip-tools resolves under the very Python that is locked, and this machine has no {version}",
                hint='Install it, or use the engine that needs none: resolver = "uv".',
            )
        env = uv.environment()
        with store.scratch("pip-tools") as aside:
            venv = str(aside / "venv")
            process.run([uv.program(), "venv", "--quiet", "--no-project", "--python", base, venv], env=env)
            wanted = [f"pip-tools=={tools}", f"pip=={PIP}"]
            process.run([uv.program(), "pip", "install", "--quiet", "--python", venv, *wanted], env=env)
            with contextlib.suppress(OSError):  # another dsenv was faster
                (aside / "venv").rename(home)
    return str(python)


def _indexes(python: str) -> list[str]:
    """Return the indexes that pip is set up to ask, the first one first."""
    listed = process.run([python, "-m", "pip", "config", "list"], env=_environment()).stdout
    default = process.run([python, "-c", _DEFAULT_INDEX], env=_environment()).stdout.strip()
    return read_config(listed, default)


def read_config(text: str, default: str) -> list[str]:
    """Return the indexes in what ``pip config list`` says: ``global.index-url='https://…'``, a line each."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        # of a kind, pip lists the strongest last; a variable beats a file, a command's section the global one
        if section in {"global", "install", ":env:"} and name in {"index-url", "extra-index-url"}:
            values[f"{('global', 'install', ':env:').index(section)}{name}"] = str(ast.literal_eval(value))
    strongest = {key[1:]: values[key] for key in sorted(values)}
    urls = [strongest.get("index-url", default), *strongest.get("extra-index-url", "").split()]
    return [url.rstrip("/") for url in urls if url.startswith(("http://", "https://"))]


def _packages(lines: Sequence[Compiled], question: Question, indexes: Sequence[str], network: Network) -> list[Found]:
    groups = {group: reached(lines, _file(group)) for group in ("", *question.groups)}
    listed = _listed([line for line in lines if not line.stub], indexes, network)
    found = []
    for line in lines:
        index, files = listed.get(line.name, ("", ()))
        sdists = [file for file in files if file.name.endswith((".tar.gz", ".zip")) and line.name in question.build]
        found.append(
            Found(
                name=line.name,
                version=line.version,
                index=without_credentials(index),
                wheels=tuple(PackageWheel(**_facts(file)) for file in files if file.name.endswith(".whl")),
                sdist=PackageSdist(**_facts(sdists[0])) if sdists else None,
                stub=line.stub,
                dependencies=tuple({"name": other.name} for other in lines if line.name in other.via),
                where={group: question.space.everywhere for group, names in groups.items() if line.name in names},
            )
        )
    return found


def _listed(
    lines: Sequence[Compiled], indexes: Sequence[str], network: Network
) -> Mapping[str, tuple[str, Sequence[simple.File]]]:
    """Return for each pin the first index that lists its version, with the files that it lists."""
    found: dict[str, tuple[str, Sequence[simple.File]]] = {}
    missing = list(lines)
    for index in indexes:
        pages = simple.pages(index, [line.name for line in missing], network)
        for line in missing:
            files = [file for file in pages[line.name] if file.version == line.version]
            if files:
                found[line.name] = index, files
        missing = [line for line in missing if line.name not in found]
    if missing:
        raise ResolutionError(
            "pip took packages that no index lists: they lie in a local directory, which no other machine has",
            cause="\n".join(f"{line.name} {line.version}" for line in missing),
            hint="Leave find-links out of pip's configuration, or serve that directory as an index.",
        )
    return found


def _facts(file: simple.File) -> dict[str, Any]:
    if not file.sha256:
        raise no_sha256(file.url)
    return {
        "url": without_credentials(file.url),
        "size": file.size,
        "upload_time": file.uploaded.replace(microsecond=0) if file.uploaded else None,
        "hashes": {"sha256": file.sha256},
    }


def _trouble(completed: process.Completed, python: str, network: Network) -> ResolutionError:
    """Return why pip found no solution; raise ``DownloadError`` when an index, which it then passes over, is silent."""
    if match := _NO_TIME.search(completed.stderr):
        return no_upload_time(match["index"], [match["name"]])
    told, _, trace = completed.stderr.partition("Traceback (most recent call last)")
    lines = [line.strip() for line in told.splitlines() if line.strip() and "WARNING: Location" not in line]
    if unknown := re.search(r"requirement ([A-Za-z0-9._-]+).*\(from versions: none\)", told):
        for index in _indexes(python):
            simple.pages(index, [canonicalize_name(unknown[1])], network)
    cause = "\n".join([*(line.removeprefix("ERROR: ") for line in lines), *read_chain(trace)])
    return ResolutionError("the Python requirements have no solution", cause=cause)


def read_chain(trace: str) -> list[str]:
    """Return who wants what, from the exception in which pip says that a resolution is impossible."""
    wanted: dict[str, str] = {}
    for requirement, parent in _IMPOSSIBLE.findall(trace):
        filename = parent.partition(" (from ")[0].partition("#")[0].rpartition("/")[2]
        who = " ".join(filename.split("-")[:2])
        wanted.setdefault(requirement, f"{who} wants {requirement}" if who else f"asked for: {requirement}")
    return list(wanted.values())[:_SHOWN]
