"""uv, run as a program: a project that it can resolve, and what it answered.

The project lies in an empty directory, so nothing of the user's own project is read. Of the configuration of uv, from
files and variables, only what says how to reach an index is handed on: the same spec has the same answer for everyone
who uses the same index.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsenv.errors import DownloadError, ResolutionError, ToolError, WrongUseError
from dsenv.formats import toml_write
from dsenv.formats.toml_write import Inline
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROJECT: Final = "dsenv-resolve"  # the name of the generated project
_KEPT: Final = re.compile(
    r"UV_(?:INDEX(?!_STRATEGY).*|DEFAULT_INDEX|EXTRA_INDEX_URL|KEYRING_PROVIDER|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|HTTP_.*|CONCURRENT_.*|REQUEST_TIMEOUT|CACHE_DIR|OFFLINE)"
)
_KEPT_KEYS: Final = (  # the same of uv.toml
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "keyring-provider",
    "allow-insecure-host",
    "native-tls",
    "system-certs",
    "http-proxy",
    "https-proxy",
    "no-proxy",
    "concurrent-downloads",
    "cache-dir",
)
_NETWORK: Final = ("Failed to fetch", "error sending request", "Request failed", "client error", "dns error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What uv found: its lock, and for the project itself ("") and each group who is installed where."""

    lock: Mapping[str, Any]  # uv.lock as TOML
    exports: Mapping[str, Sequence[Mapping[str, Any]]]  # the [[packages]] of an exported pylock.toml
    version: str
    warnings: tuple[str, ...] = ()  # what uv found odd: "the package `a` does not have an extra named `b`"


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


def settings(options: Mapping[str, Any]) -> str:
    """Return the text of a uv.toml: ``options``, and what the machine's and the user's own say about indexes.

    Told to read it, uv reads no other; of a project it then takes its requirements and environments only.
    https://docs.astral.sh/uv/concepts/configuration-files/: the user's file has precedence, lists are joined.
    """
    found: dict[str, Any] = {}
    for path in _settings_files():
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise WrongUseError(f"{path} cannot be read", cause=str(error), hint="Correct uv's settings.") from error
        for key in _KEPT_KEYS:
            if key in table:
                joined = isinstance(table[key], list) and isinstance(found.get(key), list)
                found[key] = [*table[key], *found[key]] if joined else table[key]
    return toml_write.dumps({**found, **options})


def _settings_files() -> list[Path]:
    """Return where uv looks for its settings, the strongest last; a file that a variable names stands alone."""
    if path := os.environ.get("UV_CONFIG_FILE"):
        return [Path(path)]
    if os.environ.get("UV_NO_CONFIG"):
        return []
    system = [Path(path) for path in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if path]
    user = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return [directory / "uv" / "uv.toml" for directory in (Path("/etc"), *reversed(system), user)]


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
        "package": False,
        "environments": list(environments),
        "required-environments": list(environments),
        **settings,
    }
    return toml_write.dumps(
        {
            "project": {
                "name": PROJECT,
                "version": "0",
                "requires-python": ">=3.8",
                "dependencies": list(requirements),
            },
            "dependency-groups": {name: list(groups[name]) for name in groups},
            "tool": {"uv": tool},
        }
    )


def preferences(packages: Sequence[tuple[str, str, str]]) -> str:
    """Return a uv.lock that holds nothing but pins: uv prefers the versions of a lock that it has to renew.

    Args:
        packages: Names, versions and the index of each.

    """
    return toml_write.dumps(
        {
            "version": 1,
            "revision": 3,
            "requires-python": ">=3.8",
            "package": [
                {"name": name, "version": number, "source": Inline(registry=index)} for name, number, index in packages
            ],
        }
    )


def lock(
    directory: Path,
    pyproject: str,
    *,
    options: Mapping[str, Any] | None = None,
    preferred: str = "",
    groups: Sequence[str] = (),
) -> Locked:
    """Resolve a project, building nothing.

    Args:
        directory: An empty one.
        pyproject: What ``project`` returns.
        options: How to resolve, as uv.toml has it.
        preferred: What ``preferences`` returns.
        groups: Whose share of the answer is asked for.

    Raises:
        ResolutionError: There is no solution; the cause names the chain.
        DownloadError: The index does not answer.

    """
    (directory / "pyproject.toml").write_text(pyproject, "utf-8")
    if preferred:
        (directory / "uv.lock").write_text(preferred, "utf-8")
    (directory / "settings.toml").touch(0o600)  # an index's address may hold a password
    (directory / "settings.toml").write_text(settings({"no-build": True, **(options or {})}), "utf-8")
    env = environment() | {"UV_CONFIG_FILE": str(directory / "settings.toml")}
    python = ("--python", sys.executable, "--no-python-downloads")
    completed = process.run(
        [program(), "lock", "--color", "never", *python],
        env=env,
        cwd=directory,
        codes=None,
    )
    if completed.code:
        raise _trouble(completed)
    exports = {}
    for group in ("", *groups):
        which = ("--only-group", group) if group else ("--no-default-groups",)
        text = process.run(
            [
                program(),
                "export",
                "--frozen",
                "--format",
                "pylock.toml",
                "--no-header",
                "--no-emit-project",
                "--color",
                "never",
                *which,
                *python,
            ],
            env=env,
            cwd=directory,
        ).stdout
        exports[group] = tomllib.loads(text).get("packages", [])
    return Locked(
        lock=tomllib.loads((directory / "uv.lock").read_text("utf-8")),
        exports=exports,
        version=version(),
        warnings=read_warnings(completed.stderr),
    )


def find_python(request: str) -> str | None:
    """Return the path of a Python on this machine that is ``request`` (``3.11``), or ``None``."""
    completed = process.run(
        [program(), "python", "find", "--no-project", "--no-config", "--no-python-downloads", "--system", request],
        env=environment(),
        codes=None,
    )
    return completed.stdout.strip() if completed.code == 0 else None


def python_version(path: str) -> str:
    """Return the version of a Python program: ``3.11.7``."""
    text = "import json, platform; print(json.dumps(platform.python_version()))"
    return str(json.loads(process.run([path, "-I", "-c", text]).stdout))


def read_warnings(stderr: str) -> tuple[str, ...]:
    """Return what uv warned of, each in one sentence."""
    lines = [line.removeprefix("warning: ") for line in stderr.splitlines() if line.startswith("warning: ")]
    return tuple(dict.fromkeys(line.replace(PROJECT, "the project") for line in lines))


def _trouble(completed: process.Completed) -> ResolutionError | DownloadError:
    text = _plain(completed.stderr)
    if "No solution found" in text:
        return ResolutionError("the Python requirements have no solution", cause=text)
    if any(word in text for word in _NETWORK):
        return DownloadError(
            "the Python index does not answer",
            cause=text,
            hint="Check the network, the proxy, and uv's index settings, then run it again.",
        )
    return ResolutionError("uv could not resolve the Python requirements", cause=text)


def _plain(text: str) -> str:
    """Return uv's words without what speaks of the generated project."""
    lines = [line for line in text.splitlines() if not line.startswith(("Using CPython", "warning:"))]
    plain = "\n".join(lines).strip()
    plain = re.sub(r" for split \(.*\)(?=:?$)", "", plain, flags=re.MULTILINE)
    return plain.removeprefix("error: ").replace(PROJECT, "the project")
