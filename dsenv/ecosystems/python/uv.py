"""uv, run as a program: a project that it can resolve, and what it answered.

The project lies in an empty directory, so nothing of the user's own project is read; of the user's configuration of
uv, the index settings are.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dsenv.errors import DownloadError, ResolutionError, ToolError
from dsenv.formats import toml_write
from dsenv.formats.toml_write import Inline
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROJECT: Final = "dsenv-resolve"  # the name of the generated project
_KEPT: Final = re.compile(
    r"UV_(?:INDEX.*|DEFAULT_INDEX|EXTRA_INDEX_URL|KEYRING_PROVIDER|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|HTTP_.*|CONCURRENT_.*|REQUEST_TIMEOUT|CONFIG_FILE|CACHE_DIR|OFFLINE)"
)
_NETWORK: Final = ("Failed to fetch", "error sending request", "Request failed", "client error", "dns error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What uv found: its lock, and for the project itself ("") and each group who is installed where."""

    lock: Mapping[str, Any]  # uv.lock as TOML
    exports: Mapping[str, Sequence[Mapping[str, Any]]]  # the [[packages]] of an exported pylock.toml
    version: str


def program() -> str:
    """Return the path of the uv that dsenv was installed with."""
    import uv  # noqa: PLC0415 - a wheel that holds one program

    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise ToolError("uv is not where its wheel puts it", hint="Install dsenv again.") from error


def version() -> str:
    """Return uv's version."""
    return process.run([program(), "--version"]).stdout.split()[1]


def environment() -> dict[str, str]:
    """Return this process's environment without the settings of uv that would change what it resolves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_") or _KEPT.fullmatch(name)}
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX"}
    return {name: value for name, value in kept.items() if name not in dropped} | {"UV_NO_PROGRESS": "1"}


def project(
    *,
    requirements: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    environments: Sequence[str],
    settings: Mapping[str, Any],
) -> str:
    """Return the text of a pyproject.toml that uv can lock.

    Its ``requires-python`` only has to admit the interpreter that uv runs with; ``environments`` bound the
    resolution, to the same result.
    """
    tool: dict[str, Any] = {
        "package": False, "no-build": True, "environments": list(environments),
        "required-environments": list(environments), **settings,
    }
    return toml_write.dumps({
        "project": {
            "name": PROJECT, "version": "0", "requires-python": ">=3.8", "dependencies": list(requirements),
        },
        "dependency-groups": {name: list(groups[name]) for name in groups},
        "tool": {"uv": tool},
    })


def preferences(packages: Sequence[tuple[str, str, str]]) -> str:
    """Return a uv.lock that holds nothing but pins: uv prefers the versions of a lock that it has to renew.

    Args:
        packages: Names, versions and the index of each.

    """
    return toml_write.dumps({
        "version": 1, "revision": 3, "requires-python": ">=3.8",
        "package": [
            {"name": name, "version": number, "source": Inline(registry=index)} for name, number, index in packages
        ],
    })


def lock(directory: Path, pyproject: str, preferred: str, groups: Sequence[str]) -> Locked:
    """Resolve a project in an empty directory.

    Raises:
        ResolutionError: There is no solution; the cause names the chain.
        DownloadError: The index does not answer.

    """
    (directory / "pyproject.toml").write_text(pyproject)
    if preferred:
        (directory / "uv.lock").write_text(preferred)
    env = environment()
    python = ("--python", sys.executable, "--no-python-downloads")
    completed = process.run(
        [program(), "lock", "--color", "never", *python], env=env, cwd=directory, codes=None,
    )
    if completed.code:
        raise _trouble(completed)
    exports = {}
    for group in ("", *groups):
        which = ("--only-group", group) if group else ("--no-default-groups",)
        text = process.run(
            [program(), "export", "--frozen", "--format", "pylock.toml", "--no-header", "--no-emit-project",
             "--color", "never", *which, *python], env=env, cwd=directory,
        ).stdout
        exports[group] = tomllib.loads(text).get("packages", [])
    return Locked(lock=tomllib.loads((directory / "uv.lock").read_text()), exports=exports, version=version())


def find_python(request: str) -> str | None:
    """Return the path of a Python on this machine that is ``request`` (``3.11``), or ``None``."""
    completed = process.run(
        [program(), "python", "find", "--no-project", "--no-config", "--no-python-downloads", "--system", request],
        env=environment(), codes=None,
    )
    return completed.stdout.strip() if completed.code == 0 else None


def python_version(path: str) -> str:
    """Return the version of a Python program: ``3.11.7``."""
    text = "import json, platform; print(json.dumps(platform.python_version()))"
    return str(json.loads(process.run([path, "-I", "-c", text]).stdout))


def _trouble(completed: process.Completed) -> ResolutionError | DownloadError:
    text = _plain(completed.stderr)
    if "No solution found" in text:
        return ResolutionError("the Python requirements have no solution", cause=text)
    if any(word in text for word in _NETWORK):
        return DownloadError(
            "the Python index does not answer", cause=text,
            hint="Check the network, the proxy, and uv's index settings, then run it again.",
        )
    return ResolutionError("uv could not resolve the Python requirements", cause=text)


def _plain(text: str) -> str:
    """Return uv's words without what speaks of the generated project."""
    lines = [line for line in text.splitlines() if not line.startswith(("Using CPython", "warning:"))]
    plain = "\n".join(lines).strip()
    plain = re.sub(r" for split \(.*?\)\n", "\n", plain)
    return plain.removeprefix("error: ").replace(PROJECT, "the project")
