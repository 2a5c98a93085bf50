"""What goes wrong with an expression, in words for the person who wrote it."""

from broadaxe.domain.errors import InvalidArgument

_UNNAMED = "the expression failed"
_LONGEST = 500
_NOISE = (
    "INVALID_ARGUMENT: ",
    "UNKNOWN: ",
    "NOT_FOUND: ",
    "CANCELLED: ",
    "OUT_OF_RANGE: ",
    "INTERNAL: ",
    "ERROR: ",
)


class ExpressionFailed(InvalidArgument):
    """An expression did not compile, failed, took too long, or yielded another type than is needed."""


def readable(text: str) -> str:
    """The first line of the library's message without its codes, bounded: it may quote the data."""
    line = text.split("\n", 1)[0]
    for prefix in _NOISE * 2:
        line = line.removeprefix(prefix)
    for code in ("INVALID_ARGUMENT", "CANCELLED", "UNKNOWN", "INTERNAL"):
        line = line.removesuffix(f" [{code}]")
    return line[:_LONGEST] or _UNNAMED
