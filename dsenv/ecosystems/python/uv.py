"""uv, the program: where it is, how it is run, which Pythons it finds.

Of its configuration, from files and variables, only what says how to reach an index is handed on: the same spec has
the same answer for everyone who uses the same index.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsenv.errors import ToolError, WrongUseError
from dsenv.formats import toml_write
from dsenv.tools import process

if TYPE_CHECKING:
    from collections.abc import Mapping

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
