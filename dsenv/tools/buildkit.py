"""Read what BuildKit reports through Docker's API: protobuf messages in base64 within JSON lines.

Of ``StatusResponse`` (moby/buildkit, api/services/control/control.proto) only the names of steps, whether they were
cached, their errors and their output are read; protobuf's wire format needs no library for that
(https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from dsenv.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_VERTEX, _LOG = 1, 3  # fields of StatusResponse
_V_DIGEST, _V_NAME, _V_CACHED, _V_STARTED, _V_ERROR = 1, 3, 4, 5, 7  # fields of Vertex
_L_MESSAGE: Final = 4  # field of VertexLog
_TAIL: Final = 30  # lines of output that an error carries


def follow(events: Iterable[dict[str, Any]], on_line: Callable[[str], None]) -> str:
    """Read a build's events to their end and return the image's id.

    Args:
        events: As the API sends them, decoded from JSON.
        on_line: Given each step and each line that a step writes.

    Raises:
        ToolError: The build failed.

    """
    image = trouble = ""
    output: list[str] = []
    shown: set[bytes] = set()
    for event in events:
        if event.get("id") == "moby.buildkit.trace":
            for line in _lines(base64.b64decode(event["aux"]), shown):
                output.append(line)
                on_line(line)
        elif event.get("id") == "moby.image.id":
            image = event["aux"]["ID"]
        elif "errorDetail" in event:
            trouble = event["errorDetail"].get("message", "") or "no reason given"
    if trouble:  # told at the end, so that the connection is read to its end
        raise ToolError("the image could not be built", cause="\n".join([*output[-_TAIL:], trouble]))
    if not image:
        raise ToolError("the engine built no image", cause="\n".join(output[-_TAIL:]))
    return image


def _lines(message: bytes, shown: set[bytes]) -> Iterator[str]:
    for number, value in _fields(message):
        if number == _VERTEX and isinstance(value, bytes):
            vertex = dict(_fields(value))
            key = _bytes(vertex.get(_V_DIGEST))
            if key not in shown and (_V_STARTED in vertex or vertex.get(_V_CACHED)):
                shown.add(key)
                cached = " (cached)" if vertex.get(_V_CACHED) else ""
                yield f"=> {_bytes(vertex.get(_V_NAME)).decode(errors='replace')}{cached}"
        elif number == _LOG and isinstance(value, bytes):
            text = _bytes(dict(_fields(value)).get(_L_MESSAGE)).decode(errors="replace")
            yield from (line for line in text.splitlines() if line.strip())


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protobuf message: their number and their value."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(message, at)
        else:
            if wire == 2:  # noqa: PLR2004 - wire types are numbers
                size, at = _varint(message, at)
            else:
                size = {1: 8, 5: 4}[wire]
            value, at = message[at : at + size], at + size
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
