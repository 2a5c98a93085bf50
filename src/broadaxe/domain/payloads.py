"""Checks of JSON texts that pass through unchanged: inputs, outputs, metadata.

The bytes are never rewritten. U+0000 is refused in every JSON text, as it is or escaped, since it cannot be
stored in PostgreSQL's jsonb and clients are promised that refusal.
"""

import json
from typing import Any, NoReturn

from broadaxe.domain.errors import InvalidArgument

_NUL_ESCAPE = b"\\u0000"
_REPLACED_ERROR = b"The task's error text held U+0000 and was replaced"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Numbers are kept as texts: nobody looks at them, and Python refuses integers of more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def json_problem(data: bytes) -> str | None:
    """Why the bytes are not one JSON text in UTF-8 without U+0000, or None if they are."""
    return _parse(data)[1]


def object_problem(data: bytes) -> str | None:
    """Like `json_problem`, and the text must be an object."""
    if data == b"{}":
        return None
    value, problem = _parse(data)
    if problem is None and not isinstance(value, dict):
        return "must be a JSON object"
    return problem


def require_object(field: str, data: bytes) -> None:
    """Raise InvalidArgument naming the field unless the bytes are a JSON object without U+0000."""
    problem = object_problem(data)
    if problem is not None:
        raise InvalidArgument(f"{field}: {problem}")


def output_problem(data: bytes) -> str | None:
    """Why a worker's output cannot be kept, or None. No output at all is legal."""
    return json_problem(data) if data else None


def says_skipped(output: bytes | None) -> bool:
    """Whether an output is an object with `"skipped": true`: steps behind it treat it as skipped."""
    if output is None or b'"skipped"' not in output:
        return False
    value, _ = _parse(output)
    return isinstance(value, dict) and value.get("skipped") is True


def storable_error(error: bytes) -> bytes:
    """A worker's error text, byte for byte, or a fixed text in the place of one that holds U+0000."""
    return _REPLACED_ERROR if b"\x00" in error else error


def has_nul(data: bytes) -> bool:
    """Whether a JSON text holds U+0000, as it is or as an escape.

    Behind another backslash `u0000` is plain text.
    """
    if b"\x00" in data:
        return True
    at = data.find(_NUL_ESCAPE)
    while at >= 0:
        # The backslash at `at` opens an escape only if an even number of them stands before it.
        start = at
        while start > 0 and data[start - 1] == 0x5C:
            start -= 1
        if (at - start) % 2 == 0:
            return True
        at = data.find(_NUL_ESCAPE, at + 1)
    return False


def _parse(data: bytes) -> tuple[Any, str | None]:
    if has_nul(data):
        return None, "must not contain U+0000"
    try:
        return _DECODER.decode(data.decode()), None
    except UnicodeDecodeError:
        return None, "must be UTF-8"
    except json.JSONDecodeError as error:
        return None, f"invalid JSON: {error.msg} at character {error.pos}"
    except ValueError as error:
        return None, f"invalid JSON: {error}"
    except RecursionError:
        return None, "invalid JSON: nested too deeply"
