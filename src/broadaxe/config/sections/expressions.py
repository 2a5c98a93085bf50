"""Limits of CEL expressions."""

from broadaxe.config.declare import section, used
from broadaxe.config.kinds import BYTES, POSITIVE, POSITIVE_DURATION


@section("Expressions")
class ExpressionSettings:
    """How much a CEL expression may take. Nesting is limited to 32 levels by the library."""

    max_bytes: int = used(
        "SERVER_CEL_MAX_BYTES",
        "expressions.maxBytes",
        BYTES,
        default="16384",
        meaning="Longest expression.",
    )
    cache_size: int = used(
        "SERVER_CEL_CACHE_SIZE",
        "expressions.cacheSize",
        POSITIVE,
        default="4096",
        meaning="Compiled expressions that are kept.",
    )
    inline_bytes: int = used(
        "SERVER_CEL_INLINE_BYTES",
        "expressions.inlineBytes",
        BYTES,
        default="65536",
        meaning="Largest input that is evaluated within the engine; larger ones, and loops that may take "
        "long, are evaluated in a helper process.",
    )
    time_limit: float = used(
        "SERVER_CEL_TIME_LIMIT",
        "expressions.timeLimit",
        POSITIVE_DURATION,
        default="100ms",
        meaning="CPU time of one evaluation in the helper process; beyond it the expression failed.",
    )
    max_waiting: int = used(
        "SERVER_CEL_MAX_WAITING",
        "expressions.maxWaiting",
        POSITIVE,
        default="1000",
        meaning="Evaluations that may wait for the helper process.",
    )
