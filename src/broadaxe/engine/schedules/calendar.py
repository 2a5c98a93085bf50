"""The times of cron expressions, by cronsim, in the time zone that the expression names, else in UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from broadaxe.domain.cron_syntax import ALIASES, cron_problem, split_zone

_KEPT = 16_384


class CronCalendar:
    """A `domain.schedule.Calendar`. Times are UTC. ValueError for what `expression_problem` would refuse."""

    __slots__ = ("_fields", "_zone", "expression")

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._zone, self._fields = _read(expression)

    def after(self, at: datetime) -> datetime | None:
        """The first time after this moment."""
        return _after(self.expression, at)

    def before(self, at: datetime) -> datetime | None:
        """The last time before this moment."""
        # In a doubled hour the library, told to go back, may answer with the other one of two equal wall
        # times: so go back to where nothing is doubled, and forward from there.
        low: datetime | None = None
        step = timedelta(hours=3)
        while low is None:
            start = at - step
            if start.year < at.year - 50:
                return None
            found = next(self._times(start), None)
            if found is not None and found < at:
                low = found
            step *= 4
        return self._last(low, at)

    def _last(self, low: datetime, at: datetime) -> datetime:
        """The last time before `at`, which is `low` or later: halves the span until it is short."""
        high = at
        while high - low > timedelta(hours=1):
            middle = low + (high - low) / 2
            found = next(self._times(middle), None)
            if found is not None and found < at:
                low = found
            else:
                high = middle
        for found in self._times(low):
            if found >= at:
                break
            low = found
        return low

    def _times(self, at: datetime) -> "CronTimes":
        return CronTimes(self._fields, self._zone, at)


class CronTimes:
    """The times after a moment, one after the other. Each is later than the one before, also where clocks are
    put back."""

    def __init__(self, fields: str, zone: ZoneInfo | None, at: datetime) -> None:
        self._last = at.astimezone(UTC)
        self._times = _simulate(fields, zone, self._last)

    def __iter__(self) -> "CronTimes":
        return self

    def __next__(self) -> datetime:
        while True:
            try:
                found = next(self._times).astimezone(UTC)
            except OverflowError:
                raise StopIteration from None
            if found > self._last:
                self._last = found
                return found


def _simulate(fields: str, zone: ZoneInfo | None, at: datetime) -> Iterator[datetime]:
    if zone is None:
        return CronSim(fields, at)
    if _fixed(fields) or not _parts_an_hour(zone):
        return CronSim(fields, at.astimezone(zone))
    return _stretches(fields, zone, at)


def _fixed(fields: str) -> bool:
    """Whether minute and hour are named: such a wall time is due once, which the library sees to."""
    parts = fields.split()
    return len(parts) == 5 and not any(part.startswith("*") for part in parts[:2])


@lru_cache
def _parts_an_hour(zone: ZoneInfo) -> bool:
    """Whether clocks change by a part of an hour, as on Lord Howe Island."""
    summer, winter = (_offset(zone, datetime(2024, month, 1, tzinfo=UTC)) for month in (1, 7))
    return (summer - winter) % timedelta(hours=1) != timedelta()


def _stretches(fields: str, zone: ZoneInfo, at: datetime) -> Iterator[datetime]:
    """The times between one change of clocks and the next, and so on.

    Within a zone the library walks in whole hours: it leaps over times behind a change by half of one.
    """
    wall = at + _offset(zone, at)
    while True:
        offset, end = _offset(zone, at), _next_change(zone, at)
        for found in CronSim(fields, wall):
            if found - offset >= end:
                break
            yield found - offset
        else:
            return
        # What comes out is later than where it starts, and the first moment of a stretch may be due.
        at, wall = end, end + _offset(zone, end) - timedelta(seconds=1)


def _next_change(zone: ZoneInfo, at: datetime) -> datetime:
    """The next moment with another offset, or one in a year when there is none by then."""
    at = at.replace(microsecond=0)
    offset, low, high = _offset(zone, at), at, at
    while _offset(zone, high) == offset:
        if high - at > timedelta(days=365):
            return high
        low, high = high, high + timedelta(days=30)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
    return high


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def expression_problem(expression: str) -> str | None:
    """Why a text cannot be a cron's expression, or None: notation, time zone, and whether it ever is due."""
    problem = cron_problem(expression)
    if problem is not None:
        return problem
    try:
        calendar = CronCalendar(expression)
    except ValueError as error:
        return f'"{expression}": {error}'
    if calendar.after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
        return f'"{expression}": is never due'
    return None


@lru_cache(_KEPT)
def _read(expression: str) -> tuple[ZoneInfo | None, str]:
    """Zone and fields. ValueError says what is wrong with them."""
    name, rest = split_zone(expression)
    zone: ZoneInfo | None = None
    if name is not None and name.upper() not in ("UTC", "GMT"):
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f'unknown time zone "{name}"') from None
    fields = ALIASES.get(rest.lower(), rest).replace("?", "*")
    try:
        CronSim(fields, datetime(2024, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as error:
        raise ValueError(str(error) or "is never due") from None
    return zone, fields


@lru_cache(_KEPT)
def _after(expression: str, at: datetime) -> datetime | None:
    """Kept, since a herd of equal crons asks the same."""
    zone, fields = _read(expression)
    return next(CronTimes(fields, zone, at), None)
