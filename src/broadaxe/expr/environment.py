"""What an expression may name: the variables of its kind, the string extensions, `checksum`."""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from broadaxe.domain.registration_checks import ExpressionKind

_OBJECTS: Final = ("input", "additional_metadata", "payload", "output", "parents", "headers")
_TEXTS: Final = ("workflow_run_id", "event_id", "event_key")
EVERYTHING: Final = frozenset(_OBJECTS + _TEXTS)

_TASK = frozenset(("input", "additional_metadata", "workflow_run_id", "parents"))
_CONDITION = frozenset(("input", "output"))
VARIABLES: Final[Mapping[ExpressionKind, frozenset[str]]] = {
    ExpressionKind.CONCURRENCY: _TASK,
    ExpressionKind.CONCURRENCY_LIMIT: _TASK,
    ExpressionKind.RATE_LIMIT_KEY: _TASK,
    ExpressionKind.RATE_LIMIT_UNITS: _TASK,
    ExpressionKind.RATE_LIMIT_VALUE: _TASK,
    ExpressionKind.BATCH_GROUP: _TASK,
    ExpressionKind.IDEMPOTENCY: frozenset(("input", "additional_metadata")),
    ExpressionKind.PARENT_CONDITION: _CONDITION,
    ExpressionKind.EVENT_CONDITION: _CONDITION,
    ExpressionKind.FILTER: frozenset(("input", "additional_metadata", "payload", "event_id", "event_key")),
}
"""What each kind is given; another name is refused when the expression is registered."""

_NUMBERS = ("INT", "UINT", "DOUBLE")
RESULTS: Final[Mapping[ExpressionKind, tuple[tuple[str, ...], str]]] = {
    ExpressionKind.CONCURRENCY: (("STRING",), "a text"),
    ExpressionKind.CONCURRENCY_LIMIT: (_NUMBERS, "a number"),
    ExpressionKind.RATE_LIMIT_KEY: (("STRING",), "a text"),
    ExpressionKind.RATE_LIMIT_UNITS: (_NUMBERS, "a number"),
    ExpressionKind.RATE_LIMIT_VALUE: (_NUMBERS, "a number"),
    ExpressionKind.BATCH_GROUP: (("STRING",), "a text"),
    ExpressionKind.IDEMPOTENCY: (("STRING",), "a text"),
    ExpressionKind.PARENT_CONDITION: (("BOOL",), "true or false"),
    ExpressionKind.EVENT_CONDITION: (("BOOL",), "true or false"),
    ExpressionKind.FILTER: (("BOOL",), "true or false"),
}
"""The types that each kind may yield, and how to say so; `DYN` is known only when it is evaluated."""


@cache
def environment(names: frozenset[str] = EVERYTHING) -> cel.Env:
    """The environment with these variables. JSON objects are maps of anything, the rest are texts."""
    text = cel.Type.STRING
    overload = cel.Overload("checksum_string", text, [text], impl=_checksum)
    own = cel.CelExtension("broadaxe", [cel.FunctionDecl("checksum", [overload])])
    variables = {name: text if name in _TEXTS else cel.Type.Map(text, cel.Type.DYN) for name in sorted(names)}
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings(), own])


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
