"""uv, the program: where it is, how it is run, which Pythons it finds.

Of its configuration, from files and variables, only what says how to reach an index is handed on, and what pip is told
of that where uv is told nothing: the same spec has the same answer for everyone who uses the same index.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsenv.ecosystems.python import pip_config
from dsenv.errors import ToolError, WrongUseError
from dsenv.formats import toml_write
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_KEPT: Final = re.compile(
    r"UV_(?:INDEX(?!_STRATEGY).*|DEFAULT_INDEX|EXTRA_INDEX_URL|KEYRING_PROVIDER|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|HTTP_.*|CONCURRENT_.*|REQUEST_TIMEOUT|CACHE_DIR|OFFLINE)"
)
# What it is told where it runs on stored wheels alone: no settings, no network, no Python but the one that is named.
ALONE: Final = (
    ("UV_NO_PROGRESS", "1"),
    ("UV_OFFLINE", "1"),
    ("UV_NO_CONFIG", "1"),
    ("UV_PYTHON_DOWNLOADS", "never"),
)
VENV: Final = ("venv", "--quiet", "--no-project")
INSTALL: Final = ("pip", "install", "--quiet", "--no-deps", "--no-index")  # these wheels and no others
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An index that uv's own settings name."""

    name: str  # "" for one without
    url: str  # may hold credentials
    is_default: bool


def program() -> str:
    """Return the path of the uv that dsenv was installed with."""
    import uv  # noqa: PLC0415 - a wheel that holds one program

    try:
        return uv.find_uv_bin()
    except FileNotFoundError as error:
        raise ToolError("uv is not where its wheel puts it", hint="Install dsenv again.") from error


@cache
def version() -> str:
    """Return uv's version."""
    return process.run([program(), "--version"]).stdout.split()[1]


def environment() -> dict[str, str]:
    """Return this process's environment without the settings of uv that would change what it resolves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_") or _KEPT.fullmatch(name)}
    dropped = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX"}
    env = {name: value for name, value in kept.items() if name not in dropped}
    return {**env, **from_pip(pip_config.read()), "UV_NO_PROGRESS": "1"}


def from_pip(settings: pip_config.Settings) -> dict[str, str]:
    """Return the variables that tell uv what pip is told and uv itself is not."""
    has_default = any(listed.is_default for listed in indexes())
    return pip_config.for_uv(settings, {*os.environ, *_own_settings()}, has_default=has_default)


def indexes() -> list[Listed]:
    """Return the indexes that uv's variables and settings name."""
    own = _own_settings()
    found = []
    for variable, is_default in _INDEX_VARIABLES.items():
        for word in os.environ.get(variable, "").split():
            match = re.fullmatch(r"(?:([A-Za-z0-9._-]+)=)?(.+)", word)
            if match:
                found.append(Listed(name=match[1] or "", url=match[2], is_default=is_default))
    found.extend(
        Listed(name=row.get("name", ""), url=row["url"], is_default=bool(row.get("default")))
        for row in own.get("index", [])
        if isinstance(row, dict) and isinstance(row.get("url"), str)
    )
    if "index-url" in own:
        found.append(Listed(name="", url=str(own["index-url"]), is_default=True))
    return [*found, *(Listed(name="", url=str(url), is_default=False) for url in own.get("extra-index-url", []))]


_INDEX_VARIABLES: Final = {
    "UV_DEFAULT_INDEX": True,
    "UV_INDEX_URL": True,
    "UV_INDEX": False,
    "UV_EXTRA_INDEX_URL": False,
}


def settings(options: Mapping[str, Any]) -> str:
    """Return the text of a uv.toml: ``options``, and what the machine's and the user's own say about indexes.

    Told to read it, uv reads no other; of a project it then takes its requirements and environments only.
    https://docs.astral.sh/uv/concepts/configuration-files/: the user's file has precedence, lists are joined.
    """
    return toml_write.dumps({**_own_settings(), **options})


def _own_settings(keys: Collection[str] = _KEPT_KEYS) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in _settings_files():
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise WrongUseError(f"{path} cannot be read", cause=str(error), hint="Correct uv's settings.") from error
        for key in keys:
            if key in table:
                joined = isinstance(table[key], list) and isinstance(found.get(key), list)
                found[key] = [*table[key], *found[key]] if joined else table[key]
    return found


def _settings_files() -> list[Path]:
    """Return where uv looks for its settings, the strongest last; a file that a variable names stands alone."""
    if path := os.environ.get("UV_CONFIG_FILE"):
        return [Path(path)]
    if os.environ.get("UV_NO_CONFIG"):
        return []
    system = [Path(path) for path in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if path]
    user = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return [directory / "uv" / "uv.toml" for directory in (Path("/etc"), *reversed(system), user)]


def setting(name: str) -> str:
    """Return a setting of uv's by its name in uv.toml; the variable that is called like it comes first."""
    variable = os.environ.get("UV_" + name.upper().replace("-", "_"))
    return variable or str(_own_settings((name,)).get(name, ""))


def list_downloads(request: str) -> Sequence[Mapping[str, Any]]:
    """Return the builds of Python that uv's own list has of ``request`` (``3.12``), for every kind of machine."""
    which = ("--only-downloads", "--all-versions", "--all-platforms", "--all-arches", "--no-config")
    argv = [program(), "python", "list", *which, "--output-format", "json", request]
    rows: Sequence[Mapping[str, Any]] = json.loads(process.run(argv, env=environment()).stdout)
    return rows


def check_download(key: str, *, mirror: Path, into: Path) -> str:
    """Have uv check what a directory serves as a build of its list, and return what uv says."""
    which = ("--no-config", "--no-bin", "--no-cache", "--color", "never", "--install-dir", str(into))
    env = environment() | {"UV_PYTHON_INSTALL_MIRROR": mirror.as_uri()}
    return process.run([program(), "python", "install", *which, key], env=env, codes=None).stderr


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
