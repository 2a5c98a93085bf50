"""Whether a text is a cron expression. Only the notation is judged, not whether it ever fires.

Accepted: five fields (minute, hour, day of month, month, day of week), or six with seconds first; the
aliases `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`; either behind a
`CRON_TZ=Zone ` or `TZ=Zone ` prefix. A field is a list of `*`, `?`, numbers or English names and ranges
`a-b`, each with an optional `/step`.
"""

import re

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What each alias stands for, in five fields."""

_MAX_LENGTH = 500
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=([A-Za-z0-9_+\-/]+)[ \t]+")
_NUMBER = re.compile(r"[0-9]{1,4}")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("seconds", 0, 59, {}),
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)


def split_zone(expression: str) -> tuple[str | None, str]:
    """The time zone's name, if the text has a prefix with one, and the rest. The name is not looked up."""
    prefix = _ZONE.match(expression.strip())
    if prefix is None:
        return None, expression.strip()
    return prefix[1], expression.strip()[prefix.end() :].strip()


def cron_problem(expression: str) -> str | None:
    """Why the text is no cron expression, or None if it is one."""
    if len(expression) > _MAX_LENGTH:
        return f"longer than {_MAX_LENGTH} characters"
    _, rest = split_zone(expression)
    if rest.startswith(("CRON_TZ=", "TZ=")):
        return f'"{expression}": the time zone must be a name, with a space after it'
    if rest.startswith("@"):
        if rest.lower() in ALIASES:
            return None
        return f'"{expression}": unknown alias, expected one of {", ".join(ALIASES)}'
    parts = rest.split()
    if len(parts) not in (5, 6):
        return f'"{expression}": expected 5 fields, or 6 with seconds first, but found {len(parts)}'
    for part, (name, low, high, names) in zip(parts, _FIELDS[6 - len(parts) :], strict=True):
        if not all(_item_valid(item, low, high, names) for item in part.split(",")):
            return f'"{expression}": "{part}" is not valid for {name} ({low}-{high})'
    return None


def _item_valid(item: str, low: int, high: int, names: dict[str, int]) -> bool:
    span, slash, step = item.partition("/")
    if slash and not (_NUMBER.fullmatch(step) and int(step) > 0):
        return False
    if span in ("*", "?"):
        return True
    first, dash, last = span.partition("-")
    start = _value(first, low, high, names)
    if start is None:
        return False
    if not dash:
        return True
    end = _value(last, low, high, names)
    return end is not None and start <= end


def _value(text: str, low: int, high: int, names: dict[str, int]) -> int | None:
    value = names.get(text.lower())
    if value is None:
        if not _NUMBER.fullmatch(text):
            return None
        value = int(text)
    return value if low <= value <= high else None
