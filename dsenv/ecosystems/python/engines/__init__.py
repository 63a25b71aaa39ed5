"""The engines that find Python pins, one file each; ``interface.py`` says what they are asked and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsenv.ecosystems.python.engines import pip_tools, uv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsenv.ecosystems.python.engines.interface import Engine

ENGINES: Mapping[str, Engine] = {"uv": uv, "pip-tools": pip_tools}
"""By the word for ``[python] resolver``."""
