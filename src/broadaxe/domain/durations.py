"""Durations as texts in Go's notation: `1h30m`, `250ms`, `1.5s`, `-5s`, `0`.

A duration is a sequence of decimal numbers with units; the units are ns, us (also with a micro sign), ms, s,
m and h. There are no days. Values are seconds as floats, bounded as there: just over 292 years.
"""

import re

from broadaxe.domain.errors import InvalidArgument

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # micro sign
    "μs": 1_000,  # Greek small letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_LIMIT = 2**63 - 1
_MAX_TEXT = 100
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")


class InvalidDuration(InvalidArgument):
    """The text is not a duration; the message holds it."""

    def __init__(self, text: str, reason: str) -> None:
        shown = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."
        super().__init__(f'invalid duration "{shown}": {reason}')


def parse_duration(text: str) -> float:
    """Seconds of a duration text. Raises `InvalidDuration` naming the text."""
    if len(text) > _MAX_TEXT:
        raise InvalidDuration(text, f"longer than {_MAX_TEXT} characters")
    sign, rest = 1, text
    if rest[:1] in ("+", "-"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0.0
    if not rest:
        raise InvalidDuration(text, "it is empty")
    total = 0
    position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            raise InvalidDuration(text, "expected numbers with units such as 1h30m, 15s or 250ms")
        unit = _NANOSECONDS[part[3]]
        fraction = part[2] or ""
        total += int(part[1] or "0") * unit
        if fraction:
            total += int(fraction) * unit // 10 ** len(fraction)
        position = part.end()
    if total > _LIMIT:
        raise InvalidDuration(text, "it is longer than 292 years")
    return sign * total / 1_000_000_000


def format_duration(seconds: float) -> str:
    """The shortest usual text of a duration: `1h30m`, `1m0.5s` as `1m500ms`, `2.5s`; `0s` for nothing.

    Units that are zero are left out, so `parse_duration(format_duration(x))` is `x` to the nanosecond.
    """
    nanoseconds = round(abs(seconds) * 1_000_000_000)
    if not nanoseconds:
        return "0s"
    sign = "-" if seconds < 0 else ""
    if nanoseconds < 1_000_000_000:
        for unit in ("ms", "us", "ns"):
            if nanoseconds >= _NANOSECONDS[unit]:
                return f"{sign}{_decimal(nanoseconds, _NANOSECONDS[unit])}{unit}"
    hours, rest = divmod(nanoseconds, _NANOSECONDS["h"])
    minutes, rest = divmod(rest, _NANOSECONDS["m"])
    text = sign
    if hours:
        text += f"{hours}h"
    if minutes:
        text += f"{minutes}m"
    if rest:
        text += f"{_decimal(rest, _NANOSECONDS['s'])}s"
    return text


def _decimal(value: int, unit: int) -> str:
    """`value / unit` as an exact decimal without trailing zeros; `unit` is a power of ten."""
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"
