"""What Python's lock files are called: known without reading one, so that no command loads what does."""

from __future__ import annotations

from typing import Final

FILE: Final = "pylock.toml"
BUILD_FILE: Final = "pylock.build.toml"
