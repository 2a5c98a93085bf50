"""JSON texts as the values an expression sees.

Every number is a double, as clients of Hatchet expect: `input.n / 2` has no overload, `input.n / 2.0` has.
Half a surrogate pair becomes U+FFFD: the expression could not be given it otherwise.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from broadaxe.expr.failures import ExpressionFailed

Variables = Mapping[str, bytes | str]
"""JSON texts are bytes, plain texts are str."""

_DECODER = json.JSONDecoder(parse_int=float)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(variables: Variables) -> dict[str, Any]:
    """The values by name. ExpressionFailed for a text that is not JSON."""
    return {
        name: value if isinstance(value, str) else _value(name, value) for name, value in variables.items()
    }


def size_of(variables: Variables) -> int:
    """Bytes of all texts together; characters where they are plain."""
    return sum(map(len, variables.values()))


def _value(name: str, text: bytes) -> Any:
    try:
        value = _DECODER.decode(text.decode())
    except ValueError as error:
        raise ExpressionFailed(f"{name} is not a JSON text: {error}") from error
    except RecursionError as error:
        raise ExpressionFailed(f"{name} is nested too deeply") from error
    return _whole(value) if _SURROGATE.search(text) else value


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value
