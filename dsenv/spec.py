"""``dsenv.toml`` as a value: what a person wrote, checked as a whole.

Everything that is wrong is reported at once, each fault with its line, its key, what was expected and a near miss.
What passes here can be put into a command line, a Dockerfile or a path without another look at its characters.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from datetime import date
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, create_model

from dsenv.ecosystem import Platform
from dsenv.ecosystems import ECOSYSTEMS, FOUNDATION
from dsenv.ecosystems.system.spec import parse_base
from dsenv.errors import SpecError, WrongUseError
from dsenv.formats.toml_lines import key_lines
from dsenv.model import Array, Model, Text, hyphenated
from dsenv.pins import CREDENTIALS, TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo

    from dsenv.formats.toml_lines import Path as KeyPath

FILE: Final = "dsenv.toml"
_ZONE: Final = "[A-Za-z0-9][A-Za-z0-9_+-]*"
_WORDS: Final = {
    "date_type": "expected a date such as 2026-11-20",
    "dict_type": "expected a table",
    "greater_than_equal": "the number is too small",
    "int_type": "expected a whole number",
    "less_than_equal": "the number is too large",
    "list_type": "expected an array",
    "model_type": "expected a table",
    "string_type": "expected a text in quotes",
    "too_short": "expected at least one",
    "tuple_type": "expected an array",
}
_LATER: Final = {
    "tools": "single binaries are not supported yet",
    "workspace": "workspaces are not supported yet",
    "tasks": "tasks are not supported yet: name the command after `dsenv run --`",
}


def _check_base(text: str) -> str:
    parse_base(text)
    return text


def _check_copy(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts:
        msg = "expected a path inside the project, such as `app/`"
        raise ValueError(msg)
    return text


def _check_exception(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9.!+_-]+", text):
        msg = "expected a name and an exact version, such as `pillow==12.3.0`"
        raise ValueError(msg)
    return text


class Project(Model):
    """``[project]``: what the whole is called."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=100)] = Field(
        description="Lower-case letters and digits, joined by single `.`, `_` or `-`."
    )
    as_of: date | None = Field(default=None, description="Every index as it stood at the end of that day, UTC.")
    after_as_of: Array[Annotated[str, AfterValidator(_check_exception)]] = Field(
        default=(), description="Exact versions that are taken although newer than `as-of` or `min-age` allow."
    )


class PlatformSpec(Model):
    """``[platform]``: the machines that the environment is locked for."""

    base: Annotated[str, AfterValidator(_check_base)] = Field(
        description="`bootstrap:debian:bookworm`, or an image that an engine has, such as `debian:bookworm-slim`."
    )
    targets: Array[Text] = Field(
        min_length=1, description="The kinds of machine: " + ", ".join(f"`{name}`" for name in TARGETS)
    )
    locale: Annotated[str, StringConstraints(pattern=r"^(C\.UTF-8|C|POSIX)$")] = Field(
        default="C.UTF-8", description="`C.UTF-8`, `C` or `POSIX`: sorting and number formats depend on it."
    )
    timezone: Annotated[str, StringConstraints(pattern=rf"^{_ZONE}(/{_ZONE})*$")] = Field(
        default="UTC", description="A name of the time zone database: `Europe/Berlin`."
    )


class ImageSpec(Model):
    """``[image]``: what the container image has beyond the environment."""

    command: Array[Text] = Field(default=(), description="What a container runs by default.")
    ports: Array[Annotated[int, Field(ge=1, le=65535)]] = Field(
        default=(), description="TCP ports that the command listens on."
    )
    copy_: Array[Annotated[Text, AfterValidator(_check_copy)]] = Field(
        default=(), alias="copy", description="Files and directories of the project to take along."
    )


_PARTS: Any = {
    ecosystem.name: (ecosystem.Spec | None, Field(default=None, description=(ecosystem.Spec.__doc__ or "").strip()))
    for ecosystem in ECOSYSTEMS
}
Document: type[BaseModel] = create_model(
    "Document",
    __base__=Model,
    __doc__="What a data-science project needs: the file `dsenv.toml`.",
    project=(Project, Field()),
    platform=(PlatformSpec, Field()),
    image=(ImageSpec, Field(default=ImageSpec())),
    **_PARTS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A checked ``dsenv.toml``."""

    project: Project
    platform: Platform
    image: ImageSpec
    parts: Mapping[str, Any]  # by ecosystem: its own model, or None when it is not asked for


def load(path: Path) -> Spec:
    """Read a spec from its file.

    Raises:
        WrongUseError: There is no such file.
        SpecError: It is wrong; the cause lists every fault.

    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise WrongUseError(
            f"there is no {path.name} in {path.parent.resolve()}", hint="Write one with `dsenv init`."
        ) from error
    try:
        spec = parse(content.decode("utf-8-sig"), path.name)  # editors on Windows begin a file with a mark
    except UnicodeDecodeError as error:
        raise SpecError(f"{path.name} is not UTF-8 text", cause=str(error)) from error
    parts = {
        row.name: None if spec.parts[row.name] is None else row.expand(spec.parts[row.name], path.parent)
        for row in ECOSYSTEMS
    }
    return replace(spec, parts=parts)


def parse(text: str, filename: str = FILE) -> Spec:
    """Read a spec from its text; raise ``SpecError`` with every fault."""
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number may have too many digits
        match = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", str(error))
        cause = f"{filename}:{match[2]}: {match[1]}" if match else f"{filename}: {error}"
        raise SpecError(f"{filename} is not valid TOML", cause=cause) from error
    lines = key_lines(text)
    faults: list[Fault] = [Fault((name,), _LATER[name]) for name in _LATER if name in raw]
    document = None
    try:
        document = Document.model_validate({key: value for key, value in raw.items() if key not in _LATER})
    except ValidationError as error:
        faults.extend(_fault(finding, raw) for finding in error.errors())
    faults.extend(_target_faults(raw))
    faults.extend(_unsupported(raw, faults))
    if document is not None and not faults:
        return _spec(document)
    listed = sorted({fault.at(lines): None for fault in faults})
    raise SpecError(
        f"{filename} has {len(listed)} fault{'s' if len(listed) > 1 else ''}",
        cause="\n".join(f"{filename}:{line}: {text}" for line, text in listed),
    )


def schema() -> dict[str, Any]:
    """Return the JSON schema of ``dsenv.toml``, for editors."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",  # what TOML language servers understand
        **Document.model_json_schema(by_alias=True, ref_template="#/definitions/{model}"),
    }


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in the file: the key's path, and a clause that says what was expected."""

    path: KeyPath
    text: str

    def at(self, lines: Mapping[KeyPath, int]) -> tuple[int, str]:
        """Return the fault's line, or that of the nearest key around it, and its text with the key in front."""
        path = self.path
        while path and path not in lines:
            path = path[:-1]
        return lines.get(path, 1), f"{_key(self.path)}: {self.text}"


def _spec(document: Any) -> Spec:
    platform = document.platform
    parts = {ecosystem.name: getattr(document, ecosystem.name) for ecosystem in ECOSYSTEMS}
    parts[FOUNDATION.name] = parts[FOUNDATION.name] or FOUNDATION.Spec()  # everything stands on it, asked for or not
    return Spec(
        project=document.project,
        platform=Platform(
            base=platform.base,
            targets=tuple(sorted({Target.parse(text) for text in platform.targets})),
            locale=platform.locale,
            timezone=platform.timezone,
            as_of=document.project.as_of,
            after_as_of=document.project.after_as_of,
        ),
        image=document.image,
        parts=parts,
    )


def _unsupported(raw: Mapping[str, Any], faults: Iterable[Fault]) -> list[Fault]:
    """Return what is understood and cannot be done yet, read from the keys that have no fault."""
    found: list[Fault] = []
    targets = tuple(Target.parse(text) for text in _targets(raw) if text in TARGETS)
    day, after = (_table(raw, "project").get(key) for key in ("as-of", "after-as-of"))
    platform = Platform(
        base="",
        targets=targets,
        locale="",
        timezone="",
        as_of=day if isinstance(day, date) else None,
        after_as_of=tuple(after) if isinstance(after, list) else (),
    )
    wrong = {fault.path[:2] for fault in faults}
    for ecosystem in ECOSYSTEMS:
        table = _table(raw, ecosystem.name)
        right = {key: value for key, value in table.items() if (ecosystem.name, key) not in wrong}
        try:
            part = ecosystem.Spec.model_validate(right)
        except ValidationError:
            continue
        found.extend(Fault((ecosystem.name, *path), text) for path, text in ecosystem.unsupported(part, platform))
    return found


def _target_faults(raw: Mapping[str, Any]) -> Iterable[Fault]:
    for index, text in enumerate(_targets(raw)):
        if isinstance(text, str) and text not in TARGETS:
            clause = f"{text!r}: expected one of {', '.join(TARGETS)}{_near(text, TARGETS)}"
            yield Fault(("platform", "targets", index), clause)


def _targets(raw: Mapping[str, Any]) -> list[Any]:
    targets = _table(raw, "platform").get("targets")
    return targets if isinstance(targets, list) else []


def _table(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = raw.get(name)
    return table if isinstance(table, dict) else {}


def _fault(finding: Any, raw: Mapping[str, Any]) -> Fault:
    kind = finding["type"]
    path = _real_path(finding["loc"], raw, is_missing=kind == "missing")
    if kind == "extra_forbidden":
        return Fault(path, f"unknown key{_near(str(path[-1]), _known_keys(path[:-1]))}")
    if kind == "missing":
        return Fault(path, "this key is required")
    given = finding["input"]
    if kind == "string_pattern_mismatch":
        described = _description(path).rstrip(".")
        message = f"expected {described[:1].lower()}{described[1:]}"
    else:
        message = _WORDS.get(kind) or finding["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = CREDENTIALS.sub("***@", given) if isinstance(given, str) else given  # the message may go into a log
    shown = repr(given) if isinstance(given, str | int | float | bool) else ""
    return Fault(path, f"{shown}: {message}" if shown else message)


def _real_path(loc: tuple[str | int, ...], raw: Any, *, is_missing: bool) -> KeyPath:
    """Drop what pydantic adds for union members, so that the path is the file's own."""
    path: list[str | int] = []
    here = raw
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        inside = (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        )
        if inside:
            here = here[part]
            path.append(part)
        elif is_last and is_missing:
            path.append(part)
    return tuple(path)


def _known_keys(path: KeyPath) -> list[str]:
    """Return the keys that a table may have."""
    model = _model(path)
    return [value.alias or hyphenated(key) for key, value in model.model_fields.items()] if model else []


def _description(path: KeyPath) -> str:
    """Return what the model says of a key, for a person."""
    keys = [part for part in path if isinstance(part, str)]
    model = _model(tuple(keys[:-1]))
    field = _field(model, keys[-1]) if model else None
    return (field.description if field else None) or "another form"


def _model(path: KeyPath) -> type[BaseModel] | None:
    """Return the model of the table at ``path``."""
    model: type[BaseModel] | None = Document
    for part in path:
        if isinstance(part, str) and model:
            field = _field(model, part)
            model = next(iter(_models(field.annotation)), None) if field else None
    return model


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    return next((value for name, value in model.model_fields.items() if (value.alias or hyphenated(name)) == key), None)


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


def _near(text: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(text.lower(), list(known), n=1, cutoff=0.6)
    return f": did you mean `{matches[0]}`?" if matches else ""


def _key(path: KeyPath) -> str:
    """Return a path as a person would write it: ``[python] packages[2]``."""
    if not path:
        return "the file"
    texts = [f"[{part}]" if isinstance(part, int) else _quoted(part) for part in path[1:]]
    head = str(path[0]) if isinstance(path[0], int) else _quoted(path[0])
    return f"[{head}] {'.'.join(texts).replace('.[', '[')}".strip()


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else repr(key)
