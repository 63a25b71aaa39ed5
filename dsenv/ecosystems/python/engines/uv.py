"""uv as an engine: a generated project that it locks, and what its lock says.

The project lies in an empty directory, so nothing of the user's own project is read. It is bounded to the declared
targets and interpreters: an unbounded universal solve quietly takes versions that are years old.
"""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from packaging.pylock import PackageSdist, PackageWheel
from packaging.utils import canonicalize_name

from dsenv.ecosystems.python import platforms, uv
from dsenv.ecosystems.python.engines import uv_limits
from dsenv.ecosystems.python.engines.interface import Answer, Found, no_sha256, no_upload_time, to_build
from dsenv.errors import DownloadError, ResolutionError
from dsenv.formats import toml_write
from dsenv.formats.toml_write import Inline
from dsenv.pins import CREDENTIALS, without_credentials
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from dsenv.ecosystems.python.engines.interface import Pin, Question
    from dsenv.ecosystems.python.markers import Space, Where
    from dsenv.store import Store

one_place = False
PROJECT: Final = "dsenv-resolve"  # the name of the generated project
_NETWORK: Final = ("Failed to fetch", "error sending request", "Request failed", "client error", "dns error")
_NO_WHEEL: Final = re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)`")
_NOT_BUILT: Final = re.compile(r"Failed to (?:build|download and build|generate package metadata for) `?([^`\n]+)`?")
_REQUIRES: Final = ">=3.8"  # only has to admit the interpreter that uv runs with; the environments bound the answer


def resolve(question: Question, directory: Path, store: Store) -> Answer:
    """Answer a question (``interface.Engine``), running no code of packages but of those that may be built."""
    (directory / "pyproject.toml").write_text(project(question), "utf-8")
    (directory / "settings.toml").touch(0o600)  # an index's address may hold a password
    (directory / "settings.toml").write_text(uv.settings(_options(question)), "utf-8")
    env = uv.environment() | uv_limits.environment(question, store.network)
    env["UV_CONFIG_FILE"] = str(directory / "settings.toml")
    completed = _lock(question.preferred, env, directory)
    if gone := uv_limits.withdrawn(completed.stderr, question):
        completed = _lock([pin for pin in question.preferred if pin.name not in gone], env, directory)
    undated = uv_limits.undated(completed.stderr, question, store.network)
    if completed.code:
        refusal = uv_limits.refused(completed.stderr, question, store.network)
        raise refusal or _trouble(completed, question, undated)
    exports = {group: _export(group, env, directory) for group in ("", *sorted(question.groups))}
    lock = tomllib.loads((directory / "uv.lock").read_text("utf-8"))
    return Answer(
        packages=read(lock, exports, question.space, question.build),
        engine=f"uv {uv.version()}",
        warnings=(*uv_limits.left_out(undated), *read_warnings(completed.stderr)),
    )


def _lock(preferred: Sequence[Pin], env: Mapping[str, str], directory: Path) -> process.Completed:
    (directory / "uv.lock").unlink(missing_ok=True)
    if preferred:
        (directory / "uv.lock").write_text(preferences(preferred), "utf-8")
    return process.run([uv.program(), "lock", *_PYTHON], env=env, cwd=directory, codes=None)


def project(question: Question) -> str:
    """Return the text of a pyproject.toml that uv can lock."""
    environments = [
        f"{platforms.clause(target)} and implementation_name == 'cpython' and {question.space.bounds}"
        for target in question.space.targets
    ]
    tool: dict[str, Any] = {
        "package": False,
        "environments": environments,
        "required-environments": environments,
        "conflicts": [[Inline(group=name) for name in names] for names in question.conflicts],
        "constraint-dependencies": uv_limits.constraints(question),
        "override-dependencies": list(question.overrides),
        "exclude-dependencies": list(question.exclude),
        **uv_limits.tables(question),
    }
    return toml_write.dumps(
        {
            "project": {
                "name": PROJECT,
                "version": "0",
                "requires-python": _REQUIRES,
                "dependencies": list(question.requirements),
            },
            "dependency-groups": {name: list(question.groups[name]) for name in sorted(question.groups)},
            "tool": {"uv": {key: value for key, value in tool.items() if value not in ([], {})}},
        }
    )


def preferences(pins: Sequence[Pin]) -> str:
    """Return a uv.lock that holds nothing but pins: uv prefers the versions of a lock that it has to renew."""
    packages = [{"name": pin.name, "version": pin.version, "source": Inline(registry=pin.index)} for pin in pins]
    return toml_write.dumps({"version": 1, "revision": 3, "requires-python": _REQUIRES, "package": packages})


def read(
    lock: Mapping[str, Any],
    exports: Mapping[str, Sequence[Mapping[str, Any]]],
    space: Space,
    build: Collection[str] = (),
) -> list[Found]:
    """Return the packages of a uv.lock that are installed somewhere.

    Args:
        lock: The uv.lock as TOML.
        exports: For the project itself ("") and each group, the packages of an exported pylock.toml: who is where.
        space: The places that count.
        build: Names of packages that may be built.

    """
    where: dict[tuple[str, str, str], dict[str, Where]] = {}
    for group, packages in exports.items():
        for package in packages:
            place = package.get("index") or package.get("archive", {}).get("path", "")
            groups = where.setdefault((package["name"], package.get("version", ""), place), {})
            groups[group] = groups.get(group, frozenset()) | space.where(package.get("marker", ""))
    return [
        Found(
            name=canonicalize_name(package["name"]),
            version=package["version"],
            index=without_credentials(package["source"].get("registry", "")),
            stub=package["source"].get("path", ""),
            wheels=tuple(_wheel(wheel) for wheel in package.get("wheels", []) if "registry" in package["source"]),
            sdist=_sdist(package["sdist"]) if package["name"] in build and "sdist" in package else None,
            dependencies=_dependencies(package),
            where=places,
        )
        for package in lock.get("package", [])
        if any((places := where.get(_key(package), {})).values())
    ]


def _key(package: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what tells a package of a uv.lock from all others: two places may have one version each."""
    source = package["source"]
    return package["name"], package.get("version", ""), source.get("registry") or source.get("path", "")


def read_warnings(stderr: str) -> tuple[str, ...]:
    """Return what uv warned of, each in one sentence."""
    lines = [line for line in stderr.splitlines() if line.startswith("warning: ") and not uv_limits.is_undated(line)]
    return tuple(dict.fromkeys(line.removeprefix("warning: ").replace(PROJECT, "the project") for line in lines))


_PYTHON: Final = ("--color", "never", "--python", sys.executable, "--no-python-downloads")


def _options(question: Question) -> dict[str, Any]:
    return {
        # Together they mean that these may be built and nothing else; of one that has a wheel, uv reads that.
        "no-build": True,
        **({"no-binary-package": sorted(question.build)} if question.build else {}),
        "prerelease": "if-necessary",
        "prerelease-package": dict.fromkeys(question.prereleases, "allow"),
        **uv_limits.options(question),
    }


def _export(group: str, env: Mapping[str, str], directory: Path) -> Sequence[Mapping[str, Any]]:
    which = ("--only-group", group) if group else ("--no-default-groups",)
    form = ("--frozen", "--format", "pylock.toml", "--no-header", "--no-emit-project")
    text = process.run([uv.program(), "export", *form, *which, *_PYTHON], env=env, cwd=directory).stdout
    packages: Sequence[Mapping[str, Any]] = tomllib.loads(text).get("packages", [])
    return packages


def _dependencies(package: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    rows = {(row["name"], row.get("version", "")) for row in package.get("dependencies", [])}
    return tuple({"name": name, **({"version": version} if version else {})} for name, version in sorted(rows))


def _wheel(row: Mapping[str, Any]) -> PackageWheel:
    return PackageWheel(**_file(row))


def _sdist(row: Mapping[str, Any]) -> PackageSdist:
    return PackageSdist(**_file(row))


def _file(row: Mapping[str, Any]) -> dict[str, Any]:
    if "url" not in row:
        raise ResolutionError(
            f"{row.get('path', 'a file')} lies in a local directory, which no other machine has",
            hint="Leave find-links out of uv's configuration.",
        )
    algorithm, _, value = row.get("hash", "").partition(":")
    if algorithm != "sha256":
        raise no_sha256(row["url"])
    uploaded = row.get("upload-time")
    return {
        "url": without_credentials(row["url"]),
        "size": row.get("size"),
        "upload_time": datetime.fromisoformat(uploaded).replace(microsecond=0) if uploaded else None,
        "hashes": {algorithm: value},
    }


def _trouble(
    completed: process.Completed, question: Question, undated: Mapping[str, Sequence[str]]
) -> ResolutionError | DownloadError:
    text = _plain(completed.stderr)
    for index, names in undated.items():
        if any(name in text for name in names):
            return no_upload_time(index, names)
    text = "\n".join([text, *uv_limits.looked_for(text, question)])
    if "No solution found" in text:
        names = sorted(set(_NO_WHEEL.findall(text)))
        return ResolutionError("the Python requirements have no solution", cause=text, hint=to_build(names))
    if failed := _NOT_BUILT.search(text):
        return ResolutionError(f"{failed[1]} cannot be built, which its requirements are read from", cause=text)
    if any(word in text for word in _NETWORK):
        return DownloadError(
            "the Python index does not answer",
            cause=text,
            hint="Check the network, the proxy, and uv's index settings, then run it again.",
        )
    return ResolutionError("uv could not resolve the Python requirements", cause=text)


def _plain(text: str) -> str:
    """Return uv's words without what speaks of the generated project, and without credentials."""
    text = CREDENTIALS.sub("", text)
    lines = [line for line in text.splitlines() if not line.startswith(("Using CPython", "warning:"))]
    plain = "\n".join(lines).strip()
    plain = re.sub(r" for split \(.*\)(?=:?$)", "", plain, flags=re.MULTILINE)
    return plain.removeprefix("error: ").replace(PROJECT, "the project")
