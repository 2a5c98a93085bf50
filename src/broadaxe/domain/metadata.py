"""A run's additional metadata: a JSON object of which the caller's part is never rewritten.

The engine's own keys are added as text before the closing brace, so that the caller's bytes stay as they
came. Where a caller used one of the engine's keys, the engine's entry stands later, and later entries win.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from broadaxe.domain.errors import InvalidArgument
from broadaxe.domain.payloads import require_object

RESERVED_PREFIX = "hatchet__"
"""Keys that begin so belong to the engine and are not inherited by children."""
PARENT_RUN = "hatchet__parent_workflow_run_id"
PARENT_TASK = "hatchet__parent_step_run_id"
EVENT_ID = "hatchet__event_id"
EVENT_KEY = "hatchet__event_key"
TRACEPARENT = "traceparent"

_SPACE = re.compile(r"[ \t\n\r]*")
# Integers as floats: their value does not matter here, and Python refuses very long ones.
_VALUES = json.JSONDecoder(parse_int=float)


def require_metadata(data: bytes | None) -> None:
    """Raise InvalidArgument unless there is none or it is a JSON object without U+0000."""
    if data:
        require_object("additional_metadata", data)


def add_keys(metadata: bytes | None, extra: Mapping[str, str]) -> bytes:
    """The object with text entries added behind the caller's. Without any metadata: an object of its own.

    `metadata` must have passed `require_metadata`.
    """
    members = [f"{json.dumps(key)}:{json.dumps(value)}".encode() for key, value in extra.items()]
    return _append(metadata, members)


def read_text(metadata: bytes | None, key: str) -> str | None:
    """The text under a key; None if there is no such key or it holds something else than a text."""
    if not metadata:
        return None
    # Most metadata do not have the key: see that without parsing. A backslash may hide it in an escape.
    if key.encode() not in metadata and b"\\" not in metadata:
        return None
    value = _load(metadata).get(key)
    return value if isinstance(value, str) else None


def read_traceparent(metadata: bytes | None) -> str | None:
    """The W3C header value the caller put into the metadata, unchecked."""
    return read_text(metadata, TRACEPARENT)


def inherit(parent: bytes | None, child: bytes | None) -> bytes:
    """A spawned child's metadata: its own bytes, then the parent's entries that it does not have itself.

    The engine's keys (`hatchet__*`) are not inherited, nor is `traceparent`: it names the span that triggered
    the parent, while a child hangs under the parent's attempt. The parent's values keep their bytes too.
    """
    if not parent or parent == b"{}":
        return child or b"{}"
    own = _load(child) if child else {}
    # Of entries with equal keys the last one counts, so that is the one to pass on.
    entries = {key: raw for key, raw in _entries(parent.decode()) if _inherited(key) and key not in own}
    return _append(child, [f"{json.dumps(key)}:{raw}".encode() for key, raw in entries.items()])


def matches(metadata: bytes | None, key: str, value: str) -> bool:
    """Whether the object holds exactly this text under the key. Other types never match."""
    return read_text(metadata, key) == value


def _inherited(key: str) -> bool:
    return key != TRACEPARENT and not key.startswith(RESERVED_PREFIX)


def _load(metadata: bytes) -> dict[str, Any]:
    try:
        value = _VALUES.decode(metadata.decode())
    except RecursionError as error:
        raise InvalidArgument("additional_metadata: nested too deeply") from error
    return value if isinstance(value, dict) else {}


def _append(metadata: bytes | None, members: list[bytes]) -> bytes:
    if not metadata:
        return b"{" + b",".join(members) + b"}"
    if not members:
        return metadata
    end = metadata.rindex(b"}")
    inner = metadata[metadata.index(b"{") + 1 : end]
    comma = b"," if inner.strip() else b""
    return metadata[:end] + comma + b",".join(members) + metadata[end:]


def _entries(text: str) -> list[tuple[str, str]]:
    """The members of an object with their values as they are written. The text must be a valid object."""
    entries: list[tuple[str, str]] = []
    at = _skip(text, text.index("{") + 1)
    while text[at] == '"':
        key, at = _VALUES.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _VALUES.raw_decode(text, start)
        entries.append((key, text[start:end]))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return entries


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
