"""The base of every model that is read from a file: frozen, without unknown keys, with hyphens in its names."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError


def hyphenated(name: str) -> str:
    """Return the TOML key of a field: ``as_of`` is written ``as-of``."""
    return name.replace("_", "-")


class Model(BaseModel):
    """A value from a file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=hyphenated, populate_by_name=True, strict=True
    )


def printable(text: str) -> str:
    """Refuse control characters: no name, version or path of ours has one, and they break every format below."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        msg = "it holds a control character"
        raise ValueError(msg)
    return text


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_Item = TypeVar("_Item")
Array = Annotated[tuple[_Item, ...], BeforeValidator(_as_tuple)]
"""A TOML array."""

_SHOWN = 10  # findings that an error names
Text = Annotated[str, AfterValidator(printable)]
Sha256Text = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=1)]


def describe(error: ValidationError) -> str:
    """Return what pydantic found wrong, a line each: ``packages.3.sha256: String should match pattern …``."""
    findings = error.errors()
    lines = [f"{'.'.join(str(part) for part in finding['loc'])}: {finding['msg']}" for finding in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"and {len(findings) - _SHOWN} more")
    return "\n".join(lines)
