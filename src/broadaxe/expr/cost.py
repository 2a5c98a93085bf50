"""Whether an evaluation is certain to be short.

The library has no deadline, and an expression may loop within loops: a few bytes of input are enough to keep
a process busy for ever. So only what is bounded by its text is evaluated in place.
"""

import re
from typing import Final

_LOOPS: Final = re.compile(r"\b(all|exists|exists_one|existsOne|map|filter|replace|join|format)\s*\(")
_POWER: Final = {"map": 2, "filter": 2}
"""Building a list copies it with every item."""
_INLINE_STEPS: Final = 250_000
"""Some two to ten milliseconds, measured."""


def loops(text: str) -> int:
    """The power of the input's size that the expression may take: one for each thing that repeats."""
    return sum(_POWER.get(found, 1) for found in _LOOPS.findall(text))


def is_short(text: str, size: int) -> bool:
    """Whether the expression over inputs of so many bytes takes a few milliseconds at most."""
    return bool(size**power <= _INLINE_STEPS) if (power := min(loops(text), 20)) else True
